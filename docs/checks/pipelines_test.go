package checks

import (
	"encoding/json/v2"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/tools/samconfig/overrides"
)

// Every action is pinned. Only a deployment and the job that publishes a release may ask
// for a token that says who they are.
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
			t.Errorf("%s: the workflow has the permissions %v, want none", name, workflow["permissions"])
		}
		for job, j := range workflow.section(t, "jobs") {
			permissions, _ := j.(map[string]any)["permissions"].(map[string]any)
			deploys := name == "deploy-to.yml" || name == "deploy.yml" && (job == "dev" || job == "prod")
			publishes := name == "release.yml" && job == "publish"
			if (permissions["id-token"] == "write") != (deploys || publishes) {
				t.Errorf("%s: the job %s may %v", name, job, permissions)
			}
			for scope, access := range permissions {
				if access == "write" && scope != "id-token" && scope != "security-events" && !publishes {
					t.Errorf("%s: the job %s may write %s", name, job, scope)
				}
			}
		}
	}
}

// The job that may publish runs no code but that of pinned actions, and can reach only
// what it needs to.
func TestReleaseIsPublishedByAJobThatBuildsNothing(t *testing.T) {
	for name, j := range parseYAML(t, readFile(t, ".github/workflows/release.yml")).section(t, "jobs") {
		job := j.(map[string]any)
		if job["uses"] != nil {
			continue
		}
		steps := job["steps"].([]any)
		first := steps[0].(map[string]any)
		settings, _ := first["with"].(map[string]any)
		hardens := strings.HasPrefix(first["uses"].(string), "step-security/harden-runner@")
		if !hardens || settings["egress-policy"] != "block" {
			t.Errorf("%s: got the first step %v, want one that blocks egress", name, first)
		}
		for _, step := range steps {
			text := fmt.Sprint(step)
			if name == "publish" && regexp.MustCompile(`checkout|setup-go|make |go run`).MatchString(text) {
				t.Errorf("publish: got the step %s, want nothing that builds", text)
			}
		}
	}
}

func TestDependabotCoversEveryModule(t *testing.T) {
	covered := map[string][]string{}
	for _, u := range parseYAML(t, readFile(t, ".github/dependabot.yml"))["updates"].([]any) {
		update := u.(map[string]any)
		kind := update["package-ecosystem"].(string)
		covered[kind] = append(covered[kind], update["directory"].(string))
	}
	for kind, file := range map[string]string{"gomod": "go.mod", "npm": "package.json"} {
		var want []string
		for _, name := range filesLike(t, file) {
			want = append(want, path.Join("/", path.Dir(name)))
		}
		slices.Sort(covered[kind])
		slices.Sort(want)
		if !slices.Equal(covered[kind], want) {
			t.Errorf("%s: got the folders %v, want %v", kind, covered[kind], want)
		}
	}
	if !slices.Equal(covered["github-actions"], []string{"/"}) {
		t.Errorf("got the folders %v of actions, want /", covered["github-actions"])
	}
}

// A bucket's ARN has no account. Without the condition, a role could write to, or read
// from, a stranger's bucket of that name.
func TestS3GrantsAreForTheAccountsOwnBuckets(t *testing.T) {
	want := map[string]any{"StringEquals": map[string]any{"aws:ResourceAccount": account}}
	count := 0
	for _, p := range policies(t) {
		for _, s := range p.Statement {
			if !strings.Contains(fmt.Sprint(s.Action), "s3:") {
				continue
			}
			if count++; !reflect.DeepEqual(s.Condition, want) {
				t.Errorf("%v is allowed if %v, want %v", s.Action, s.Condition, want)
			}
		}
	}
	if count != 3 {
		t.Errorf("got %d grants on S3, want 3", count)
	}
}

// One build goes to both environments.
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

// policies returns the policies of docs/pipelines.md: who may assume the pipeline's
// role, what that role may do, and the same for CloudFormation's role.
func policies(t *testing.T) [4]policy {
	t.Helper()
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(readFile(t, "docs/pipelines.md"), -1)
	var all [4]policy
	if len(blocks) != len(all) {
		t.Fatalf("got %d policies, want two for each role", len(blocks))
	}
	for i, block := range blocks {
		if err := json.Unmarshal([]byte(block[1]), &all[i], json.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%v\n%s", err, block[1])
		}
		for _, s := range all[i].Statement {
			if s.Effect != "Allow" || s.Action == nil || (s.Resource == nil) == (s.Principal == nil) {
				t.Errorf("not a statement: %+v", s)
			}
		}
	}
	return all
}

// allows reports whether the policy allows an action, if all conditions hold.
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

// grant is an action on a resource, by its ARN. "*" is a resource whose ARN is not
// known in advance.
type grant struct{ action, resource string }

// needs returns what CloudFormation does to create the resources of prod's template
// in a stack, and to delete them if that fails.
func needs(t *testing.T, stack string) (all []grant) {
	t.Helper()
	values := map[string]string{"AWS::StackName": stack, "Environment": "prod"}
	maps.Copy(values, optional["domain"])
	maps.Copy(values, optional["e-mail"])
	for name, r := range readTemplate(t).deploy(t, values).resources() {
		properties, _ := r["Properties"].(map[string]any)
		needed := needsOf(stack, name, r["Type"].(string), properties)
		if len(needed) == 0 {
			t.Errorf("the test does not know what it takes to create %s, a %v", name, r["Type"])
		}
		for arn, actions := range needed {
			for action := range strings.FieldsSeq(actions) {
				all = append(all, grant{action, arn})
			}
		}
	}
	return all
}

// needsOf returns the actions that create and delete a resource, by the ARN that they
// are on.
func needsOf(stack, name, kind string, properties map[string]any) map[string]string {
	region, gateway := "us-east-1", "arn:aws:apigateway:us-east-1::/"
	text := func(property string) string { return properties[property].(string) }
	switch kind {
	case "AWS::Serverless::Function":
		deployment := stack + "-ServerlessDeploymentApplication-x"
		return map[string]string{
			functionARN(stack): `lambda:CreateFunction lambda:UpdateFunctionCode lambda:UpdateFunctionConfiguration
				lambda:GetFunction lambda:PublishVersion lambda:CreateAlias lambda:UpdateAlias lambda:AddPermission
				lambda:PutFunctionConcurrency lambda:DeleteAlias lambda:DeleteFunction
				lambda:PutFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig`,
			arnOf("codedeploy", region, "application:"+deployment): `codedeploy:CreateApplication
				codedeploy:RegisterApplicationRevision codedeploy:DeleteApplication`,
			arnOf("codedeploy", region, "deploymentgroup:"+deployment+"/"+stack+"-x"): `codedeploy:CreateDeploymentGroup
				codedeploy:CreateDeployment codedeploy:GetDeployment codedeploy:DeleteDeploymentGroup`,
			roleARN(stack + "-CodeDeployServiceRole-x"): `iam:CreateRole iam:AttachRolePolicy iam:PassRole
				iam:DetachRolePolicy iam:DeleteRole`,
		}
	case "AWS::Serverless::HttpApi":
		return map[string]string{
			gateway + "apis":                   "apigateway:POST",
			gateway + "apis/x":                 "apigateway:PUT apigateway:DELETE",
			gateway + "apis/x/stages":          "apigateway:POST apigateway:TagResource",
			gateway + "apis/x/stages/$default": "apigateway:PATCH",
			"*":                                "logs:CreateLogDelivery logs:PutResourcePolicy logs:DescribeLogGroups",
		}
	case "AWS::ApiGatewayV2::DomainName":
		return map[string]string{gateway + "domainnames": "apigateway:POST"}
	case "AWS::ApiGatewayV2::ApiMapping":
		return map[string]string{gateway + "domainnames/x/apimappings": "apigateway:POST"}
	case "AWS::Lambda::Permission":
		return map[string]string{functionARN(stack): "lambda:AddPermission lambda:RemovePermission"}
	case "AWS::Events::Rule":
		arn := arnOf("events", region, "rule/"+stack+"-"+name+"-x")
		return map[string]string{arn: `events:PutRule events:TagResource events:PutTargets events:RemoveTargets
			events:DeleteRule`}
	case "AWS::IAM::Role":
		actions := "iam:CreateRole iam:PutRolePolicy iam:PassRole iam:DeleteRolePolicy iam:DeleteRole"
		return map[string]string{roleARN(stack + "-" + name + "-x"): actions}
	}
	return needsOfData(stack, name, kind, text)
}

// needsOfData is needsOf for resources that hold or show data.
func needsOfData(stack, name, kind string, property func(string) string) map[string]string {
	const region = "us-east-1"
	switch kind {
	case "AWS::SecretsManager::Secret":
		arn := arnOf("secretsmanager", region, "secret:"+name+"-x")
		actions := "secretsmanager:CreateSecret secretsmanager:TagResource secretsmanager:DeleteSecret"
		return map[string]string{arn: actions}
	case "AWS::Logs::LogGroup":
		arn := arnOf("logs", region, "log-group:"+property("LogGroupName"))
		actions := "logs:CreateLogGroup logs:PutRetentionPolicy logs:TagResource logs:DeleteLogGroup"
		return map[string]string{arn: actions}
	case "AWS::Logs::MetricFilter":
		arn := arnOf("logs", region, "log-group:/aws/lambda/"+stack+":*")
		return map[string]string{arn: "logs:PutMetricFilter logs:DeleteMetricFilter"}
	case "AWS::Logs::QueryDefinition":
		return map[string]string{"*": "logs:PutQueryDefinition logs:DeleteQueryDefinition"}
	case "AWS::SNS::Topic":
		arn := arnOf("sns", region, stack+"-"+name+"-x")
		return map[string]string{arn: "sns:CreateTopic sns:TagResource sns:GetTopicAttributes sns:DeleteTopic"}
	case "AWS::SNS::Subscription":
		arn := arnOf("sns", region, stack+"-AlarmTopic-x")
		return map[string]string{arn: "sns:Subscribe", "*": "sns:GetSubscriptionAttributes sns:Unsubscribe"}
	case "AWS::CloudWatch::Alarm":
		arn := arnOf("cloudwatch", region, "alarm:"+property("AlarmName"))
		return map[string]string{arn: "cloudwatch:PutMetricAlarm cloudwatch:TagResource cloudwatch:DeleteAlarms"}
	case "AWS::CloudWatch::Dashboard":
		arn := arnOf("cloudwatch", "", "dashboard/"+property("DashboardName"))
		return map[string]string{arn: "cloudwatch:PutDashboard cloudwatch:DeleteDashboards"}
	}
	return nil
}

// CloudFormation's role can create and delete the template's resources in prod's
// stack and in no other. It can neither use them nor extend its own rights.
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
	keys := arnOf("secretsmanager", "us-east-1", "secret:SigningSecret-x")
	for _, never := range []grant{
		{"lambda:InvokeFunction", functionARN("wechat-phone-prod")},
		{"secretsmanager:GetSecretValue", secret}, {"secretsmanager:GetSecretValue", keys},
		{"secretsmanager:PutSecretValue", secret}, {"secretsmanager:PutSecretValue", keys},
		{"secretsmanager:UpdateSecretVersionStage", secret}, {"secretsmanager:UpdateSecretVersionStage", keys},
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

// In one account, dev's role must not delete prod's secrets: their names do not have
// the stack's.
func TestSecretsAreDeletedOnlyWithTheirOwnStack(t *testing.T) {
	want := map[string]any{"StringEquals": map[string]any{
		"aws:ResourceTag/aws:cloudformation:stack-name": "wechat-phone-prod",
	}}
	found := false
	for _, s := range policies(t)[3].Statement {
		if anyLike(s.Action, "secretsmanager:DeleteSecret") {
			found = true
			if !reflect.DeepEqual(s.Condition, want) {
				t.Errorf("CloudFormation's role may delete secrets if %v, want %v", s.Condition, want)
			}
		}
	}
	if !found {
		t.Error("CloudFormation's role cannot delete the secret of a stack whose creation failed")
	}
}

// The update of a stack without identity tokens and self-check rolls back unless
// somebody first extends CloudFormation's role. The documents name all that is new:
// the policy without that lacks nothing else.
func TestDocumentsNameWhatAnUpdateNeeds(t *testing.T) {
	_, table, _ := strings.Cut(readFile(t, "docs/pipelines.md"), "| new resource | ")
	table, _, _ = strings.Cut(table, "\n\n")
	_, notes, _ := strings.Cut(readFile(t, "CHANGELOG.md"), "- **Update CloudFormation's role")
	notes, _, _ = strings.Cut(notes, "\n- ")
	cloudFormation := policies(t)[3]
	for i, s := range cloudFormation.Statement {
		resources := slices.DeleteFunc(slices.Clone(listed(s.Resource)), func(arn any) bool {
			return strings.HasSuffix(arn.(string), "secret:SigningSecret-*")
		})
		cloudFormation.Statement[i].Resource = resources
		cloudFormation.Statement[i].Action = slices.DeleteFunc(slices.Clone(listed(s.Action)), func(action any) bool {
			service, _, _ := strings.Cut(action.(string), ":")
			return service == "events" || service == "sns" || strings.HasSuffix(action.(string), "EventInvokeConfig")
		})
	}
	lacking := 0
	for _, need := range needs(t, "wechat-phone-prod") {
		if cloudFormation.allows(need.action, need.resource) {
			continue
		}
		lacking++
		_, name, _ := strings.Cut(need.action, ":")
		if !strings.Contains(table, "`"+need.action+"`") || !strings.Contains(notes, name+"`") {
			t.Errorf("docs/pipelines.md and CHANGELOG.md must name %s on %s", need.action, need.resource)
		}
	}
	if lacking == 0 {
		t.Error("the old policy lacks nothing, want it to lack the rights on SigningSecret")
	}
	for _, text := range []string{table, notes} {
		for _, part := range []string{"`secret:SigningSecret-*`", "`kms:GenerateDataKey`", "`kms:Decrypt`"} {
			if !strings.Contains(text, part) {
				t.Errorf("got no %s in %q, want it named", part, text)
			}
		}
	}
	names := regexp.MustCompile(`(?m)^\| ([A-Z][^|]+) \|`).FindAllStringSubmatch(table, -1)
	for _, row := range names {
		for name := range strings.SplitSeq(row[1], ", ") {
			_, exists := readTemplate(t).section(t, "Resources")[name]
			_, event := readTemplate(t).section(t, "Resources", "PhoneFunction", "Properties", "Events")[strings.TrimSuffix(
				strings.TrimPrefix(name, "PhoneFunction"), "Permission")] // as SAM names it
			if !exists && !event {
				t.Errorf("docs/pipelines.md names %s, which the template does not make", name)
			}
		}
	}
}

// callsOf returns the actions that a text's aws cloudformation commands take.
func callsOf(text string) (actions []string) {
	for _, call := range regexp.MustCompile(`aws cloudformation ([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		action := ""
		for word := range strings.SplitSeq(call[1], "-") {
			action += strings.ToUpper(word[:1]) + word[1:]
		}
		if action == "Wait" { // it asks for the stack's state
			action = "DescribeStacks"
		}
		actions = append(actions, "cloudformation:"+action)
	}
	return actions
}

func TestPipelineMayDoWhatItsCommandsDo(t *testing.T) {
	pipeline := policies(t)[1]
	stack := arnOf("cloudformation", "us-east-1", "stack/wechat-phone-prod/x")
	const transform = "arn:aws:cloudformation:us-east-1:aws:transform/Serverless-2016-10-31"
	needed := []grant{
		// sam deploy
		{"cloudformation:GetTemplateSummary", stack}, {"cloudformation:CreateChangeSet", stack},
		{"cloudformation:CreateChangeSet", transform}, {"cloudformation:DescribeChangeSet", stack},
		{"cloudformation:ExecuteChangeSet", stack}, {"cloudformation:DescribeStackEvents", stack},
		{"cloudformation:DescribeStacks", stack}, // sam list stack-outputs too
	}
	for _, file := range []string{"Makefile", ".github/workflows/deploy-to.yml"} {
		actions := callsOf(readFile(t, file))
		if len(actions) == 0 {
			t.Errorf("%s has no aws cloudformation command", file)
		}
		for _, action := range actions {
			needed = append(needed, grant{action, stack})
		}
	}
	for _, need := range needed {
		if !pipeline.allows(need.action, need.resource) {
			t.Errorf("the pipeline's role lacks %s on %s", need.action, need.resource)
		}
	}
	other := arnOf("cloudformation", "us-east-1", "stack/wechat-phone-dev/x")
	for _, never := range []grant{
		{"cloudformation:UpdateTerminationProtection", stack}, // it is what protects a stack from DeleteStack
		{"cloudformation:DeleteStack", other}, {"cloudformation:UpdateStack", other},
	} {
		if pipeline.allows(never.action, never.resource) {
			t.Errorf("the pipeline's role for prod may %s on %s", never.action, never.resource)
		}
	}
}

// Whoever runs make secret or make key must know which rights it takes. Only make key
// looks at the labels.
func TestOperatorsRightsAreWhatTheirCommandsCall(t *testing.T) {
	for command, files := range map[string][]string{
		"secret": {"tools/operator/secret.go"}, "key": {"tools/operator/secret.go", "tools/operator/labels.go"},
	} {
		_, text, _ := strings.Cut(readFile(t, "docs/pipelines.md"), "\n- `make "+command+"` needs ")
		text, _, _ = strings.Cut(text, "\n- ")
		got, want := map[string]bool{}, map[string]bool{}
		for _, action := range regexp.MustCompile("`(secretsmanager:[^`]+)`").FindAllStringSubmatch(text, -1) {
			got[action[1]] = true
		}
		for _, file := range files {
			calls := regexp.MustCompile(`secretsmanager\.(\w+)Input\{`).FindAllStringSubmatch(readFile(t, file), -1)
			for _, call := range calls {
				want["secretsmanager:"+call[1]] = true
			}
		}
		if !maps.Equal(got, want) || len(want) == 0 {
			t.Errorf("make %s: pipelines.md names %v, want what it calls, %v", command, got, want)
		}
	}
}

// The documents show how to delete a stack whose first deployment failed. The
// workflow does so only then.
func TestOnlyAFailedFirstDeploymentIsDeleted(t *testing.T) {
	deletes := []string{
		"aws cloudformation delete-stack --stack-name ", "aws cloudformation wait stack-delete-complete --stack-name ",
	}
	for _, command := range deletes {
		for _, file := range []string{"docs/pipelines.md", "docs/operations.md"} {
			if !strings.Contains(readFile(t, file), command+"wechat-phone-") {
				t.Errorf("%s does not show %s", file, command)
			}
		}
	}
	steps := parseYAML(t, readFile(t, ".github/workflows/deploy-to.yml")).section(t, "jobs", "deploy")["steps"].([]any)
	count := 0
	for _, s := range steps {
		run, _ := s.(map[string]any)["run"].(string)
		if !strings.Contains(run, "delete-stack") {
			continue
		}
		count++
		for state, want := range map[string]int{"ROLLBACK_COMPLETE": 3, "CREATE_COMPLETE": 1, "UPDATE_ROLLBACK_COMPLETE": 1} {
			dir, calls := recorders(t, state)
			command := exec.Command("bash", "-e", "-c", run)
			command.Dir = root
			command.Env = append(os.Environ(), "ENVIRONMENT=prod", "PATH="+dir+":"+os.Getenv("PATH"))
			out, err := command.CombinedOutput()
			if got := calls(); err != nil || len(got) != want || !strings.Contains(got[0], "\nwechat-phone-prod\n") {
				t.Errorf("%s: aws was called with %q, error %v, want %d calls\n%s", state, got, err, want, out)
			}
		}
	}
	if count != 1 {
		t.Errorf("%d steps delete a stack, want 1", count)
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
