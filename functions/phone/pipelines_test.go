package main

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
	files, err := filepath.Glob("../../.github/workflows/*.yml")
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
		parameters, err := overrides.Read("../../samconfig.toml", env)
		if err != nil {
			t.Fatal(err)
		}
		architecture[env] = parameters["Architecture"]
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

// CloudFormation's role can make what the template holds, of prod's stack and
// of no other, and can neither use it nor widen itself.
func TestPoliciesAreTheTemplates(t *testing.T) {
	const account = "123456789012"
	arn := func(service, region, resource string) string {
		return "arn:aws:" + service + ":" + region + ":" + account + ":" + resource
	}
	function := func(stack string) string { return arn("lambda", "us-east-1", "function:"+stack+"-PhoneFunction-x") }
	role := func(name string) string { return arn("iam", "", "role/"+name) }
	all := policies(t)
	pipeline, cloudFormation := all[1], all[3]

	// needs returns, for each resource, the actions that make it and its ARN;
	// "*" is for what has none that could be known before.
	needs := func(stack string) map[[2]string]bool {
		wanted := map[[2]string]bool{}
		want := func(arn string, actions ...string) {
			for _, action := range actions {
				wanted[[2]string{action, arn}] = true
			}
		}
		values := map[string]string{"AWS::StackName": stack, "Environment": "prod"}
		maps.Copy(values, optional["domain"])
		for name, r := range readTemplate(t).deploy(t, values).resources() {
			properties, _ := r["Properties"].(map[string]any)
			switch r["Type"] {
			case "AWS::Serverless::Function":
				want(function(stack), "lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:UpdateFunctionConfiguration", "lambda:GetFunction",
					"lambda:PublishVersion", "lambda:CreateAlias", "lambda:UpdateAlias", "lambda:AddPermission", "lambda:PutFunctionConcurrency")
				want(arn("codedeploy", "us-east-1", "application:"+stack+"-ServerlessDeploymentApplication-x"), "codedeploy:CreateApplication", "codedeploy:RegisterApplicationRevision")
				want(arn("codedeploy", "us-east-1", "deploymentgroup:"+stack+"-ServerlessDeploymentApplication-x/"+stack+"-x"), "codedeploy:CreateDeploymentGroup", "codedeploy:CreateDeployment", "codedeploy:GetDeployment")
				want(role(stack+"-CodeDeployServiceRole-x"), "iam:CreateRole", "iam:AttachRolePolicy", "iam:PassRole")
			case "AWS::Serverless::HttpApi":
				want("arn:aws:apigateway:us-east-1::/apis", "apigateway:POST")
				want("arn:aws:apigateway:us-east-1::/apis/x/stages", "apigateway:POST", "apigateway:TagResource")
				want("*", "logs:CreateLogDelivery", "logs:PutResourcePolicy", "logs:DescribeLogGroups")
			case "AWS::ApiGatewayV2::DomainName":
				want("arn:aws:apigateway:us-east-1::/domainnames", "apigateway:POST")
			case "AWS::ApiGatewayV2::ApiMapping":
				want("arn:aws:apigateway:us-east-1::/domainnames/x/apimappings", "apigateway:POST")
			case "AWS::IAM::Role":
				want(role(stack+"-"+name+"-x"), "iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole", "iam:DeleteRole")
			case "AWS::SecretsManager::Secret":
				want(arn("secretsmanager", "us-east-1", "secret:"+name+"-x"), "secretsmanager:CreateSecret", "secretsmanager:TagResource")
			case "AWS::Logs::LogGroup":
				want(arn("logs", "us-east-1", "log-group:"+properties["LogGroupName"].(string)), "logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:TagResource")
			case "AWS::Logs::MetricFilter":
				want(arn("logs", "us-east-1", "log-group:/aws/lambda/"+stack+":*"), "logs:PutMetricFilter")
			case "AWS::Logs::QueryDefinition":
				want("*", "logs:PutQueryDefinition")
			case "AWS::CloudWatch::Alarm":
				want(arn("cloudwatch", "us-east-1", "alarm:"+properties["AlarmName"].(string)), "cloudwatch:PutMetricAlarm", "cloudwatch:TagResource")
			case "AWS::CloudWatch::Dashboard":
				want(arn("cloudwatch", "", "dashboard/"+properties["DashboardName"].(string)), "cloudwatch:PutDashboard")
			default:
				t.Errorf("nothing is said of what makes %s, a %v", name, r["Type"])
			}
		}
		return wanted
	}
	for need := range needs("wechat-phone-prod") {
		if !cloudFormation.allows(need[0], need[1]) {
			t.Errorf("CloudFormation's role lacks %s on %s", need[0], need[1])
		}
	}
	for need := range needs("wechat-phone-dev") {
		if strings.Contains(need[1], "wechat-phone-dev") && cloudFormation.allows(need[0], need[1]) {
			t.Errorf("prod's role may %s on %s", need[0], need[1])
		}
	}
	for _, never := range [][2]string{
		{"lambda:InvokeFunction", function("wechat-phone-prod")},
		{"secretsmanager:GetSecretValue", arn("secretsmanager", "us-east-1", "secret:WeChatSecret-x")},
		{"secretsmanager:PutSecretValue", arn("secretsmanager", "us-east-1", "secret:WeChatSecret-x")},
		{"iam:PutRolePolicy", role("delivery/wechat-phone-prod-cloudformation")},
		{"iam:PutRolePolicy", role("delivery/wechat-phone-prod-pipeline")},
		{"iam:PassRole", role("delivery/wechat-phone-prod-pipeline")},
	} {
		for i, p := range []policy{pipeline, cloudFormation} {
			if p.allows(never[0], never[1]) {
				t.Errorf("%s's role may %s on %s", []string{"the pipeline", "CloudFormation"}[i], never[0], never[1])
			}
		}
	}

	// The pipeline's role passes CloudFormation's, and starts this stack alone.
	samconfig := readFile(t, "samconfig.toml")
	for _, stack := range regexp.MustCompile(`(?m)^stack_name = "(.*)"$`).FindAllStringSubmatch(samconfig, -1) {
		starts := pipeline.allows("cloudformation:ExecuteChangeSet", arn("cloudformation", "us-east-1", "stack/"+stack[1]+"/x"))
		uploads := pipeline.allows("s3:PutObject", "arn:aws:s3:::aws-sam-cli-managed-default-x/"+stack[1]+"/x")
		if prod := stack[1] == "wechat-phone-prod"; starts != prod || uploads != prod {
			t.Errorf("prod's pipeline: starts %s %v, uploads for it %v", stack[1], starts, uploads)
		}
	}
	if !pipeline.allows("iam:PassRole", role("delivery/wechat-phone-prod-cloudformation")) {
		t.Error("the pipeline cannot pass CloudFormation's role")
	}
}
