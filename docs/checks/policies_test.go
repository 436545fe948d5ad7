package checks

import (
	"encoding/json/v2"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	account  = "123456789012"
	prod     = "wechat-phone-prod"
	kmsKey   = "arn:aws:kms:us-east-1:123456789012:key/x"
	subject  = "repo:owner@1/repository@2"
	provider = "token.actions.githubusercontent.com"
	bucket   = "aws-sam-cli-managed-default-samclisourcebucket-x" // as SAM names it
)

type policy struct {
	Version   string
	Statement []statement
}

type statement struct {
	Effect    string
	Action    any
	Resource  any
	Principal any
	Condition map[string]any
}

// setUp returns the commands in the code block of docs/pipelines.md or
// docs/policies/README.md that contains text.
func setUp(t *testing.T, text string) string {
	t.Helper()
	pages := readFile(t, "docs/pipelines.md") + readFile(t, "docs/policies/README.md")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(pages, -1) {
		if strings.Contains(block[1], text) {
			return strings.Replace(block[1], "repo:OWNER/REPO", subject, 1)
		}
	}
	t.Fatalf("the pages have no commands with %q", text)
	return ""
}

// runSetUp runs commands after those that fill in the policies. aws is a script that
// says who calls it. Each call of aws iam goes to a file of its own, named by its number.
func runSetUp(t *testing.T, partition, commands string) (output, record string) {
	t.Helper()
	record = t.TempDir()
	dir := scripts(t, map[string]string{"aws": `case "$1" in
sts) echo arn:` + partition + `:iam::` + account + `:user/somebody ;;
iam) n=$(ls '` + record + `' | wc -l); shift; printf '%s\n' "$@" >"$(printf '` + record + `/%02d' "$n")" ;;
*) exit 9 ;;
esac`})
	shell := exec.Command("sh", "-e", "-c", setUp(t, "policy() {")+"\n"+commands)
	shell.Dir = root
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "kms_key="+kmsKey)
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out), record
}

// policies returns the files in docs/policies by their names, as the commands of
// docs/pipelines.md fill them in for prod in the commercial regions.
func policies(t *testing.T) map[string]policy { return policiesIn(t, "aws") }

func policiesIn(t *testing.T, partition string) map[string]policy {
	t.Helper()
	files, err := filepath.Glob(root + "/docs/policies/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	all, commands := map[string]policy{}, ""
	for _, file := range files {
		commands += "policy " + strings.TrimSuffix(filepath.Base(file), ".json") + "\necho --\n"
	}
	output, _ := runSetUp(t, partition, commands)
	for i, text := range strings.Split(strings.TrimSuffix(output, "--\n"), "--\n") {
		all[strings.TrimSuffix(filepath.Base(files[i]), ".json")] = parsePolicy(t, text)
	}
	return all
}

// parsePolicy parses a policy that is filled in.
func parsePolicy(t *testing.T, text string) (p policy) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &p, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, s := range p.Statement {
		if s.Effect != "Allow" || s.Action == nil || (s.Resource == nil) == (s.Principal == nil) {
			t.Errorf("not a statement: %+v", s)
		}
	}
	if word := regexp.MustCompile(`PARTITION|ACCOUNT|AUDIENCE|STACK|SUBJECT|KMS_KEY`).FindString(text); word != "" {
		t.Errorf("got %s in a policy, want it replaced:\n%s", word, text)
	}
	return p
}

// allows reports whether a statement of the policy allows it.
func (p policy) allows(g grant) bool {
	return slices.ContainsFunc(p.Statement, func(s statement) bool { return s.allows(g) })
}

func (s statement) allows(g grant) bool {
	return anyLike(s.Action, g.action) && anyLike(s.Resource, g.resource) && s.holds(g.context)
}

// holds evaluates the condition. A key that a request lacks does not match.
func (s statement) holds(context map[string]string) bool {
	for operator, keys := range s.Condition {
		for key, values := range keys.(map[string]any) {
			value, ok := context[key]
			matches := slices.ContainsFunc(listed(values), func(want any) bool { return want == value })
			if operator == "StringLike" {
				matches = anyLike(values, value)
			}
			if !ok || !matches {
				return false
			}
		}
	}
	return true
}

// anyLike reports whether a text is one of the patterns.
func anyLike(patterns any, text string) bool {
	return slices.ContainsFunc(listed(patterns), func(pattern any) bool { return like(pattern.(string), text) })
}

// like reports whether a text is a pattern, in which * is any text.
func like(pattern, text string) bool {
	before, after, wild := strings.Cut(pattern, "*")
	if !wild {
		return text == pattern
	}
	rest, ok := strings.CutPrefix(text, before)
	for i := 0; ok && i <= len(rest); i++ {
		if like(after, rest[i:]) {
			return true
		}
	}
	return false
}

// place is a stack's partition and region, and its name.
type place struct{ partition, region, stack string }

var places = []place{{"aws", "us-east-1", prod}, {"aws-cn", "cn-northwest-1", prod}}

func (at place) arn(service, resource string) string {
	region, owner := at.region, account
	switch service {
	case "iam":
		region = ""
	case "s3":
		region, owner = "", ""
	case "apigateway":
		owner = ""
	}
	return strings.Join([]string{"arn", at.partition, service, region, owner, resource}, ":")
}

func (at place) role(name string) string { return at.arn("iam", "role/"+name) }

func (at place) function() string {
	return at.arn("lambda", "function:"+at.stack+"-PhoneFunction-x")
}

// grant is an action on a resource, by its ARN, with what the conditions look at. "*" is
// a resource whose ARN is not known in advance, or an action without one.
type grant struct {
	action, resource string
	context          map[string]string
}

// request returns what IAM sees of an action that a service takes for the stack.
func (at place) request(action, resource string) grant {
	service, _, _ := strings.Cut(action, ":")
	context := map[string]string{}
	switch {
	case service == "s3":
		context["aws:ResourceAccount"] = account
	case service == "secretsmanager":
		context["aws:ResourceTag/aws:cloudformation:stack-name"] = at.stack
	case service == "kms":
		context["kms:ViaService"] = "secretsmanager." + at.region + ".amazonaws.com"
	case action == "iam:PassRole" && strings.Contains(resource, "-CodeDeployServiceRole-"):
		context["iam:PassedToService"] = "codedeploy.amazonaws.com"
	case action == "iam:PassRole" && strings.Contains(resource, "-cloudformation"):
		context["iam:PassedToService"] = "cloudformation.amazonaws.com"
	case action == "iam:PassRole":
		context["iam:PassedToService"] = "lambda.amazonaws.com"
	case action == "iam:AttachRolePolicy" || action == "iam:DetachRolePolicy":
		context["iam:PolicyARN"] = "arn:" + at.partition + ":iam::aws:policy/service-role/AWSCodeDeployRoleForLambda"
	case action == "iam:CreateServiceLinkedRole":
		context["iam:AWSServiceName"] = "ops.apigateway.amazonaws.com"
	}
	return grant{action, resource, context}
}

func (at place) requests(actions map[string]string) (all []grant) {
	for arn, names := range actions {
		for action := range strings.FieldsSeq(names) {
			all = append(all, at.request(action, arn))
		}
	}
	return all
}

// needs returns what CloudFormation does to create, read, change and delete the
// resources of prod's template.
func (at place) needs(t *testing.T) (all []grant) {
	t.Helper()
	values := map[string]string{
		"AWS::StackName": at.stack, "Environment": "prod", "AWS::Partition": at.partition, "AWS::Region": at.region,
	}
	maps.Copy(values, optional["domain"])
	maps.Copy(values, optional["e-mail"])
	for name, r := range readTemplate(t).deploy(t, values).resources() {
		properties, _ := r["Properties"].(map[string]any)
		needed := at.needsOf(name, r["Type"].(string), properties)
		if len(needed) == 0 {
			t.Errorf("the test does not know what it takes to create %s, a %v", name, r["Type"])
		}
		all = append(all, at.requests(needed)...)
	}
	return append(all, at.request("cloudformation:CreateChangeSet", at.transform()))
}

func (at place) transform() string {
	return "arn:" + at.partition + ":cloudformation:" + at.region + ":aws:transform/Serverless-2016-10-31"
}

// needsOf returns the actions that a resource takes, by the ARN that they are on. They
// are the actions that AWS's schema of the resource lists for the properties in the
// template. https://docs.aws.amazon.com/cloudformation-cli/latest/userguide/resource-type-schema.html
func (at place) needsOf(name, kind string, properties map[string]any) map[string]string {
	switch kind {
	case "AWS::Serverless::Function":
		return at.needsOfFunction()
	case "AWS::Serverless::HttpApi":
		return map[string]string{
			at.arn("apigateway", "/apis"):                   "apigateway:POST",
			at.arn("apigateway", "/apis/x"):                 "apigateway:GET apigateway:PUT apigateway:PATCH apigateway:DELETE",
			at.arn("apigateway", "/apis/x/stages"):          "apigateway:POST apigateway:TagResource apigateway:UntagResource",
			at.arn("apigateway", "/apis/x/stages/$default"): "apigateway:GET apigateway:PATCH apigateway:DELETE",
			at.arn("apigateway", "/tags/x"):                 "apigateway:GET apigateway:PUT apigateway:DELETE",
			"*": `logs:DescribeLogGroups logs:CreateLogDelivery logs:GetLogDelivery logs:UpdateLogDelivery
				logs:DeleteLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:DescribeResourcePolicies`,
		}
	case "AWS::ApiGatewayV2::DomainName":
		linked := "role/aws-service-role/ops.apigateway.amazonaws.com/AWSServiceRoleForAPIGateway"
		return map[string]string{
			at.arn("apigateway", "/domainnames"):   "apigateway:POST",
			at.arn("apigateway", "/domainnames/x"): "apigateway:GET apigateway:PUT apigateway:PATCH apigateway:DELETE",
			at.arn("acm", "certificate/x"):         "acm:DescribeCertificate",
			at.arn("iam", linked):                  "iam:CreateServiceLinkedRole",
		}
	case "AWS::ApiGatewayV2::ApiMapping":
		return map[string]string{
			at.arn("apigateway", "/domainnames/x/apimappings"):   "apigateway:POST",
			at.arn("apigateway", "/domainnames/x/apimappings/x"): "apigateway:GET apigateway:PATCH apigateway:DELETE",
		}
	case "AWS::Lambda::Permission":
		return map[string]string{at.function(): "lambda:AddPermission lambda:GetPolicy lambda:RemovePermission"}
	case "AWS::IAM::Role":
		return map[string]string{at.role(at.stack + "-" + name + "-x"): roleActions}
	}
	text := func(property string) string { return properties[property].(string) }
	return at.needsOfMonitoring(name, kind, text)
}

const roleActions = `iam:CreateRole iam:GetRole iam:UpdateAssumeRolePolicy iam:DeleteRole iam:TagRole iam:UntagRole
	iam:PutRolePolicy iam:GetRolePolicy iam:DeleteRolePolicy iam:ListRolePolicies iam:ListAttachedRolePolicies
	iam:PassRole`

// needsOfFunction returns what the function takes, with the version, the alias, the
// settings, the role and the application of CodeDeploy that SAM makes of it.
func (at place) needsOfFunction() map[string]string {
	application := at.stack + "-ServerlessDeploymentApplication-x"
	return map[string]string{
		at.function(): `lambda:CreateFunction lambda:GetFunction lambda:UpdateFunctionCode lambda:DeleteFunction
			lambda:UpdateFunctionConfiguration lambda:GetFunctionConfiguration lambda:GetFunctionCodeSigningConfig
			lambda:PutFunctionConcurrency lambda:DeleteFunctionConcurrency lambda:PutFunctionRecursionConfig
			lambda:GetFunctionRecursionConfig lambda:GetFunctionScalingConfig lambda:PutRuntimeManagementConfig
			lambda:GetRuntimeManagementConfig lambda:TagResource lambda:UntagResource lambda:ListTags
			lambda:PublishVersion lambda:ListVersionsByFunction lambda:GetProvisionedConcurrencyConfig
			lambda:CreateAlias lambda:GetAlias lambda:UpdateAlias lambda:DeleteAlias
			lambda:PutFunctionEventInvokeConfig lambda:GetFunctionEventInvokeConfig
			lambda:UpdateFunctionEventInvokeConfig lambda:DeleteFunctionEventInvokeConfig`,
		at.arn("s3", bucket+"/"+at.stack+"/x"): "s3:GetObject",
		at.arn("codedeploy", "application:"+application): `codedeploy:CreateApplication codedeploy:GetApplication
			codedeploy:DeleteApplication codedeploy:RegisterApplicationRevision codedeploy:GetApplicationRevision
			codedeploy:TagResource codedeploy:UntagResource codedeploy:ListTagsForResource`,
		at.arn("codedeploy", "deploymentgroup:"+application+"/"+at.stack+"-x"): `codedeploy:CreateDeploymentGroup
			codedeploy:GetDeploymentGroup codedeploy:UpdateDeploymentGroup codedeploy:DeleteDeploymentGroup
			codedeploy:CreateDeployment codedeploy:GetDeployment codedeploy:ListDeployments
			codedeploy:TagResource codedeploy:UntagResource codedeploy:ListTagsForResource`,
		at.arn("codedeploy", "deploymentconfig:CodeDeployDefault.LambdaAllAtOnce"): "codedeploy:GetDeploymentConfig",
		"*": "codedeploy:StopDeployment",
		at.role(at.stack + "-CodeDeployServiceRole-x"): roleActions + " iam:AttachRolePolicy iam:DetachRolePolicy",
	}
}

// needsOfMonitoring is needsOf for resources that hold or show data, or start the check.
func (at place) needsOfMonitoring(name, kind string, property func(string) string) map[string]string {
	switch kind {
	case "AWS::SecretsManager::Secret":
		return map[string]string{at.arn("secretsmanager", "secret:"+name+"-x"): `secretsmanager:CreateSecret
			secretsmanager:DescribeSecret secretsmanager:UpdateSecret secretsmanager:DeleteSecret
			secretsmanager:TagResource secretsmanager:UntagResource`}
	case "AWS::Logs::LogGroup":
		group := at.arn("logs", "log-group:"+property("LogGroupName"))
		const actions = `logs:CreateLogGroup logs:DeleteLogGroup logs:PutRetentionPolicy logs:DeleteRetentionPolicy
			logs:TagResource logs:UntagResource logs:ListTagsForResource logs:GetDataProtectionPolicy`
		return map[string]string{
			group: actions, group + ":*": actions, // IAM sees one or the other
			"*": "logs:DescribeLogGroups logs:DescribeIndexPolicies logs:CreateLogDelivery " +
				"logs:PutResourcePolicy logs:DescribeResourcePolicies",
		}
	case "AWS::Logs::MetricFilter":
		group := at.arn("logs", "log-group:/aws/lambda/"+at.stack+":*")
		return map[string]string{group: "logs:PutMetricFilter logs:DescribeMetricFilters logs:DeleteMetricFilter"}
	case "AWS::Logs::QueryDefinition":
		return map[string]string{"*": "logs:PutQueryDefinition logs:DescribeQueryDefinitions logs:DeleteQueryDefinition"}
	case "AWS::Events::Rule":
		return map[string]string{at.arn("events", "rule/"+at.stack+"-"+name+"-x"): `events:PutRule events:DescribeRule
			events:DeleteRule events:PutTargets events:ListTargetsByRule events:RemoveTargets
			events:TagResource events:UntagResource events:ListTagsForResource`}
	case "AWS::SNS::Topic":
		return map[string]string{at.arn("sns", at.stack+"-"+name+"-x"): `sns:CreateTopic sns:GetTopicAttributes
			sns:SetTopicAttributes sns:DeleteTopic sns:GetDataProtectionPolicy sns:ListSubscriptionsByTopic
			sns:TagResource sns:UntagResource sns:ListTagsForResource`}
	case "AWS::SNS::Subscription":
		topic := at.arn("sns", at.stack+"-AlarmTopic-x")
		const actions = "sns:GetSubscriptionAttributes sns:SetSubscriptionAttributes sns:Unsubscribe"
		return map[string]string{topic: "sns:Subscribe " + actions, topic + ":x": actions}
	case "AWS::CloudWatch::Alarm":
		return map[string]string{at.arn("cloudwatch", "alarm:"+property("AlarmName")): `cloudwatch:PutMetricAlarm
			cloudwatch:DescribeAlarms cloudwatch:DeleteAlarms
			cloudwatch:TagResource cloudwatch:UntagResource cloudwatch:ListTagsForResource`}
	case "AWS::CloudWatch::Dashboard":
		at.region = "" // dashboards have none
		return map[string]string{at.arn("cloudwatch", "dashboard/"+property("DashboardName")): `cloudwatch:PutDashboard
			cloudwatch:GetDashboard cloudwatch:DeleteDashboards
			cloudwatch:TagResource cloudwatch:UntagResource cloudwatch:ListTagsForResource`}
	}
	return nil
}

// checkAllows checks that a policy allows what is needed, and nothing else: each of its
// actions and resources serves a need.
func checkAllows(t *testing.T, name string, p policy, needs []grant) {
	t.Helper()
	for _, need := range needs {
		if !p.allows(need) {
			t.Errorf("%s lacks %s on %s", name, need.action, need.resource)
		}
	}
	for _, s := range p.Statement {
		for _, action := range listed(s.Action) {
			if !regexp.MustCompile(`^[a-z0-9-]+:(\w+|Get\*|List\*)$`).MatchString(action.(string)) {
				t.Errorf("%s allows %s, want single actions, or all reads", name, action)
			}
			only := statement{Action: action, Resource: s.Resource, Condition: s.Condition}
			if !slices.ContainsFunc(needs, only.allows) {
				t.Errorf("%s allows %s on %v, and nothing needs it there", name, action, s.Resource)
			}
		}
		for _, resource := range listed(s.Resource) {
			only := statement{Action: s.Action, Resource: resource, Condition: s.Condition}
			if !slices.ContainsFunc(needs, only.allows) {
				t.Errorf("%s allows %v on %s, and nothing needs it there", name, s.Action, resource)
			}
		}
	}
}

// checkRefuses checks that a policy does not allow the same in another place.
func checkRefuses(t *testing.T, name string, p policy, needs []grant) {
	t.Helper()
	for _, need := range needs {
		if p.allows(need) {
			t.Errorf("%s allows %s on %s in the context %v", name, need.action, need.resource, need.context)
		}
	}
}

// elsewhere returns the needs of prod as other stacks would have them, and in a bucket
// of another account.
func elsewhere(needs []grant) (others []grant) {
	for _, need := range needs {
		if strings.Contains(need.resource, prod) {
			for _, stack := range []string{"wechat-phone-dev", prod + "2"} {
				other := need
				other.resource = strings.ReplaceAll(need.resource, prod, stack)
				others = append(others, other)
			}
		}
		if _, ok := need.context["aws:ResourceAccount"]; ok {
			need.context = map[string]string{"aws:ResourceAccount": "999999999999"}
			others = append(others, need)
		}
	}
	return others
}

func TestCloudFormationsRoleMayDoWhatTheTemplateNeedsAndNoMore(t *testing.T) {
	for _, at := range places {
		cloudFormation := policiesIn(t, at.partition)["cloudformation"]
		needs := at.needs(t)
		checkAllows(t, at.partition+": cloudformation", cloudFormation, needs)
		checkRefuses(t, at.partition+": cloudformation", cloudFormation, elsewhere(needs))
		for _, need := range needs {
			need.resource = strings.Replace(need.resource, "arn:"+at.partition+":", "arn:aws-us-gov:", 1)
			if need.resource != "*" && cloudFormation.allows(need) {
				t.Errorf("%s: cloudformation allows %s on %s", at.partition, need.action, need.resource)
			}
		}
	}
}

// CloudFormation's role and the pipeline's can neither use what they create nor extend
// their own rights. In one account, dev's role must neither delete prod's secrets nor
// write their values: their names do not contain the stack's.
func TestPipelinesRolesCannotUseWhatTheyDeploy(t *testing.T) {
	at := places[0]
	secret, keys := at.arn("secretsmanager", "secret:WeChatSecret-x"), at.arn("secretsmanager", "secret:SigningSecret-x")
	of := func(name string) string { return at.role("delivery/" + prod + "-" + name) }
	const changes = "iam:PutRolePolicy iam:AttachRolePolicy iam:UpdateAssumeRolePolicy"
	const values = "secretsmanager:GetSecretValue secretsmanager:PutSecretValue secretsmanager:UpdateSecretVersionStage"
	never := at.requests(map[string]string{
		at.function(): "lambda:InvokeFunction", secret: values, keys: values,
		of("cloudformation"): changes, of("pipeline"): changes + " iam:PassRole",
		at.arn("cloudformation", "stack/"+prod+"/x"): "cloudformation:UpdateTerminationProtection",
	})
	dev := place{at.partition, at.region, "wechat-phone-dev"}
	for _, arn := range []string{secret, keys} {
		never = append(never, dev.request("secretsmanager:DeleteSecret", arn))
		never = append(never, dev.request("secretsmanager:UpdateSecret", arn)) // it takes a new value too
	}
	administrator := grant{"iam:AttachRolePolicy", at.role(prod + "-PhoneFunctionRole-x"),
		map[string]string{"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}}
	toEC2 := grant{"iam:PassRole", at.role(prod + "-PhoneFunctionRole-x"),
		map[string]string{"iam:PassedToService": "ec2.amazonaws.com"}}
	for _, name := range []string{"pipeline", "cloudformation"} {
		checkRefuses(t, name, policies(t)[name], append(never, administrator, toEC2))
	}
}

// callsOf returns the actions that a text's aws cloudformation commands take.
func callsOf(text string) (actions string) {
	for _, call := range regexp.MustCompile(`aws cloudformation ([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		action := ""
		for word := range strings.SplitSeq(call[1], "-") {
			action += strings.ToUpper(word[:1]) + word[1:]
		}
		if action == "Wait" { // it asks for the stack's state
			action = "DescribeStacks"
		}
		actions += " cloudformation:" + action
	}
	return actions
}

func TestPipelineMayDoWhatItsCommandsDoAndNoMore(t *testing.T) {
	const deploy = `cloudformation:GetTemplateSummary cloudformation:CreateChangeSet cloudformation:DescribeChangeSet
		cloudformation:ExecuteChangeSet cloudformation:DescribeStackEvents cloudformation:DescribeStacks` // sam deploy
	for _, at := range places {
		needs := at.requests(map[string]string{
			at.arn("cloudformation", "stack/"+prod+"/x"):                    deploy + callsOf(readFile(t, ".ci/deploy")),
			at.arn("cloudformation", "stack/aws-sam-cli-managed-default/x"): "cloudformation:DescribeStacks",
			at.transform():                                  "cloudformation:CreateChangeSet",
			at.arn("s3", bucket):                            "s3:ListBucket",
			at.arn("s3", bucket+"/"+prod+"/x"):              "s3:PutObject s3:GetObject",
			at.role("delivery/" + prod + "-cloudformation"): "iam:PassRole",
		})
		pipeline := policiesIn(t, at.partition)["pipeline"]
		checkAllows(t, at.partition+": pipeline", pipeline, needs)
		checkRefuses(t, at.partition+": pipeline", pipeline, elsewhere(needs))
	}
}

// The actions are those of the code: AWS's API has the same names.
func TestOperatorsMayDoWhatTheirCommandsDoAndNoMore(t *testing.T) {
	calls := func(files ...string) (actions string) {
		for _, file := range files {
			found := regexp.MustCompile(`secretsmanager\.(\w+)Input\{`).FindAllStringSubmatch(readFile(t, file), -1)
			for _, call := range found {
				actions += " secretsmanager:" + call[1]
			}
		}
		return actions
	}
	_, restart, _ := strings.Cut(readFile(t, "Makefile"), "\nrestart: ")
	restart, _, _ = strings.Cut(restart, "\n\n")
	const describe = "cloudformation:DescribeStacks" // sam list stack-outputs
	for _, at := range places {
		stack, all := at.arn("cloudformation", "stack/"+prod+"/x"), policiesIn(t, at.partition)
		for name, actions := range map[string]map[string]string{
			"app-secret": {stack: describe,
				at.arn("secretsmanager", "secret:WeChatSecret-x"): calls("tools/operator/secret.go")},
			"key": {stack: describe, at.arn("secretsmanager", "secret:SigningSecret-x"): calls("tools/operator/secret.go",
				"tools/operator/labels.go")},
			"restart": {stack: callsOf(restart), at.transform(): "cloudformation:CreateChangeSet"},
			"own-key": {kmsKey: "kms:GenerateDataKey kms:Decrypt"},
		} {
			needs := at.requests(actions)
			checkAllows(t, at.partition+": "+name, all[name], needs)
			checkRefuses(t, at.partition+": "+name, all[name], elsewhere(needs))
		}
		dev, read := place{at.partition, at.region, "wechat-phone-dev"}, "secretsmanager:GetSecretValue"
		secret, keys := at.arn("secretsmanager", "secret:WeChatSecret-x"), at.arn("secretsmanager", "secret:SigningSecret-x")
		checkRefuses(t, "app-secret", all["app-secret"], []grant{dev.request(read, secret), at.request(read, keys)})
		checkRefuses(t, "key", all["key"], []grant{dev.request(read, keys), at.request(read, secret)})
	}
}

// Only a run for the repository's environment prod can assume the pipeline's role, and
// only CloudFormation can assume its own.
func TestEachRoleTrustsOnlyItsUser(t *testing.T) {
	for _, tt := range []struct{ partition, audience string }{
		{"aws", "sts.amazonaws.com"}, {"aws-cn", "sts.amazonaws.com.cn"},
	} {
		all := policiesIn(t, tt.partition)
		want := policy{"2012-10-17", []statement{{
			Effect: "Allow", Action: "sts:AssumeRoleWithWebIdentity",
			Principal: map[string]any{"Federated": "arn:" + tt.partition + ":iam::" + account + ":oidc-provider/" + provider},
			Condition: map[string]any{"StringEquals": map[string]any{
				provider + ":aud": tt.audience, provider + ":sub": subject + ":environment:prod",
			}},
		}}}
		if got := all["pipeline-trust"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: the pipeline's role trusts %+v, want %+v", tt.partition, got, want)
		}
		want = policy{"2012-10-17", []statement{{
			Effect: "Allow", Action: "sts:AssumeRole", Principal: map[string]any{"Service": "cloudformation.amazonaws.com"},
		}}}
		if got := all["cloudformation-trust"]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: CloudFormation's role trusts %+v, want %+v", tt.partition, got, want)
		}
	}
}

// The commands of docs/pipelines.md make both roles of each environment, with their
// policies, which must be short enough for a role.
func TestSetUpMakesTheRolesWithTheirPolicies(t *testing.T) {
	_, record := runSetUp(t, "aws", setUp(t, "create-role"))
	made := map[string]policy{}
	for _, text := range filesOf(t, record) {
		command, document, _ := strings.Cut(text, "-document\n")
		arguments := strings.Fields(command)
		role := arguments[slices.Index(arguments, "--role-name")+1]
		made[arguments[0]+" "+role] = parsePolicy(t, document)
		if arguments[0] == "create-role" && !strings.Contains(command, "--path\n/delivery/\n") {
			t.Errorf("got %s without the path /delivery/", command)
		}
		const limit = 10240 // https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
		if got := len(strings.Join(strings.Fields(document), "")); got > limit {
			t.Errorf("%s: the policy has %d characters, want at most %d without white space", role, got, limit)
		}
	}
	all := policies(t)
	for _, role := range []string{"pipeline", "cloudformation"} {
		for command, want := range map[string]policy{"create-role": all[role+"-trust"], "put-role-policy": all[role]} {
			if got := made[command+" "+prod+"-"+role]; !reflect.DeepEqual(got, want) {
				t.Errorf("%s %s: got %+v, want %+v", command, role, got, want)
			}
			if made[command+" wechat-phone-dev-"+role].Statement == nil {
				t.Errorf("%s %s is not run for dev", command, role)
			}
		}
	}
	_, record = runSetUp(t, "aws", setUp(t, "put-group-policy"))
	if got := filesOf(t, record); len(got) != 1 || !strings.Contains(got[0], "\nwechat-phone-prod-secret\n") {
		t.Errorf("got the commands %q, want prod's policy for the operators", got)
	}
}

// filesOf returns the texts of a folder's files.
func filesOf(t *testing.T, dir string) (texts []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	return texts
}

func TestDocumentNamesEveryPolicy(t *testing.T) {
	for name := range policies(t) {
		row := strings.TrimSuffix(name, "-trust")
		if !strings.Contains(readFile(t, "docs/policies/README.md"), "\n| "+row+" | ") {
			t.Errorf("docs/policies/README.md has no row for the policy %s", row)
		}
	}
}
