package checks

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/shared/identity"
	"wechat-phone/tools/samconfig/overrides"
)

// These tests hold template.yaml to the code, to samconfig.toml and to the
// Makefile.

// optional are the template's parameters that turn something on, with a value
// that does. Their defaults leave it off, except those of Tracing and Check.
var optional = map[string]map[string]string{
	"canary":     {"Environment": "prod"},
	"own secret": {"WeChatSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf"},
	"secret key": {
		"WeChatSecretKmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/00000000-0000-0000-0000-000000000000",
	},
	"reservation": {"ReservedConcurrency": "5"},
	"no tracing":  {"Tracing": "off"},
	"domain": {"DomainName": "phone.example.com",
		"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"},
	"shared domain": {"DomainName": "api.example.com", "CertificateArn": "", "BasePath": "shop/v1"},
	"tokens":        {"TokenIssuer": "https://phone.example.com"},
	"no check":      {"Check": "off"},
	"e-mail":        {"AlarmEmail": "ops@example.com"},
	"topic":         {"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:topic"},
	"China":         {"AWS::Region": "cn-northwest-1", "AWS::Partition": "aws-cn", "AWS::URLSuffix": "amazonaws.com.cn"},
}

// combinations calls try with every choice of optional parts. A stack has at most
// one domain.
func combinations(try func(name string, values map[string]string)) {
	names := slices.Sorted(maps.Keys(optional))
	for choice := range 1 << len(names) {
		values, chosen := map[string]string{}, []string{}
		for i, name := range names {
			if choice>>i&1 == 1 {
				maps.Copy(values, optional[name])
				chosen = append(chosen, name)
			}
		}
		if !slices.Contains(chosen, "domain") || !slices.Contains(chosen, "shared domain") {
			try(strings.Join(chosen, ", "), values)
		}
	}
}

// environment returns the function's variables.
func (s *stack) environment() map[string]string {
	all := map[string]string{}
	function := s.resources()["PhoneFunction"]["Properties"].(map[string]any)
	for name, value := range function["Environment"].(map[string]any)["Variables"].(map[string]any) {
		all[name] = value.(string)
	}
	return all
}

// docs/deploy.md lists the variables that the function reads, and their defaults: a
// test beside readConfig checks that.
func TestTemplateHasTheVariablesAndDefaultsOfTheDeployPage(t *testing.T) {
	declared := readTemplate(t).deploy(t, nil).environment()
	documented := settings(t, "Variables")
	for variable, fallback := range documented {
		value, ok := declared[variable]
		if !ok {
			t.Errorf("%s has %s, which template.yaml does not declare", deployPage, variable)
		}
		if !strings.HasSuffix(variable, "_SECRET_ID") && value != fallback {
			t.Errorf("%s: %s defaults to %q, in template.yaml to %q", deployPage, variable, fallback, value)
		}
	}
	others := map[string]string{ // variables that only others read, and who reads them
		"RESTART":                          "Lambda",
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": "the SDK",
		"SSL_CERT_DIR":                     "crypto/x509",
		"GOMAXPROCS":                       "the Go runtime",
	}
	for variable, reader := range others {
		if _, ok := documented[variable]; ok {
			t.Errorf("%s has %s, which only %s reads", deployPage, variable, reader)
		}
		if _, ok := declared[variable]; !ok {
			t.Errorf("template.yaml does not declare %s, which %s reads", variable, reader)
		}
	}
	for variable := range declared {
		if _, ok := documented[variable]; !ok && others[variable] == "" {
			t.Errorf("template.yaml declares %s, which nothing reads", variable)
		}
	}
}

func TestOnlyMainReadsTheEnvironment(t *testing.T) {
	for _, file := range sources(t) {
		text := readFile(t, file)
		calls := regexp.MustCompile(`os\.(Getenv|LookupEnv|Environ)\b`).FindAllString(text, -1)
		if len(calls) == 0 {
			continue
		}
		if filepath.Base(file) != "main.go" || len(calls) != 1 || !strings.Contains(text, "start(os.Getenv, logger)") {
			t.Errorf("%s reads the environment, which only readConfig may", file)
		}
	}
}

// sources returns the files of the function and of its packages.
func sources(t *testing.T) (files []string) {
	t.Helper()
	for _, pattern := range []string{"functions/phone/*.go", "functions/phone/*/*.go", "shared/*/*.go"} {
		found, err := fs.Glob(os.DirFS(root), pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(found), err)
		}
		files = append(files, found...)
	}
	return slices.DeleteFunc(files, func(name string) bool { return strings.HasSuffix(name, "_test.go") })
}

// parameterValues has values that a parameter must accept and refuse.
var parameterValues = map[string]struct{ accepted, refused []string }{
	"WeChatTimeout": {
		accepted: []string{"1s", "9s", "100ms", "9999ms"},
		refused:  []string{"0s", "10s", "4", "-1s", ""},
	},
	"WatermarkMaxAge": {
		accepted: []string{"0", "9999h", "1s"},
		refused:  []string{"10", "-1m", "1d"},
	},
	"WeChatApiBaseUrl": {
		accepted: []string{"https://api2.weixin.qq.com", "https://10.0.0.1:8443/weixin"},
		refused:  []string{"http://api.weixin.qq.com", "https://user@host", "https://host/?a"},
	},
	"WeChatSecretArn": {
		accepted: []string{"", "arn:aws-cn:secretsmanager:cn-northwest-1:123456789012:secret:a/b-AbCdEf"},
		refused:  []string{"name", "arn:aws:secretsmanager:us-east-1:123456789012:secret:name"},
	},
	"TokenIssuer": {
		accepted: []string{
			"", "https://api.example.com", "https://a-b.xn--c.cn/shop/v1.0", "https://api.example.com/a$-_.+!*'()",
			"https://a1b2c3d4e5.execute-api.cn-northwest-1.amazonaws.com.cn",
		},
		refused: []string{
			"http://api.example.com", "https://api.example.com:443", "https://api.example.com/", "https://api.example.com?a",
			"https://api.example.com/a/", "https://api.example.com#", "https://api.example.com/..", "https://user@a.example.com",
			"https://api.example.com//a", "https://api.example.com/a/./b", "https://api.example.com/é", "HTTPS://a.example.com",
			"https://api.example.com ", "api.example.com", "https://",
		},
	},
	"TokenLifetime": {
		accepted: []string{"1m", "15m", "999m", "1h", "19h", "24h"},
		refused:  []string{"", "0", "0m", "59s", "1000m", "0h", "25h", "15", "1d", "-1m", "01m"},
	},
	"TokenRenewal": {
		accepted: []string{"0", "1m", "999m", "1h", "99h", "100h", "699h", "719h", "720h"},
		refused:  []string{"", "0h", "1000m", "721h", "730h", "800h", "1000h", "30d", "-1h", "720"},
	},
	"Environment": {
		accepted: []string{"dev", "prod", "staging", "shop-2"},
		refused:  []string{"", "Prod", "2", "-a", "a b"},
	},
	"AlarmEmail": {
		accepted: []string{"", "ops@example.com", "a+b@例子.cn"},
		refused:  []string{"ops", "ops@", "@example.com", "a@example.com b@example.com", "a@b@c"},
	},
	"Restart": {
		accepted: []string{"0", "1790000000"},
		refused:  []string{"", "now", "17900000000"},
	},
	"DomainName": {
		accepted: []string{"phone.example.com"},
		refused:  []string{"https://phone.example.com", "phone"},
	},
	"BasePath": {
		accepted: []string{"", "shop", "Shop/v1.0", "a-b_c/2/d", "a$-_.+!*'()"},
		refused: []string{"/", "/shop", "shop/", "shop//v1", "..", "shop/../v1", "-", "a b", "a?b", "a%20b", "商店",
			"https://api.example.com"},
	},
}

func TestParametersTakeWhatTheFunctionTakes(t *testing.T) {
	t.Parallel()
	tm := readTemplate(t)
	for parameter, values := range parameterValues {
		pattern := regexp.MustCompile(tm.section(t, "Parameters", parameter)["AllowedPattern"].(string))
		for _, value := range values.refused {
			if pattern.MatchString(value) {
				t.Errorf("%s: the template accepts %q", parameter, value)
			}
		}
		for _, value := range values.accepted {
			if !pattern.MatchString(value) {
				t.Errorf("%s: the template refuses %q", parameter, value)
			}
			variables := tm.deploy(t, map[string]string{parameter: value}).environment()
			if line := refusal(t, variables); line != "" {
				t.Errorf("%s %q: the function does not start: %s", parameter, value, line)
			}
		}
	}
}

func TestTokenIssuerIsOneThatTheFunctionAccepts(t *testing.T) {
	parameter := readTemplate(t).section(t, "Parameters", "TokenIssuer")
	values := parameterValues["TokenIssuer"]
	for _, issuer := range values.accepted[1:] { // the first turns tokens off
		if _, err := identity.ParseIssuer(issuer); err != nil || len(issuer) > parameter["MaxLength"].(int) {
			t.Errorf("%q: got error %v, want an issuer of at most %v characters", issuer, err, parameter["MaxLength"])
		}
	}
	for _, text := range values.refused {
		if _, err := identity.ParseIssuer(text); err == nil {
			t.Errorf("%q: the function accepts it, want the template to accept it too", text)
		}
	}
	// A deployment's issuer is never on a loopback host, and is in lower case, as DomainName is.
	pattern := regexp.MustCompile(parameter["AllowedPattern"].(string))
	for _, issuer := range []string{
		"http://localhost:3000", "https://localhost", "https://127.0.0.1", "https://A.example.com",
	} {
		if _, err := identity.ParseIssuer(issuer); err != nil || pattern.MatchString(issuer) {
			t.Errorf("%q: got error %v, want an issuer, but not of a deployment", issuer, err)
		}
	}
}

// If refusal were blind, the test above could not fail.
func TestRefusalFindsEveryVariable(t *testing.T) {
	t.Parallel()
	for variable, value := range map[string]string{
		"WECHAT_SECRET_ID": "", "WECHAT_API_BASE_URL": "wrong", "WECHAT_TIMEOUT": "wrong",
		"WATERMARK_MAX_AGE": "wrong", "VERIFY_ENCRYPTED_DATA": "wrong", "REQUIRE_LOGIN_CODE": "wrong",
		"TOKEN_ISSUER": "wrong", "TOKEN_LIFETIME": "wrong", "TOKEN_RENEWAL": "wrong", "SIGNING_SECRET_ID": "",
	} {
		variables := readTemplate(t).deploy(t, optional["tokens"]).environment()
		variables[variable] = value
		if line := refusal(t, variables); !strings.Contains(line, variable) {
			t.Errorf("%s=%q: got the line %q, want one that names it", variable, value, line)
		}
	}
}

// refusal starts the function with variables. If the function refuses one, refusal
// returns the log line that names it. The function connects to nothing: it refuses
// AWS_MAX_ATTEMPTS, which it reads last.
func refusal(t *testing.T, variables map[string]string) (line string) {
	t.Helper()
	var env []string
	for name, value := range variables {
		env = append(env, name+"="+value)
	}
	code, written := rig.RunToExit(t, append(env, "AWS_MAX_ATTEMPTS=many")...)
	if code == 1 && strings.Contains(written, "AWS_MAX_ATTEMPTS") {
		return ""
	}
	return written
}

func TestHandlerRuntimeAndBuildAgree(t *testing.T) {
	tm := readTemplate(t)
	resource := tm.deploy(t, nil).resources()["PhoneFunction"]
	function := resource["Properties"].(map[string]any)
	for name, want := range map[string]any{
		"Handler": "bootstrap", "Runtime": "provided.al2023", "CodeUri": ".", "AutoPublishAlias": "live", "Timeout": 10,
	} {
		if function[name] != want {
			t.Errorf("%s is %v, want %v", name, function[name], want)
		}
	}
	if method := resource["Metadata"].(map[string]any)["BuildMethod"]; method != "makefile" {
		t.Errorf("built by %v", method)
	}
	architecture := tm.section(t, "Parameters", "Architecture") // TestBuildTakesTheArchitecture holds make to both
	allowed := architecture["AllowedValues"].([]any)
	if !slices.Equal(allowed, []any{"x86_64", "arm64"}) || architecture["Default"] != "x86_64" {
		t.Errorf("Architecture is %v, want x86_64, the default, or arm64", architecture)
	}
}

// documents are the routes that anybody may get.
var documents = []string{"GET /.well-known/jwks.json", "GET /.well-known/openid-configuration"}

// routes returns the API's routes, sorted.
func (s *stack) routes() (keys []string) {
	function := s.resources()["PhoneFunction"]["Properties"].(map[string]any)
	for name, event := range function["Events"].(map[string]any) {
		route := event.(map[string]any)["Properties"].(map[string]any)
		if kind := event.(map[string]any)["Type"]; kind != "HttpApi" || route["ApiId"] != "PhoneApi" {
			s.t.Errorf("%s is a %v of %v, want a route of PhoneApi", name, kind, route["ApiId"])
		}
		keys = append(keys, fmt.Sprint(route["Method"], " ", route["Path"]))
	}
	slices.Sort(keys)
	return keys
}

func TestGatewayHasTheFunctionsRoutes(t *testing.T) {
	want := slices.Sorted(slices.Values(stage.Routes)) // functions/phone tests that it serves them
	if got := readTemplate(t).deploy(t, nil).routes(); !slices.Equal(got, want) {
		t.Errorf("got the routes %q, want %q", got, want)
	}
}

// A flood on the public documents must not use up what logins need, and a low limit
// for logins must not keep backends from the keys. The gateway refuses settings of a
// route that it does not have.
func TestDocumentsHaveAThrottleOfTheirOwn(t *testing.T) {
	api := readTemplate(t).section(t, "Resources", "PhoneApi", "Properties")
	settings := api["RouteSettings"].(map[string]any)
	if got := slices.Sorted(maps.Keys(settings)); !slices.Equal(got, documents) {
		t.Errorf("got settings of the routes %q, want of %q", got, documents)
	}
	for route, s := range settings {
		// CloudFormation does not convert these: RouteSettings is JSON to it, and the
		// gateway refuses strings.
		rate, burst := s.(map[string]any)["ThrottlingRateLimit"], s.(map[string]any)["ThrottlingBurstLimit"]
		if rate != 10 || burst != 50 || len(s.(map[string]any)) != 2 {
			t.Errorf("%s: got %v, want a rate of 10 and a burst of 50", route, s)
		}
	}
}

func TestTemplateIsWholeOnBothSidesOfEveryCondition(t *testing.T) {
	tm := readTemplate(t)
	sides := map[string]map[bool]bool{}
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		s.resources()
		for output, value := range s.outputs() {
			if value == "" {
				t.Errorf("%s: the output %s is empty", name, output)
			}
		}
		for condition, seen := range s.sides {
			if sides[condition] == nil {
				sides[condition] = map[bool]bool{}
			}
			maps.Copy(sides[condition], seen)
		}
	})
	for condition := range tm.section(t, "Conditions") {
		if len(sides[condition]) != 2 {
			t.Errorf("%s was seen on %d sides", condition, len(sides[condition]))
		}
	}
}

// The function may read its two secrets and write its own log, and nothing else.
// vpcActions are what Lambda needs to run the function in a VPC. The template has none;
// docs/deploy.md says how an owner adds one.
var vpcActions = []string{
	"ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets",
	"ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses",
}

func TestRoleIsTheLeast(t *testing.T) {
	rig.Long(t)
	tm := readTemplate(t)
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		secret := values["WeChatSecretArn"]
		if secret == "" {
			secret = "WeChatSecret"
		}
		want := map[string]string{
			"secretsmanager:GetSecretValue": secret + " SigningSecret",
			"logs:CreateLogStream":          "PhoneFunctionLogGroup.Arn", "logs:PutLogEvents": "PhoneFunctionLogGroup.Arn",
		}
		if key := values["WeChatSecretKmsKeyArn"]; key != "" {
			want["kms:Decrypt"] = key
		}
		if s.resources()["PhoneFunction"]["Properties"].(map[string]any)["VpcConfig"] != nil { // an owner's
			for _, action := range vpcActions {
				want[action] = "*"
			}
		}
		if s.condition("IsTraced") {
			want["xray:PutTraceSegments"], want["xray:PutTelemetryRecords"] = "*", "*"
		}
		got := map[string]string{}
		var decrypts any
		role := s.resources()["PhoneFunctionRole"]["Properties"].(map[string]any)
		for _, policy := range role["Policies"].([]any) {
			for _, one := range policy.(map[string]any)["PolicyDocument"].(map[string]any)["Statement"].([]any) {
				statement := one.(map[string]any)
				for _, action := range listed(statement["Action"]) {
					got[action.(string)] = strings.Trim(fmt.Sprint(statement["Resource"]), "[]")
				}
				if statement["Condition"] != nil {
					decrypts = statement["Condition"]
				}
			}
		}
		if !maps.Equal(got, want) || role["ManagedPolicyArns"] != nil {
			t.Errorf("%s: the role may %v, want %v", name, got, want)
		}
		// The key may encrypt other things too.
		both := map[string]any{"StringEquals": map[string]any{
			"kms:EncryptionContext:SecretARN": []any{secret, "SigningSecret"},
		}}
		if _, has := want["kms:Decrypt"]; has != (decrypts != nil) || has && !reflect.DeepEqual(decrypts, both) {
			t.Errorf("%s: the role may decrypt if %v, want %v: %v", name, decrypts, both, has)
		}
	})
}

func listed(value any) []any {
	if list, ok := value.([]any); ok {
		return list
	}
	return []any{value}
}

// A parameter that shapes the function reaches the alias only with a new
// version, and CloudFormation makes one only when the description changes.
func TestVersionFollowsEveryParameterOfTheFunction(t *testing.T) {
	tm := readTemplate(t)
	function := tm.section(t, "Resources", "PhoneFunction", "Properties")
	description := func(values map[string]string) string {
		return tm.deploy(t, values).resolve(function["VersionDescription"]).(string)
	}
	configuration := func(values map[string]string) string {
		s := tm.deploy(t, values)
		shape := map[string]any{}
		for _, name := range []string{
			"Architectures", "MemorySize", "Timeout", "Tracing", "Environment", "LoggingConfig", "Handler", "Runtime",
		} {
			shape[name] = s.resolve(function[name])
		}
		return fmt.Sprint(shape)
	}
	other := map[string]string{
		"Environment": "prod", "Traffic": "at-once", "Restart": "1790000000",
		"Architecture": "arm64", "MemorySize": "1024", "ReservedConcurrency": "3",
		"Tracing": "off", "LogRetentionDays": "7",
		"WeChatSecretArn":       "arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf",
		"WeChatSecretKmsKeyArn": "arn:aws:kms:us-east-1:123456789012:key/a",
		"WeChatApiBaseUrl":      "https://example.com",
		"WeChatTimeout":         "3s", "WatermarkMaxAge": "5m", "VerifyEncryptedData": "on", "RequireLoginCode": "on",
		"TokenIssuer": "https://api.example.com", "TokenLifetime": "1h", "TokenRenewal": "0",
		"ThrottlingRateLimit": "1", "ThrottlingBurstLimit": "1",
		"DomainName": "a.example.com", "BasePath": "shop",
		"CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/a",
		"Check":          "off", "AlarmEmail": "ops@example.com",
		"AlarmTopicArn": "arn:aws:sns:us-east-1:123456789012:topic",
	}
	for name := range tm.section(t, "Parameters") {
		changed := map[string]string{name: other[name]}
		if other[name] == "" {
			t.Errorf("%s: the test has no other value for it", name)
		}
		for where, values := range map[string]map[string]string{"us-east-1": {}, "cn-northwest-1": optional["China"]} {
			maps.Copy(changed, values)
			shaped, described := configuration(changed) != configuration(values), description(changed) != description(values)
			if shaped != described {
				t.Errorf("%s in %s: changes the function: %v, its version: %v", name, where, shaped, described)
			}
		}
	}
}

// Lambda's limit for a description is 256 characters.
func TestVersionsDescriptionIsNeverTooLong(t *testing.T) {
	tm := readTemplate(t)
	function := tm.section(t, "Resources", "PhoneFunction", "Properties")
	longest := map[string]string{ // patterns limit them
		"WeChatTimeout": "9999ms", "WatermarkMaxAge": "9999h", "TokenLifetime": "999m", "TokenRenewal": "999m",
	}
	for name, value := range longest {
		pattern := tm.section(t, "Parameters", name)["AllowedPattern"].(string)
		if parameter := regexp.MustCompile(pattern); !parameter.MatchString(value) || parameter.MatchString("9"+value) {
			t.Errorf("%s: got %s as the longest value, want one with the characters of %s", name, value, pattern)
		}
	}
	for name, p := range tm.section(t, "Parameters") {
		parameter := p.(map[string]any)
		if length, ok := parameter["MaxLength"].(int); ok {
			longest[name] = strings.Repeat("9", length)
		}
		if most, ok := parameter["MaxValue"].(int); ok {
			longest[name] = fmt.Sprint(most)
		}
		for _, value := range listed(parameter["AllowedValues"]) {
			if text := fmt.Sprint(value); value != nil && len(text) > len(longest[name]) {
				longest[name] = text
			}
		}
	}
	for name, prefix := range map[string]string{
		"WeChatApiBaseUrl": "https://",
		"TokenIssuer":      "https://",
		"WeChatSecretArn":  "arn:aws:secretsmanager:us-east-1:123456789012:secret:", // the shortest there is
	} {
		longest[name] = prefix + longest[name][len(prefix):]
	}
	for _, tracing := range []string{"on", "off"} {
		longest["Tracing"] = tracing
		text := tm.deploy(t, longest).resolve(function["VersionDescription"]).(string)
		if len(text) > 256 {
			t.Errorf("Tracing %s: the description has %d characters: %s", tracing, len(text), text)
		}
	}
	raw := fmt.Sprint(function["VersionDescription"])
	for name := range tm.section(t, "Parameters") {
		if strings.Contains(raw, name) && longest[name] == "" {
			t.Errorf("%s is in the description, and the test does not know its longest value", name)
		}
	}
}

// docs/operations.md explains the description by this example.
func TestVersionsDescriptionHasValuesOnly(t *testing.T) {
	tm := readTemplate(t)
	function := tm.section(t, "Resources", "PhoneFunction", "Properties")
	s := tm.deploy(t, map[string]string{
		"WeChatSecretArn": "arn:aws:secretsmanager:us-east-1:123456789012:secret:name-AbCdEf", "Restart": "1790000000",
	})
	const want = "x86_64 256 on name-AbCdEf api.weixin.qq.com 4s 10m off off no-tokens 15m 720h 1790000000"
	if got := s.resolve(function["VersionDescription"]); got != want {
		t.Errorf("got the description %q, want %q", got, want)
	}
	if !strings.Contains(readFile(t, "docs/operations.md"), want) {
		t.Errorf("docs/operations.md does not explain %q", want)
	}
}

func TestTrafficMovesByCanaryExceptInDevUnlessItIsAtOnce(t *testing.T) {
	tm := readTemplate(t)
	for _, test := range []struct{ environment, traffic, want string }{
		{"prod", "canary", "Canary10Percent5Minutes"},
		{"prod", "at-once", "AllAtOnce"},
		{"staging", "canary", "Canary10Percent5Minutes"},
		{"dev", "canary", "AllAtOnce"},
		{"dev", "at-once", "AllAtOnce"},
	} {
		s := tm.deploy(t, map[string]string{"Environment": test.environment, "Traffic": test.traffic})
		preference := s.resources()["PhoneFunction"]["Properties"].(map[string]any)["DeploymentPreference"].(map[string]any)
		watched := len(preference["Alarms"].([]any)) > 0
		if preference["Type"] != test.want || watched != (test.want != "AllAtOnce") {
			t.Errorf("%s, %s: traffic moves by %v, want %s", test.environment, test.traffic, preference, test.want)
		}
	}
	if fallback := tm.deploy(t, nil).values["Traffic"]; fallback != "canary" {
		t.Errorf("Traffic is %s by default, want canary", fallback)
	}
}

// A deployment that fails must leave no empty secret, and a deleted stack must keep
// its secret. UpdateReplacePolicy does not know RetainExceptOnCreate.
func TestSecretIsKeptUnlessItsCreationFails(t *testing.T) {
	for _, name := range []string{"WeChatSecret", "SigningSecret"} {
		secret := readTemplate(t).section(t, "Resources", name)
		for attribute, want := range map[string]string{
			"DeletionPolicy": "RetainExceptOnCreate", "UpdateReplacePolicy": "Retain",
		} {
			if secret[attribute] != want {
				t.Errorf("%s: %s is %v, want %s", name, attribute, secret[attribute], want)
			}
		}
	}
}

// With a name, a second stack could not create its secret while the first one's is
// kept. A template must not hold a value. The secrets are there, and the function
// knows where, before TokenIssuer turns tokens on.
func TestEveryStackHasASigningSecretWithoutNameAndValue(t *testing.T) {
	rig.Long(t)
	tm := readTemplate(t)
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		for secret, properties := range s.of("AWS::SecretsManager::Secret") {
			want := []string{"Description"}
			if values["WeChatSecretKmsKeyArn"] != "" {
				want = append(want, "KmsKeyId")
			}
			if got := slices.Sorted(maps.Keys(properties)); !slices.Equal(got, want) {
				t.Errorf("%s: %s has %q, want %q", name, secret, got, want)
			}
			if key := values["WeChatSecretKmsKeyArn"]; key != "" && properties["KmsKeyId"] != key {
				t.Errorf("%s: %s is encrypted by %v, want %s", name, secret, properties["KmsKeyId"], key)
			}
		}
		variables, outputs := s.environment(), s.outputs()
		if id, arn := variables["SIGNING_SECRET_ID"], outputs["SigningSecretArn"]; id != "SigningSecret" || arn != id {
			t.Errorf("%s: got SIGNING_SECRET_ID %q and the output %v, want the stack's SigningSecret", name, id, arn)
		}
		issuer, _ := outputs["TokenIssuer"].(string) // missing if tokens are off
		if want := values["TokenIssuer"]; variables["TOKEN_ISSUER"] != want || issuer != want {
			t.Errorf("%s: got TOKEN_ISSUER %q and the output %q, want %q", name, variables["TOKEN_ISSUER"], issuer, want)
		}
	})
}

func TestApiHasOneAddress(t *testing.T) {
	tm := readTemplate(t)
	const own = "https://PhoneApi.execute-api.us-east-1.amazonaws.com/phone"
	const certificate = "arn:aws:acm:us-east-1:123456789012:certificate/a"
	for _, tt := range []struct {
		name, domain, certificate, key string
		url                            string
		mapped                         any // to which domain; PhoneDomain if the stack makes it
	}{
		{"no domain", "", "", "", own, nil},
		{"a domain to make", "a.example.com", certificate, "", "https://a.example.com/phone", "PhoneDomain"},
		{"a path of that", "a.example.com", certificate, "shop", "https://a.example.com/shop/phone", "PhoneDomain"},
		{"a domain that exists", "a.example.com", "", "", "https://a.example.com/phone", "a.example.com"},
		{"a path of it", "a.example.com", "", "shop/v1", "https://a.example.com/shop/v1/phone", "a.example.com"},
	} {
		s := tm.deploy(t, map[string]string{
			"DomainName": tt.domain, "CertificateArn": tt.certificate, "BasePath": tt.key,
		})
		outputs, made := s.outputs(), s.of("AWS::ApiGatewayV2::DomainName")["PhoneDomain"]
		if outputs["PhoneUrl"] != tt.url {
			t.Errorf("%s: PhoneUrl is %v, want %s", tt.name, outputs["PhoneUrl"], tt.url)
		}
		if want := strings.TrimSuffix(tt.url, "phone") + "login"; outputs["LoginUrl"] != want {
			t.Errorf("%s: LoginUrl is %v, want %s", tt.name, outputs["LoginUrl"], want)
		}
		api := s.of("AWS::Serverless::HttpApi")["PhoneApi"]
		if got, want := api["DisableExecuteApiEndpoint"], tt.domain != ""; got != want {
			t.Errorf("%s: DisableExecuteApiEndpoint is %v, want %v", tt.name, got, want)
		}
		makes := tt.certificate != ""
		if target, ok := outputs["DomainTarget"]; ok != makes || (made != nil) != makes {
			t.Errorf("%s: got the domain %v and the target %v, want them: %v", tt.name, made, target, makes)
		}
		mapping := s.of("AWS::ApiGatewayV2::ApiMapping")["PhoneDomainMapping"]
		key, _ := mapping["ApiMappingKey"].(string)
		if mapping["DomainName"] != tt.mapped || key != tt.key {
			t.Errorf("%s: got the mapping %v, want %q at %v", tt.name, mapping, tt.key, tt.mapped)
		}
	}
}

// refusedBy returns the descriptions of the rules that the stack's values break.
func (s *stack) refusedBy() (descriptions []string) {
	for _, r := range s.section(s.t, "Rules") {
		rule := r.(map[string]any)
		if !s.truth(rule["RuleCondition"]) {
			continue
		}
		for _, a := range rule["Assertions"].([]any) {
			if assertion := a.(map[string]any); !s.truth(assertion["Assert"]) {
				descriptions = append(descriptions, assertion["AssertDescription"].(string))
			}
		}
	}
	slices.Sort(descriptions)
	return descriptions
}

func TestRulesRefuseWhatNeedsADomain(t *testing.T) {
	tm := readTemplate(t)
	for _, tt := range []struct {
		name                     string
		domain, certificate, key string
		want                     []string
	}{
		{name: "nothing"},
		{name: "a domain that exists", domain: "api.example.com"},
		{name: "a path of it", domain: "api.example.com", key: "shop"},
		{name: "a domain to make", domain: "api.example.com", certificate: "arn"},
		{name: "a path of that", domain: "api.example.com", certificate: "arn", key: "shop"},
		{name: "a certificate alone", certificate: "arn", want: []string{"CertificateArn needs DomainName."}},
		{name: "a path alone", key: "shop", want: []string{"BasePath needs DomainName."}},
	} {
		s := tm.deploy(t, map[string]string{
			"DomainName": tt.domain, "CertificateArn": tt.certificate, "BasePath": tt.key,
		})
		if got := s.refusedBy(); !slices.Equal(got, tt.want) {
			t.Errorf("%s: refused because of %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Without its certificate, a stack deletes its domain, and with it the other stacks'
// addresses.
func TestCertificatesDescriptionWarns(t *testing.T) {
	certificate := readTemplate(t).section(t, "Parameters", "CertificateArn")
	if text := certificate["Description"].(string); !strings.Contains(text, "deletes the domain") {
		t.Errorf("CertificateArn's description does not say what removing it does: %s", text)
	}
}

func TestConsoleShowsEveryParameter(t *testing.T) {
	tm := readTemplate(t)
	form := tm.section(t, "Metadata", "AWS::CloudFormation::Interface")
	var grouped []string
	for _, group := range form["ParameterGroups"].([]any) {
		for _, name := range group.(map[string]any)["Parameters"].([]any) {
			grouped = append(grouped, name.(string))
		}
	}
	slices.Sort(grouped)
	parameters := tm.section(t, "Parameters")
	if want := slices.Sorted(maps.Keys(parameters)); !slices.Equal(grouped, want) {
		t.Errorf("groups have %v, want %v", grouped, want)
	}
	if labels := slices.Sorted(maps.Keys(form["ParameterLabels"].(map[string]any))); !slices.Equal(labels, grouped) {
		t.Errorf("labels are for %v", labels)
	}
	for name, p := range parameters {
		parameter := p.(map[string]any)
		fallback := fmt.Sprint(parameter["Default"])
		if pattern, ok := parameter["AllowedPattern"].(string); ok && !regexp.MustCompile(pattern).MatchString(fallback) {
			t.Errorf("%s: its own default is not allowed", name)
		}
		if parameter["Description"] == nil || parameter["Default"] == nil {
			t.Errorf("%s has no description, or no default", name)
		}
	}
}

// Each environment of samconfig.toml gives the template what it has. Without Traffic, a
// pipeline would keep the at-once of the last fix.
func TestSamconfigNamesWhatTheTemplateHas(t *testing.T) {
	parameters := readTemplate(t).section(t, "Parameters")
	for _, env := range []string{"default", "dev", "prod"} {
		section, err := overrides.Read(root+"/samconfig.toml", env)
		if err != nil || section.Parameters["Environment"] == "" || section.Parameters["Traffic"] == "" {
			t.Errorf("%s: got %v, error %v, want an Environment and Traffic", env, section.Parameters, err)
		}
		for name, value := range section.Parameters {
			parameter, ok := parameters[name].(map[string]any)
			if allowed, limited := parameter["AllowedValues"].([]any); !ok || limited && !slices.Contains(allowed, any(value)) {
				t.Errorf("%s: the template has no %s=%s", env, name, value)
			}
		}
	}
}

// SAM sets from env.json only what the template declares, and silently leaves
// the rest.
func TestEnvFileNamesWhatTheTemplateDeclares(t *testing.T) {
	var env struct{ PhoneFunction map[string]string }
	if err := json.Unmarshal([]byte(readFile(t, "events/env.json")), &env); err != nil || len(env.PhoneFunction) == 0 {
		t.Fatalf("it sets nothing: %v", err)
	}
	declared := readTemplate(t).deploy(t, nil).environment()
	for name := range env.PhoneFunction {
		if _, ok := declared[name]; !ok {
			t.Errorf("%s is not declared in template.yaml", name)
		}
	}
}

// translate is SAM's own translation, by the library that its CLI and
// CloudFormation use.
const translate = `
import json, logging, sys
import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
logging.disable(logging.CRITICAL)
def translate(template, values):
    session = boto3.session.Session(region_name=values["AWS::Region"])
    return Translator({}, Parser(), boto_session=session).translate(template, values)
print(json.dumps([translate(**job) for job in json.load(sys.stdin)]))
`

// regions are one of each partition that a user deploys in.
var regions = []string{"us-east-1", "cn-northwest-1"}

// translated returns a template as SAM translates it, deployed in each region with each
// of these values. It skips the test if SAM's library is missing. One process translates
// all, because loading the library takes longer.
func (tm template) translated(t *testing.T, choices ...map[string]string) (stacks []*stack) {
	t.Helper()
	rig.Long(t)
	if err := exec.Command("python3", "-c", "import samtranslator").Run(); err != nil {
		t.Skip("aws-sam-translator is not on this machine")
	}
	for _, r := range tm.section(t, "Resources") {
		if r := r.(map[string]any); r["Type"] == "AWS::Serverless::Function" {
			r["Properties"].(map[string]any)["CodeUri"] = "s3://bucket/key" // as sam package does
		}
	}
	var jobs []map[string]any
	for _, region := range regions {
		for _, choice := range choices {
			values := map[string]string{"AWS::Region": region}
			if strings.HasPrefix(region, "cn-") {
				maps.Copy(values, optional["China"])
			}
			maps.Copy(values, choice)
			jobs = append(jobs, map[string]any{"template": tm, "values": values})
		}
	}
	text, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	python := exec.Command("python3", "-c", translate)
	python.Stdin = bytes.NewReader(text)
	var stderr bytes.Buffer
	python.Stderr = &stderr
	out, err := python.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var translations []jsontext.Value
	if err := json.Unmarshal(out, &translations); err != nil || len(translations) != len(jobs) {
		t.Fatalf("got %d translations, error %v, want %d", len(translations), err, len(jobs))
	}
	for i, translation := range translations {
		stacks = append(stacks, parseYAML(t, string(translation)).deploy(t, jobs[i]["values"].(map[string]string)))
	}
	return stacks
}

func TestTemplateTranslatesInCommercialAndChinaRegions(t *testing.T) {
	t.Parallel()
	checkTranslations(t, readFile(t, "template.yaml"))
}

// checkTranslations translates a template for both kinds of regions, with and without
// its optional parts.
func checkTranslations(t *testing.T, text string) {
	t.Helper()
	all := []string{"canary", "own secret", "secret key", "reservation", "no tracing", "domain", "tokens", "no check",
		"e-mail", "topic"}
	parts := [][]string{{}, all, {"shared domain"}}
	var choices []map[string]string
	for _, names := range parts {
		values := map[string]string{}
		for _, name := range names {
			maps.Copy(values, optional[name])
		}
		choices = append(choices, values)
	}
	for i, s := range parseYAML(t, text).translated(t, choices...) {
		s.outputs()
		checkTranslation(t, s.values["AWS::Region"]+fmt.Sprint(parts[i%len(parts)]), s.resources())
	}
}

// The templates that a user deploys pass cfn-lint in both kinds of regions.
func TestTemplatesPassCfnLint(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	if _, err := exec.LookPath("cfn-lint"); err != nil {
		t.Skip("cfn-lint is not on this machine")
	}
	for _, name := range []string{"template.yaml", exampleBackend} {
		lint := exec.Command("cfn-lint", name, "--regions", regions[0], regions[1])
		lint.Dir = root
		if out, err := lint.CombinedOutput(); err != nil {
			t.Errorf("%s: got %v, want cfn-lint to pass\n%s", name, err, out)
		}
	}
}

// checkTranslation looks at what SAM made: versions, traffic and the gateway's
// way to the alias.
func checkTranslation(t *testing.T, name string, resources map[string]map[string]any) {
	t.Helper()
	properties := func(kind string) map[string]any {
		for _, r := range resources {
			if r["Type"] == kind {
				return r["Properties"].(map[string]any)
			}
		}
		t.Errorf("%s: there is no %s", name, kind)
		return map[string]any{}
	}
	api, err := json.Marshal(properties("AWS::ApiGatewayV2::Api"))
	if err != nil || !regexp.MustCompile(`\$\{PhoneFunctionAliaslive\}|functions/PhoneFunctionAliaslive/`).Match(api) {
		t.Errorf("%s: the gateway calls another than the alias: %s", name, api)
	}
	disabled := `"disableExecuteApiEndpoint":` + fmt.Sprint(strings.Contains(name, "domain"))
	if !bytes.Contains(api, []byte(disabled)) {
		t.Errorf("%s: the gateway has no %s: %s", name, disabled, api)
	}
	checkRoutes(t, name, resources)
	checkInvocations(t, name, resources)
	if properties("AWS::Lambda::Version")["Description"] == nil {
		t.Errorf("%s: the version has no description", name)
	}
	if strings.Contains(name, "domain") {
		mapping := properties("AWS::ApiGatewayV2::ApiMapping")
		shared := mapping["DomainName"] == "api.example.com" && mapping["ApiMappingKey"] == "shop/v1"
		made := mapping["DomainName"] == "PhoneDomain" && mapping["ApiMappingKey"] == nil
		if want := strings.Contains(name, "shared domain"); shared != want || made == want {
			t.Errorf("%s: got the mapping %v, want a shared domain's: %v", name, mapping, want)
		}
	}
	want := "CodeDeployDefault.LambdaAllAtOnce"
	if strings.Contains(name, "canary") {
		want = "CodeDeployDefault.LambdaCanary10Percent5Minutes"
	}
	if got := properties("AWS::CodeDeploy::DeploymentGroup")["DeploymentConfigName"]; got != want {
		t.Errorf("%s: traffic moves by %v, want %s", name, got, want)
	}
}

// checkInvocations looks at what calls the function without a caller who waits: the
// rule of the check, if it is on.
func checkInvocations(t *testing.T, name string, resources map[string]map[string]any) {
	t.Helper()
	const alias = "PhoneFunctionAliaslive"
	var got []string
	for _, r := range resources {
		properties, _ := r["Properties"].(map[string]any)
		switch r["Type"] {
		case "AWS::Events::Rule":
			target := properties["Targets"].([]any)[0].(map[string]any)
			got = append(got, fmt.Sprint("rule ", properties["ScheduleExpression"], " ", target["Arn"], " ", target["Input"]))
		case "AWS::Lambda::Permission":
			if properties["Principal"] == "events.amazonaws.com" {
				got = append(got, fmt.Sprint("permission ", properties["FunctionName"], " ", properties["SourceArn"]))
			}
		case "AWS::Lambda::EventInvokeConfig":
			got = append(got, fmt.Sprint("config ", properties["Qualifier"], " ", properties["MaximumRetryAttempts"], " ",
				properties["MaximumEventAgeInSeconds"], " after ", r["DependsOn"]))
		}
	}
	want := []string{"config live 0 60 after [" + alias + "]"}
	if !strings.Contains(name, "no check") {
		want = append(want, "permission "+alias+" CheckRule.Arn", `rule rate(5 minutes) `+alias+` {"check":true}`)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: got the invocations %q, want %q", name, got, want)
	}
}

// checkRoutes looks at the stage and at the routes that SAM made. CloudFormation
// updates an API before the stage that refers to it, so the routes are there before
// the stage has settings for them.
func checkRoutes(t *testing.T, name string, resources map[string]map[string]any) {
	t.Helper()
	permitted := map[string]bool{}
	var deployed, paths map[string]any
	for _, r := range resources {
		properties, _ := r["Properties"].(map[string]any)
		switch r["Type"] {
		case "AWS::ApiGatewayV2::Stage":
			deployed = properties
		case "AWS::ApiGatewayV2::Api":
			paths = properties["Body"].(map[string]any)["paths"].(map[string]any)
		case "AWS::Lambda::Permission":
			if properties["Principal"] != "apigateway.amazonaws.com" {
				continue
			}
			_, path, _ := strings.Cut(properties["SourceArn"].(string), "PhoneApi/*/")
			method, path, _ := strings.Cut(path, "/")
			permitted[method+" /"+path] = true
			if called := properties["FunctionName"]; called != "PhoneFunctionAliaslive" {
				t.Errorf("%s: the gateway may call %v, want the alias", name, called)
			}
		}
	}
	var made []string
	for path, methods := range paths {
		for method := range methods.(map[string]any) {
			made = append(made, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(made)
	if may := slices.Sorted(maps.Keys(permitted)); !slices.Equal(may, made) || len(made) != len(stage.Routes) {
		t.Errorf("%s: the gateway has the routes %q and may call the function for %q, want it for %q",
			name, made, may, stage.Routes)
	}
	settings, _ := deployed["RouteSettings"].(map[string]any)
	for route := range settings {
		if !slices.Contains(made, route) {
			t.Errorf("%s: the stage has settings of %s, want one of %q", name, route, made)
		}
	}
	if deployed["StageName"] != "$default" || deployed["ApiId"] != "PhoneApi" || len(settings) != len(documents) {
		t.Errorf("%s: got the stage %v, want $default of PhoneApi, with settings of %q", name, deployed, documents)
	}
}

// The stage and the deployed gateway have the same routes.
func TestMakeStartHasTheDeployedRoutes(t *testing.T) {
	command := exec.Command("make", "-C", "../..", "-n", "start", "PORT=3050")
	command.Env = append(os.Environ(), "MAKEFLAGS=", "MFLAGS=") // as from a shell, if make runs the tests
	start, err := command.CombinedOutput()
	var routes []string
	for _, route := range regexp.MustCompile(`-route "([^"]+)"`).FindAllSubmatch(start, -1) {
		routes = append(routes, string(route[1]))
	}
	if !strings.Contains(string(start), " -port 3050 ") {
		t.Errorf("make start PORT=3050: got %s, want -port 3050", start)
	}
	if err != nil || !slices.Equal(routes, stage.Routes) {
		t.Errorf("make start: got the routes %q, error %v, want %q\n%s", routes, err, stage.Routes, start)
	}
}
