package main

import (
	"encoding/json/v2"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// These tests hold what watches the function (metric filters, alarms, dashboard,
// saved queries, the runbook) to the lines that it really writes.

// writtenLines are lines of the bootstrap's, of every kind that is watched.
func writtenLines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	r := raise(t, nil)
	r.post(r.newTap())
	errcodes := []int{40029, 40013, 40125, 40164, 40243, 45011, -1, 99999}
	for _, errcode := range errcodes {
		r.post(r.scripted(newUser(), wechattest.Refuse(errcode, "text")))
	}
	r.send("POST", "/phone", "", "{}")
	panicking := raise(t, func(c *stage.Config) { c.Bootstrap, c.Env = os.Args[0], []string{"TEST_PANIC=once WeChat is asked"} })
	panicking.post(panicking.newTap())

	want := len(errcodes) + 3
	waitFor(t, "all lines are there", func() bool { return len(r.logs.requests())+len(panicking.logs.requests()) == want })
	for line := range strings.Lines(r.logs.text() + "\n" + panicking.logs.text()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fields)
	}
	return lines
}

// matches evaluates a filter pattern for JSON, as far as ours go: terms joined
// by ||, in parentheses or not.
// https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
func matches(t *testing.T, pattern string, line map[string]any) bool {
	t.Helper()
	inner, ok := strings.CutPrefix(pattern, "{ ")
	inner, closed := strings.CutSuffix(inner, " }")
	if !ok || !closed {
		t.Fatalf("no pattern for JSON: %s", pattern)
	}
	return slices.ContainsFunc(strings.Split(inner, " || "), func(text string) bool {
		parts := term.FindStringSubmatch(text)
		if parts == nil {
			t.Fatalf("a term that this test does not know: %s", text)
		}
		field, operator, operand := line[parts[1]], parts[2], parts[3]
		switch value := field.(type) {
		case bool:
			return operator == "IS" && strconv.FormatBool(value) == strings.ToLower(operand)
		case string:
			wanted, err := strconv.Unquote(operand)
			return err == nil && operator == "=" && (wanted == "*" || wanted == value)
		case float64:
			limit, err := strconv.ParseFloat(operand, 64)
			return err == nil && (operator == "=" && value == limit || operator == ">" && value > limit || operator == ">=" && value >= limit)
		}
		return false
	})
}

var term = regexp.MustCompile(`^\(?\$\.(\w+) (=|>=|>|IS) ("[^"]*"|-?\d+|TRUE)\)?$`)

// of returns the stack's resources of a type, by name.
func (s *stack) of(kind string) map[string]map[string]any {
	all := map[string]map[string]any{}
	for name, r := range s.resources() {
		if r["Type"] == kind {
			all[name] = r["Properties"].(map[string]any)
		}
	}
	return all
}

func TestMetricFiltersMatchWhatTheFunctionWrites(t *testing.T) {
	t.Parallel()
	lines := writtenLines(t)
	requests, asked := 0.0, 0.0
	for _, line := range lines {
		if line["message"] == "request" {
			requests++
			if line["wechatMs"].(float64) > 0 {
				asked++
			}
		}
	}
	want := map[string]float64{
		"Outcomes": requests, "TotalMilliseconds": requests, "OwnMilliseconds": requests, "WeChatMilliseconds": asked,
		"ColdStarts": 2, "ErrcodesToActOn": 4,
	}
	got := map[string]float64{}
	for name, filter := range readTemplate(t).deploy(t, nil).of("AWS::Logs::MetricFilter") {
		if filter["LogGroupName"] != "PhoneFunctionLogGroup" {
			t.Errorf("%s reads %v", name, filter["LogGroupName"])
		}
		transformations := filter["MetricTransformations"].([]any)
		metric := transformations[0].(map[string]any)
		if len(transformations) != 1 {
			t.Errorf("%s makes %d metrics", name, len(transformations))
		}
		for _, line := range lines {
			if !matches(t, filter["FilterPattern"].(string), line) {
				continue
			}
			got[metric["MetricName"].(string)]++
			if field, ok := strings.CutPrefix(metric["MetricValue"].(string), "$."); ok {
				if _, ok := line[field].(float64); !ok {
					t.Errorf("%s: a line without the number %s: %v", name, field, line)
				}
			} else if metric["MetricValue"] != "1" {
				t.Errorf("%s counts by %v", name, metric["MetricValue"])
			}
			for _, dimension := range listed(metric["Dimensions"]) {
				if d, ok := dimension.(map[string]any); ok && line[strings.TrimPrefix(d["Value"].(string), "$.")] == nil {
					t.Errorf("%s: a line without %v: %v", name, d["Value"], line)
				}
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("of %v lines the filters took %v, want %v", requests, got, want)
	}
}

// metrics returns what exists: namespace and name, and its dimensions' names.
func (s *stack) metrics() map[string]string {
	all := map[string]string{
		"AWS/Lambda Throttles": "FunctionName", "AWS/Lambda Errors": "FunctionName", "AWS/Lambda ConcurrentExecutions": "FunctionName",
		"AWS/ApiGateway 4xx": "ApiId", "AWS/ApiGateway 5xx": "ApiId",
	}
	for _, filter := range s.of("AWS::Logs::MetricFilter") {
		metric := filter["MetricTransformations"].([]any)[0].(map[string]any)
		dimensions := ""
		for _, d := range listed(metric["Dimensions"]) {
			if d, ok := d.(map[string]any); ok {
				dimensions += d["Key"].(string)
			}
		}
		all[metric["MetricNamespace"].(string)+" "+metric["MetricName"].(string)] = dimensions
	}
	return all
}

// alarmNames are the alarms' names without the stack's.
func (s *stack) alarmNames() (names []string) {
	for _, alarm := range s.of("AWS::CloudWatch::Alarm") {
		names = append(names, strings.TrimPrefix(alarm["AlarmName"].(string), "stack-"))
	}
	return names
}

func TestAlarmsWatchMetricsThatExist(t *testing.T) {
	tm := readTemplate(t)
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		known := s.metrics()
		check := func(alarm string, metric map[string]any) {
			id := metric["Namespace"].(string) + " " + metric["MetricName"].(string)
			dimensions := map[string]string{}
			if list, ok := metric["Dimensions"].([]any); ok {
				for _, d := range list {
					dimension := d.(map[string]any)
					dimensions[dimension["Name"].(string)] = dimension["Value"].(string)
				}
			}
			if alias, ok := dimensions["Resource"]; ok && alias == dimensions["FunctionName"]+":live" {
				delete(dimensions, "Resource") // Lambda's metrics of an alias
			}
			names := strings.Join(slices.Sorted(maps.Keys(dimensions)), "")
			if expected, ok := known[id]; !ok || names != expected {
				t.Errorf("%s: %s watches %s by %q", name, alarm, id, names)
			}
			if outcome := dimensions["outcome"]; names == "outcome" && failure.Kind(outcome).Status() == 0 {
				t.Errorf("%s: %s watches the outcome %q, which is none", name, alarm, outcome)
			}
		}
		for logical, alarm := range s.of("AWS::CloudWatch::Alarm") {
			if alarm["TreatMissingData"] != "notBreaching" || alarm["AlarmDescription"] == "" {
				t.Errorf("%s: %v", logical, alarm)
			}
			told, _ := alarm["AlarmActions"].([]any)
			over, _ := alarm["OKActions"].([]any)
			if topic := values["AlarmTopicArn"]; topic == "" && len(told)+len(over) != 0 || topic != "" && (told[0] != topic || over[0] != topic) {
				t.Errorf("%s: %s tells %v", name, logical, told)
			}
			if alarm["MetricName"] != nil {
				check(logical, alarm)
				continue
			}
			ids, expression := []string{}, ""
			for _, q := range alarm["Metrics"].([]any) {
				query := q.(map[string]any)
				if stat, ok := query["MetricStat"].(map[string]any); ok {
					check(logical, stat["Metric"].(map[string]any))
					ids = append(ids, query["Id"].(string))
					continue
				}
				expression = query["Expression"].(string)
			}
			for _, word := range regexp.MustCompile(`[a-z]+`).FindAllString(expression, -1) {
				if !slices.Contains(ids, word) {
					t.Errorf("%s: %s reckons with %q, which is none of %v", name, logical, word, ids)
				}
			}
		}
		function := s.resources()["PhoneFunction"]["Properties"].(map[string]any)
		want := []any{}
		if s.condition("IsProd") {
			want = []any{"CrashedAlarm", "InternalAlarm", "MisconfiguredAlarm"}
		}
		if got, _ := function["DeploymentPreference"].(map[string]any)["Alarms"].([]any); !slices.Equal(got, want) {
			t.Errorf("%s: a canary goes back on %v, want %v", name, got, want)
		}
	})
}

// widget is one of the dashboard's.
type widget struct {
	Type                string
	X, Y, Width, Height int
	Properties          struct {
		Markdown, Query, Region string
		Alarms                  []string
		Metrics                 [][]any
	}
}

func (s *stack) widgets() []widget {
	body := s.of("AWS::CloudWatch::Dashboard")["PhoneDashboard"]["DashboardBody"].(string)
	var dashboard struct{ Widgets []widget }
	if err := json.Unmarshal([]byte(body), &dashboard, json.MatchCaseInsensitiveNames(true)); err != nil {
		s.t.Fatalf("%v\n%s", err, body)
	}
	return dashboard.Widgets
}

func TestDashboardShowsWhatExists(t *testing.T) {
	s := readTemplate(t).deploy(t, nil)
	known, widgets := s.metrics(), s.widgets()
	search := regexp.MustCompile(`^SEARCH\('\{([^,]+),(\w+)\} MetricName="(\w+)"', 'Sum', 300\)$`)
	shown, alarms := map[string]bool{}, []string{}
	taken := map[[2]int]bool{}
	for i, w := range widgets {
		for x := w.X; x < w.X+w.Width; x++ {
			for y := w.Y; y < w.Y+w.Height; y++ {
				if taken[[2]int{x, y}] || x >= 24 {
					t.Errorf("widget %d lies over another, or beyond the edge", i)
				}
				taken[[2]int{x, y}] = true
			}
		}
		for _, m := range w.Properties.Metrics {
			id, dimension := "", ""
			if options, ok := m[0].(map[string]any); ok {
				found := search.FindStringSubmatch(options["expression"].(string))
				if found == nil {
					t.Fatalf("widget %d: %v", i, options)
				}
				id, dimension = found[1]+" "+found[3], found[2]
			} else {
				id = m[0].(string) + " " + m[1].(string)
				if len(m) > 3 {
					dimension = m[2].(string)
				}
			}
			if expected, ok := known[id]; !ok || dimension != expected {
				t.Errorf("widget %d shows %s by %q", i, id, dimension)
			}
			shown[id] = true
		}
		for _, arn := range w.Properties.Alarms {
			alarms = append(alarms, strings.TrimSuffix(arn, ".Arn"))
		}
		if strings.Contains(w.Properties.Query, "SOURCE") && !strings.Contains(w.Properties.Query, "'PhoneFunctionLogGroup'") {
			t.Errorf("widget %d asks another log: %s", i, w.Properties.Query)
		}
		if len(w.Properties.Metrics) > 0 && w.Properties.Region != "us-east-1" {
			t.Errorf("widget %d has no region", i)
		}
	}
	for id := range known {
		if !shown[id] {
			t.Errorf("%s is not shown", id)
		}
	}
	slices.Sort(alarms)
	if want := slices.Sorted(maps.Keys(s.of("AWS::CloudWatch::Alarm"))); !slices.Equal(alarms, want) {
		t.Errorf("alarms shown: %v, want %v", alarms, want)
	}
	for _, word := range []failure.Kind{failure.Misconfigured, failure.Internal, failure.Unavailable, failure.UpstreamError, failure.UpstreamTimeout, failure.RateLimited, failure.CodeRejected, failure.Undecryptable} {
		if !strings.Contains(widgets[0].Properties.Markdown, "**"+string(word)+"**") {
			t.Errorf("the text does not speak of %s", word)
		}
	}
}

func TestQueriesAskForFieldsThatAreWritten(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, line := range writtenLines(t) {
		for field := range line {
			known[field] = true
		}
	}
	s := readTemplate(t).deploy(t, nil)
	var access map[string]string
	format := s.of("AWS::Serverless::HttpApi")["PhoneApi"]["AccessLogSettings"].(map[string]any)["Format"].(string)
	if err := json.Unmarshal([]byte(format), &access); err != nil {
		t.Fatal(err)
	}
	if access["requestId"] != "$context.integration.requestId" || !known["requestId"] {
		t.Errorf("the logs do not join by requestId: %v", access)
	}
	for field, value := range access {
		known[field] = true
		if regexp.MustCompile(`(?i)ip|body|query|header|user|path|authorizer`).MatchString(strings.TrimPrefix(value, "$context.")) {
			t.Errorf("the access log holds %s", value)
		}
	}
	language := strings.Fields("fields filter stats sort limit by as and or desc bin count latest max pct ispresent m h " +
		"timestamp type record metrics initDurationMs") // the last of lines that Lambda itself writes
	quoted, words := regexp.MustCompile(`"[^"]*"|'[^']*'`), regexp.MustCompile(`[A-Za-z]+`)
	check := func(name, query string) {
		query = quoted.ReplaceAllString(strings.TrimPrefix(query, "SOURCE "), "")
		for _, alias := range regexp.MustCompile(` as (\w+)`).FindAllStringSubmatch(query, -1) {
			query = regexp.MustCompile(`\b`+alias[1]+`\b`).ReplaceAllString(query, "")
		}
		for _, word := range words.FindAllString(query, -1) {
			if !known[word] && !slices.Contains(language, word) {
				t.Errorf("%s asks for %s, which no line has", name, word)
			}
		}
	}
	queries := s.of("AWS::Logs::QueryDefinition")
	for name, query := range queries {
		check(name, query["QueryString"].(string))
	}
	joined := queries["RequestsQuery"]["LogGroupNames"].([]any)
	if !slices.Equal(joined, []any{"PhoneFunctionLogGroup", "PhoneApiLogGroup"}) {
		t.Errorf("the joining query asks %v", joined)
	}
	for _, w := range s.widgets() {
		check("the dashboard", w.Properties.Query)
	}
}

// Whoever is woken finds each alarm and each error in the runbook, and nothing
// that is gone.
func TestRunbookHasEveryAlarmAndEveryError(t *testing.T) {
	headings := map[string][]string{} // of the third level, by those of the second
	section := ""
	for line := range strings.Lines(readFile(t, "docs/operations.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
		}
		if title, ok := strings.CutPrefix(line, "### "); ok {
			headings[section] = append(headings[section], strings.Trim(strings.TrimSpace(title), "`"))
		}
	}
	errors := []string{}
	for _, name := range failure.Kinds() {
		errors = append(errors, string(name))
	}
	for section, want := range map[string][]string{"Alarms": readTemplate(t).deploy(t, nil).alarmNames(), "Errors": errors} {
		got := headings[section]
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", section, got, want)
		}
	}
}
