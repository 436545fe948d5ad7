package checks

import (
	"encoding/json/v2"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/tools/samconfig/overrides"
)

// The workflows run no action that could change under them, and nothing but a
// deployment may ask for AWS's credentials.
func TestWorkflowsArePinnedAndHaveTheLeastPermissions(t *testing.T) {
	files, err := filepath.Glob(root + "/.github/workflows/*.yml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		text := readFile(t, ".github/workflows/"+name)
		for _, uses := range regexp.MustCompile(`(?m)uses: (.*)$`).FindAllStringSubmatch(text, -1) {
			pinned := regexp.MustCompile(`^[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`).MatchString(uses[1])
			if !pinned && !strings.HasPrefix(uses[1], "./.github/workflows/") {
				t.Errorf("%s uses %s", name, uses[1])
			}
		}
		workflow := parseYAML(t, text)
		if top, ok := workflow["permissions"].(map[string]any); !ok || len(top) != 0 {
			t.Errorf("%s: the permissions are %v, before any job's", name, workflow["permissions"])
		}
		for job, j := range workflow.section(t, "jobs") {
			permissions, _ := j.(map[string]any)["permissions"].(map[string]any)
			deploys := name == "deploy-to.yml" || name == "deploy.yml" && (job == "dev" || job == "prod")
			if (permissions["id-token"] == "write") != deploys {
				t.Errorf("%s: the job %s may %v", name, job, permissions)
			}
			for scope, access := range permissions {
				if access == "write" && scope != "id-token" && scope != "security-events" {
					t.Errorf("%s: the job %s may write %s", name, job, scope)
				}
			}
		}
	}
}

// One build goes to both, so samconfig.toml must want the same of it.
func TestDevAndProdTakeTheSameBuild(t *testing.T) {
	architecture := map[string]string{}
	for _, env := range []string{"dev", "prod"} {
		section, err := overrides.Read(filepath.Join(root, "samconfig.toml"), env)
		if err != nil {
			t.Fatal(err)
		}
		architecture[env] = section.Parameters["Architecture"]
	}
	if dev, prod := architecture["dev"], architecture["prod"]; dev != prod {
		t.Errorf("dev takes Architecture %q, prod %q; want the same", dev, prod)
	}
}

type policy struct {
	Version   string
	Statement []struct {
		Effect    string
		Action    any
		Resource  any
		Principal any
		Condition map[string]any
	}
}

// policies returns those of docs/pipelines.md: who may assume the pipeline's
// role, what it may do, and the same of CloudFormation's.
func policies(t *testing.T) [4]policy {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(readFile(t, "docs/pipelines.md"), -1)
	var all [4]policy
	if len(blocks) != len(all) {
		t.Fatalf("%d policies, want two of each role's", len(blocks))
	}
	for i, block := range blocks {
		if err := json.Unmarshal([]byte(block[1]), &all[i], json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v\n%s", err, block[1])
		}
		for _, s := range all[i].Statement {
			if s.Effect != "Allow" || s.Action == nil || (s.Resource == nil) == (s.Principal == nil) {
				t.Errorf("no statement: %+v", s)
			}
		}
	}
	return all
}

// allows leaves conditions aside.
func (p policy) allows(action, resource string) bool {
	for _, s := range p.Statement {
		if anyLike(s.Action, action) && anyLike(s.Resource, resource) {
			return true
		}
	}
	return false
}

// anyLike reports whether a text is one of the patterns, where * is any text.
func anyLike(patterns any, text string) bool {
	return slices.ContainsFunc(listed(patterns), func(pattern any) bool {
		expression := strings.ReplaceAll(regexp.QuoteMeta(pattern.(string)), `\*`, `.*`)
		return regexp.MustCompile("^" + expression + "$").MatchString(text)
	})
}

const account = "123456789012"

func arnOf(service, region, resource string) string {
	return "arn:aws:" + service + ":" + region + ":" + account + ":" + resource
}

func functionARN(stack string) string {
	return arnOf("lambda", "us-east-1", "function:"+stack+"-PhoneFunction-x")
}

func roleARN(name string) string { return arnOf("iam", "", "role/"+name) }

// grant is an action on a resource, by its ARN. "*" is for a resource whose ARN
// nobody can know before.
type grant struct{ action, resource string }

// needs returns what it takes to make the resources of prod's template in a stack.
func needs(t *testing.T, stack string) (all []grant) {
	t.Helper()
	values := map[string]string{"AWS::StackName": stack, "Environment": "prod"}
	maps.Copy(values, optional["domain"])
	for name, r := range readTemplate(t).deploy(t, values).resources() {
		properties, _ := r["Properties"].(map[string]any)
		needed := needsOf(stack, name, r["Type"].(string), properties)
		if len(needed) == 0 {
			t.Errorf("the test does not know what it takes to make %s, a %v", name, r["Type"])
		}
		for arn, actions := range needed {
			for action := range strings.FieldsSeq(actions) {
				all = append(all, grant{action, arn})
			}
		}
	}
	return all
}

// needsOf returns the actions that make a resource, by the ARN that they are on.
func needsOf(stack, name, kind string, properties map[string]any) map[string]string {
	region, gateway := "us-east-1", "arn:aws:apigateway:us-east-1::/"
	text := func(property string) string { return properties[property].(string) }
	switch kind {
	case "AWS::Serverless::Function":
		deployment := stack + "-ServerlessDeploymentApplication-x"
		return map[string]string{
			functionARN(stack): `lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration
				lambda:GetFunction lambda:PublishVersion lambda:CreateAlias lambda:UpdateAlias lambda:AddPermission
				lambda:PutFunctionConcurrency`,
			arnOf("codedeploy", region, "application:"+deployment): `codedeploy:CreateApplication
				codedeploy:RegisterApplicationRevision`,
			arnOf("codedeploy", region, "deploymentgroup:"+deployment+"/"+stack+"-x"): `codedeploy:CreateDeploymentGroup
				codedeploy:CreateDeployment codedeploy:GetDeployment`,
			roleARN(stack + "-CodeDeployServiceRole-x"): "iam:CreateRole iam:AttachRolePolicy iam:PassRole",
		}
	case "AWS::Serverless::HttpApi":
		return map[string]string{
			gateway + "apis":          "apigateway:POST",
			gateway + "apis/x/stages": "apigateway:POST apigateway:TagResource",
			"*":                       "logs:CreateLogDelivery logs:PutResourcePolicy logs:DescribeLogGroups",
		}
	case "AWS::ApiGatewayV2::DomainName":
		return map[string]string{gateway + "domainnames": "apigateway:POST"}
	case "AWS::ApiGatewayV2::ApiMapping":
		return map[string]string{gateway + "domainnames/x/apimappings": "apigateway:POST"}
	case "AWS::IAM::Role":
		actions := "iam:CreateRole iam:PutRolePolicy iam:PassRole iam:DeleteRole"
		return map[string]string{roleARN(stack + "-" + name + "-x"): actions}
	}
	return needsOfData(stack, name, kind, text)
}

// needsOfData is needsOf for what holds or shows data.
func needsOfData(stack, name, kind string, property func(string) string) map[string]string {
	const region = "us-east-1"
	switch kind {
	case "AWS::SecretsManager::Secret":
		arn := arnOf("secretsmanager", region, "secret:"+name+"-x")
		return map[string]string{arn: "secretsmanager:CreateSecret secretsmanager:TagResource"}
	case "AWS::Logs::LogGroup":
		arn := arnOf("logs", region, "log-group:"+property("LogGroupName"))
		return map[string]string{arn: "logs:CreateLogGroup logs:PutRetentionPolicy logs:TagResource"}
	case "AWS::Logs::MetricFilter":
		return map[string]string{arnOf("logs", region, "log-group:/aws/lambda/"+stack+":*"): "logs:PutMetricFilter"}
	case "AWS::Logs::QueryDefinition":
		return map[string]string{"*": "logs:PutQueryDefinition"}
	case "AWS::CloudWatch::Alarm":
		arn := arnOf("cloudwatch", region, "alarm:"+property("AlarmName"))
		return map[string]string{arn: "cloudwatch:PutMetricAlarm cloudwatch:TagResource"}
	case "AWS::CloudWatch::Dashboard":
		return map[string]string{arnOf("cloudwatch", "", "dashboard/"+property("DashboardName")): "cloudwatch:PutDashboard"}
	}
	return nil
}

// CloudFormation's role can make the template's resources in prod's stack and in
// no other. It can neither use them nor widen itself.
func TestPoliciesAreTheTemplates(t *testing.T) {
	all := policies(t)
	pipeline, cloudFormation := all[1], all[3]
	for _, need := range needs(t, "wechat-phone-prod") {
		if !cloudFormation.allows(need.action, need.resource) {
			t.Errorf("CloudFormation's role lacks %s on %s", need.action, need.resource)
		}
	}
	for _, need := range needs(t, "wechat-phone-dev") {
		if strings.Contains(need.resource, "wechat-phone-dev") && cloudFormation.allows(need.action, need.resource) {
			t.Errorf("CloudFormation's role for prod may %s on %s", need.action, need.resource)
		}
	}
	secret := arnOf("secretsmanager", "us-east-1", "secret:WeChatSecret-x")
	for _, never := range []grant{
		{"lambda:InvokeFunction", functionARN("wechat-phone-prod")},
		{"secretsmanager:GetSecretValue", secret},
		{"secretsmanager:PutSecretValue", secret},
		{"iam:PutRolePolicy", roleARN("delivery/wechat-phone-prod-cloudformation")},
		{"iam:PutRolePolicy", roleARN("delivery/wechat-phone-prod-pipeline")},
		{"iam:PassRole", roleARN("delivery/wechat-phone-prod-pipeline")},
	} {
		for name, p := range map[string]policy{"the pipeline's": pipeline, "CloudFormation's": cloudFormation} {
			if p.allows(never.action, never.resource) {
				t.Errorf("%s role may %s on %s", name, never.action, never.resource)
			}
		}
	}
}

func TestPipelinePassesCloudFormationsRoleAndStartsProdsStackAlone(t *testing.T) {
	pipeline := policies(t)[1]
	names := regexp.MustCompile(`(?m)^stack_name = "(.*)"$`).FindAllStringSubmatch(readFile(t, "samconfig.toml"), -1)
	if len(names) == 0 {
		t.Fatal("samconfig.toml names no stack")
	}
	for _, name := range names {
		stack := name[1]
		arn := arnOf("cloudformation", "us-east-1", "stack/"+stack+"/x")
		starts := pipeline.allows("cloudformation:ExecuteChangeSet", arn)
		uploads := pipeline.allows("s3:PutObject", "arn:aws:s3:::aws-sam-cli-managed-default-x/"+stack+"/x")
		if want := stack == "wechat-phone-prod"; starts != want || uploads != want {
			t.Errorf("prod's pipeline starts %s: %v, uploads for it: %v, want %v", stack, starts, uploads, want)
		}
	}
	if !pipeline.allows("iam:PassRole", roleARN("delivery/wechat-phone-prod-cloudformation")) {
		t.Error("the pipeline cannot pass CloudFormation's role")
	}
}
