package checks

import (
	"reflect"
	"testing"

	"wechat-phone/local/rig"
)

// The rule sends the event that starts the function's check, and nothing else may send
// events.
func TestTheRuleMakesTheFunctionTestItself(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	r := rig.Raise(t, nil)
	tm := readTemplate(t)
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		rule, permission := s.of("AWS::Events::Rule")["CheckRule"], s.of("AWS::Lambda::Permission")["CheckPermission"]
		if values["Check"] == "off" {
			if rule != nil || permission != nil {
				t.Errorf("%s: got %v and %v, want no rule and no permission", name, rule, permission)
			}
			return
		}
		input := rule["Targets"].([]any)[0].(map[string]any)["Input"].(string)
		want := map[string]any{
			"ScheduleExpression": "rate(5 minutes)", "Description": rule["Description"],
			"Targets": []any{map[string]any{
				"Id": "check", "Arn": "PhoneFunction.Alias", "Input": input,
				"RetryPolicy": map[string]any{"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60},
			}},
		}
		if !reflect.DeepEqual(rule, want) {
			t.Errorf("%s: got the rule %v, want %v", name, rule, want)
		}
		want = map[string]any{
			"Action": "lambda:InvokeFunction", "FunctionName": "PhoneFunction.Alias",
			"Principal": "events.amazonaws.com", "SourceArn": "CheckRule.Arn",
		}
		if !reflect.DeepEqual(permission, want) {
			t.Errorf("%s: got the permission %v, want %v", name, permission, want)
		}
	})
	function := tm.deploy(t, nil).of("AWS::Serverless::Function")["PhoneFunction"]
	want := map[string]any{"MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 60}
	if got := function["EventInvokeConfig"]; !reflect.DeepEqual(got, want) {
		t.Errorf("got the invocation settings %v, want %v", got, want)
	}
	input := tm.section(t, "Resources", "CheckRule", "Properties")["Targets"].([]any)[0].(map[string]any)["Input"].(string)
	if answer, err := r.Function.Invoke(t.Context(), []byte(input)); err != nil || string(answer) != "null" {
		t.Errorf("%s: got %s, error %v, want null, the answer to a check", input, answer, err)
	}
}

// A single failed check pages nobody. Two of three do.
func TestCheckAlarmNeedsTwoOfThreePeriods(t *testing.T) {
	alarm := readTemplate(t).deploy(t, nil).of("AWS::CloudWatch::Alarm")["CheckAlarm"]
	for name, want := range map[string]any{
		"MetricName": "ChecksToActOn", "Statistic": "Sum", "Period": 300, "EvaluationPeriods": 3, "DatapointsToAlarm": 2,
		"ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": 1,
	} {
		if alarm[name] != want {
			t.Errorf("got %s %v, want %v", name, alarm[name], want)
		}
	}
}

// The owner of the address must confirm it, so a new address needs a new subscription.
func TestAlarmEmailMakesATopicWithOneSubscription(t *testing.T) {
	tm := readTemplate(t)
	s := tm.deploy(t, optional["e-mail"])
	want := map[string]map[string]any{"AlarmSubscription": {
		"TopicArn": "AlarmTopic", "Protocol": "email", "Endpoint": optional["e-mail"]["AlarmEmail"],
	}}
	if got := s.of("AWS::SNS::Subscription"); !reflect.DeepEqual(got, want) || !s.exists("AlarmTopic") {
		t.Errorf("got the subscriptions %v, want %v", got, want)
	}
	if s := tm.deploy(t, optional["topic"]); s.exists("AlarmTopic") || s.exists("AlarmSubscription") {
		t.Error("got a topic without AlarmEmail, want none")
	}
}
