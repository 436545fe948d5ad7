package checks

import (
	"encoding/json/v2"
	"fmt"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// The tests in this file hold metric filters, alarms, dashboard, saved queries and
// the runbook to the lines that the function writes.

// refusals are the kinds of errcodes that jscode2session may answer with: for the
// caller, for whoever operates the function, for nobody.
var refusals = []int{40029, 40013, 40125, 40164, 40243, 48001, 45009, 45011, -1, 99999}

// writtenLines returns log lines of every kind that is watched.
func writtenLines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	r := rig.Raise(t, nil)
	r.Post(r.NewTap())
	for _, errcode := range refusals {
		r.Post(r.TapScripted(rig.NewUser(), wechattest.Refuse(errcode, "text")))
	}
	for _, errcode := range []int{40013, 40003} { // anybody can provoke these two
		tap := r.TapPhone(rig.NewUser())
		r.WeChat.Script(tap.PhoneCode, wechattest.Refuse(errcode, "text"))
		r.PostPhone(tap)
	}
	r.Send("POST", "/phone", "", "{}")
	r.Send("GET", "/", "", "") // a scanner's
	lines = linesOf(t, r, len(refusals)+5)

	unreadable := rig.Raise(t, func(c *stage.Config) { c.Secret = "{}" })
	unreadable.Post(unreadable.NewTap())
	lines = append(lines, linesOf(t, unreadable, 1)...)

	several := rig.Raise(t, func(c *stage.Config) {
		c.Secret = stage.Secrets(map[string]string{stage.AppID: stage.AppSecret, stage.SecondAppID: ""})
	})
	runCheck(t, several)
	several.Send("POST", "/phone", "application/json", `{"phoneCode":"made-up","appid":"`+stage.SecondAppID+`"}`)
	lines = append(lines, linesOf(t, several, 1)...)
	lines = append(lines, tokenLines(t)...)
	for _, route := range []string{"/phone", "/login", "jwks", "none"} {
		lines = append(lines, internalLine(lines[1], route)) // lines[0] says that the function has started
	}
	return lines
}

// tokenLines returns lines that are written with tokens on: about successes, and about a
// signing secret that cannot be read.
func tokenLines(t *testing.T) (lines []map[string]any) {
	t.Helper()
	on := raiseWithTokens(t)
	// The check says ok for on, and act and wait for keyless.
	keyless := rig.Raise(t, rig.Env("TOKEN_ISSUER="+issuer, "SIGNING_SECRET_ID="+signingSecret))
	keyless.WeChat.Script(wechattest.TokenPath, wechattest.Refuse(-1, "system error"))
	for _, r := range []*rig.Rig{on, keyless} {
		runCheck(t, r)
		postLogin(r, r, "")
		r.Send("GET", "/.well-known/openid-configuration", "", "")
		r.Send("GET", "/.well-known/jwks.json", "", "")
		lines = append(lines, linesOf(t, r, 3)...)
	}
	return lines
}

// runCheck makes the function test itself.
func runCheck(t *testing.T, r *rig.Rig) {
	t.Helper()
	if answer, err := r.Function.Invoke(t.Context(), []byte(`{"check":true}`)); err != nil || string(answer) != "null" {
		t.Errorf("got %s, error %v, want null", answer, err)
	}
}

// linesOf returns the log lines of r. It waits until those of all requests are
// there.
func linesOf(t *testing.T, r *rig.Rig, requests int) (lines []map[string]any) {
	t.Helper()
	rig.WaitFor(t, "all lines are there", func() bool { return len(r.Logs.Requests()) == requests })
	for line := range strings.Lines(r.Logs.Text()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fields)
	}
	return lines
}

// internalLine turns the line of a success into that of a panic. Only the panicking
// function in functions/phone's tests writes such a line.
func internalLine(success map[string]any, route string) map[string]any {
	line := maps.Clone(success)
	line["outcome"], line["status"] = string(failure.Internal), float64(failure.Internal.Status())
	line["reason"] = "panic at wechat-phone/functions/phone.(*handler).servePhone:1"
	line["route"] = route
	return line
}

// isUsers reports whether a line is about a request that users wait for.
func isUsers(line map[string]any) bool { return line["route"] == "/phone" || line["route"] == "/login" }

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
	requests, asked, first := 0.0, 0.0, 0.0
	for _, line := range lines {
		if isUsers(line) {
			requests++
			if line["wechatMs"].(float64) > 0 {
				asked++
			}
			if line["first"] == true {
				first++
			}
		}
	}
	want := map[string]float64{
		"Outcomes": requests, "TotalMilliseconds": requests, "OwnMilliseconds": requests, "WeChatMilliseconds": asked,
		"ColdStarts": first, "InternalFailures": 4, "SecretFailures": 3, "Refusals": 6, "ErrcodesToActOn": 6,
		"ChecksToActOn": 2,
	}
	got := map[string]float64{}
	for name, filter := range readTemplate(t).deploy(t, nil).of("AWS::Logs::MetricFilter") {
		if filter["LogGroupName"] != "PhoneFunctionLogGroup" {
			t.Errorf("%s reads %v", name, filter["LogGroupName"])
		}
		transformations := filter["MetricTransformations"].([]any)
		metric := transformations[0].(map[string]any)
		if len(transformations) != 1 {
			t.Errorf("%s makes %d metrics, want 1", name, len(transformations))
		}
		for _, line := range lines {
			if parsePattern(t, filter["FilterPattern"].(string))(line) {
				got[metric["MetricName"].(string)]++
				checkMetric(t, name, metric, line)
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("of %v lines the filters matched %v, want %v", requests, got, want)
	}
}

// checkMetric checks that the line has the fields that the metric is made of.
func checkMetric(t *testing.T, filter string, metric, line map[string]any) {
	t.Helper()
	if field, ok := strings.CutPrefix(metric["MetricValue"].(string), "$."); ok {
		if _, ok := line[field].(float64); !ok {
			t.Errorf("%s: a line without the number %s: %v", filter, field, line)
		}
	} else if metric["MetricValue"] != "1" {
		t.Errorf("%s counts by %v, want 1", filter, metric["MetricValue"])
	}
	for _, dimension := range listed(metric["Dimensions"]) {
		if d, ok := dimension.(map[string]any); ok && line[strings.TrimPrefix(d["Value"].(string), "$.")] == nil {
			t.Errorf("%s: a line without %v: %v", filter, d["Value"], line)
		}
	}
}

// A canary rolls back for what a version can be at fault for, and for nothing else.
// No single request of a stranger may do that.
func TestAlarmsCountTheirOwnLinesOnly(t *testing.T) {
	t.Parallel()
	s := readTemplate(t).deploy(t, nil)
	for _, line := range writtenLines(t) {
		want := map[any]string{
			"internal": "internal", "misconfigured": "misconfigured", "quota_exhausted": "quota",
		}[line["outcome"]]
		reason, _ := line["reason"].(string)
		if want == "misconfigured" && line["appid"] != nil && !strings.HasPrefix(reason, "signing secret:") {
			want = "refused" // one mini-program is wrong, not a secret as a whole
		}
		if line["check"] == "act" {
			want = "check"
		}
		got := ""
		for _, alarm := range s.of("AWS::CloudWatch::Alarm") {
			if alarm["Statistic"] == "Sum" && s.counts(alarm, line) {
				got += strings.TrimPrefix(alarm["AlarmName"].(string), "stack-")
			}
		}
		if got != want {
			t.Errorf("%v, %v, %v, errcode %v, appid %v, %q: the alarm %q counts it, want %q",
				line["route"], line["outcome"], line["check"], line["errcode"], line["appid"], reason, got, want)
		}
	}
}

// counts reports whether the alarm's metric counts a log line.
func (s *stack) counts(alarm, line map[string]any) bool {
	for _, filter := range s.of("AWS::Logs::MetricFilter") {
		metric := filter["MetricTransformations"].([]any)[0].(map[string]any)
		if metric["MetricName"] != alarm["MetricName"] || !parsePattern(s.t, filter["FilterPattern"].(string))(line) {
			continue
		}
		dimensions, _ := alarm["Dimensions"].([]any)
		return !slices.ContainsFunc(dimensions, func(d any) bool {
			dimension := d.(map[string]any)
			return line[dimension["Name"].(string)] != dimension["Value"]
		})
	}
	return false
}

// metrics returns what exists: namespace and name, and its dimensions' names.
func (s *stack) metrics() map[string]string {
	all := map[string]string{
		"AWS/Lambda Throttles": "FunctionName", "AWS/Lambda Errors": "FunctionName",
		"AWS/Lambda ConcurrentExecutions": "FunctionName",
		"AWS/ApiGateway 4xx":              "ApiId", "AWS/ApiGateway 5xx": "ApiId",
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
	rig.Long(t)
	tm := readTemplate(t)
	combinations(func(name string, values map[string]string) {
		s := tm.deploy(t, values)
		known := s.metrics()
		for logical, alarm := range s.of("AWS::CloudWatch::Alarm") {
			logical = name + ": " + logical
			if alarm["TreatMissingData"] != "notBreaching" {
				t.Errorf("%s: got %v for missing data, want notBreaching", logical, alarm["TreatMissingData"])
			}
			_, word, _ := strings.Cut(alarm["AlarmName"].(string), "-")
			runbook, description := " Runbook: docs/operations.md#"+word, alarm["AlarmDescription"].(string)
			if !strings.HasSuffix(description, "."+runbook) {
				t.Errorf("%s: got the description %q, want it to end with %q", logical, description, runbook)
			}
			fired, _ := alarm["AlarmActions"].([]any)
			over, _ := alarm["OKActions"].([]any)
			want := []any{}
			if values["AlarmEmail"] != "" {
				want = append(want, "AlarmTopic")
			}
			if topic := values["AlarmTopicArn"]; topic != "" {
				want = append(want, topic)
			}
			if !slices.Equal(fired, want) || !slices.Equal(over, want) {
				t.Errorf("%s notifies %v and %v, want %v", logical, fired, over, want)
			}
			if alarm["MetricName"] != nil {
				checkWatched(t, known, logical, alarm)
			} else {
				checkExpression(t, known, logical, alarm["Metrics"].([]any))
			}
		}
		function := s.resources()["PhoneFunction"]["Properties"].(map[string]any)
		want := []any{}
		if s.condition("UsesCanary") {
			want = []any{"CrashedAlarm", "InternalAlarm", "MisconfiguredAlarm"}
		}
		if got, _ := function["DeploymentPreference"].(map[string]any)["Alarms"].([]any); !slices.Equal(got, want) {
			t.Errorf("%s: a canary is rolled back on %v, want %v", name, got, want)
		}
	})
}

// checkWatched checks that the metric is one of the known.
func checkWatched(t *testing.T, known map[string]string, alarm string, metric map[string]any) {
	t.Helper()
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
	if want, ok := known[id]; !ok || names != want {
		t.Errorf("%s watches %s by %q, want %q", alarm, id, names, want)
	}
	if outcome := dimensions["outcome"]; names == "outcome" && failure.Kind(outcome).Status() == 0 {
		t.Errorf("%s watches the outcome %q, which does not exist", alarm, outcome)
	}
}

// checkExpression checks an alarm that computes with several metrics.
func checkExpression(t *testing.T, known map[string]string, alarm string, queries []any) {
	t.Helper()
	ids, expression := []string{}, ""
	for _, q := range queries {
		query := q.(map[string]any)
		if stat, ok := query["MetricStat"].(map[string]any); ok {
			checkWatched(t, known, alarm, stat["Metric"].(map[string]any))
			ids = append(ids, query["Id"].(string))
			continue
		}
		expression = query["Expression"].(string)
	}
	for _, word := range regexp.MustCompile(`[a-z]+`).FindAllString(expression, -1) {
		if !slices.Contains(ids, word) {
			t.Errorf("%s computes with %q, want one of %v", alarm, word, ids)
		}
	}
}

// widget is one of the dashboard's.
type widget struct {
	Type                string
	X, Y, Width, Height int
	Properties          struct {
		Markdown, Query, Region, View string
		Alarms                        []string
		Metrics                       [][]any
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
	shown, alarms := map[string]bool{}, []string{}
	for i, w := range widgets {
		for _, m := range w.Properties.Metrics {
			id, dimension := metricOf(t, m)
			if want, ok := known[id]; !ok || dimension != want {
				t.Errorf("widget %d shows %s by %q, want %q", i, id, dimension, want)
			}
			shown[id] = true
		}
		for _, arn := range w.Properties.Alarms {
			alarms = append(alarms, strings.TrimSuffix(arn, ".Arn"))
		}
		query := w.Properties.Query
		if strings.Contains(query, "SOURCE") && !strings.Contains(query, "'PhoneFunctionLogGroup'") {
			t.Errorf("widget %d queries another log: %s", i, query)
		}
		if (len(w.Properties.Metrics) > 0 || query != "") && w.Properties.Region != "us-east-1" {
			t.Errorf("widget %d has the region %q, want us-east-1", i, w.Properties.Region)
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
	for _, kind := range []failure.Kind{
		failure.Misconfigured, failure.Internal, failure.Unavailable, failure.UpstreamError,
		failure.UpstreamTimeout, failure.RateLimited, failure.CodeRejected, failure.Undecryptable,
		failure.QuotaExhausted,
	} {
		if !strings.Contains(widgets[0].Properties.Markdown, "**"+string(kind)+"**") {
			t.Errorf("the text does not mention %s", kind)
		}
	}
}

// Which mini-program fails is in the log. A metric for each would be charged.
func TestOutcomesAreShownByMiniProgram(t *testing.T) {
	s := readTemplate(t).deploy(t, nil)
	const want = "| stats count(*) as requests by appid, outcome"
	const filter = "filter ispresent(outcome) and route in ['/phone', '/login'] "
	shown := 0
	for _, w := range s.widgets() {
		if strings.Contains(w.Properties.Query, filter+want) {
			shown++
			if w.Type != "log" || w.Properties.View != "table" || w.Properties.Region != "us-east-1" {
				t.Errorf("the outcomes by appid are a %s, %s, want a table of the log", w.Type, w.Properties.View)
			}
		}
	}
	if shown != 1 {
		t.Errorf("%d widgets show the outcomes by appid, want 1", shown)
	}
	queries := s.of("AWS::Logs::QueryDefinition")
	if text, ok := queries["MiniProgramsQuery"]["QueryString"].(string); !ok || !strings.Contains(text, want) {
		t.Errorf("the saved query MiniProgramsQuery is %q, want it to have %q", text, want)
	}
	for _, name := range []string{"FailuresQuery", "ErrcodesQuery"} {
		if text := queries[name]["QueryString"].(string); !strings.Contains(text, "appid") {
			t.Errorf("%s does not say which mini-program: %s", name, text)
		}
	}
	for name, metric := range s.of("AWS::Logs::MetricFilter") {
		if made := fmt.Sprint(metric["MetricTransformations"]); strings.Contains(made, "appid") {
			t.Errorf("%s makes a metric for each mini-program: %s", name, made)
		}
	}
}

// A query for users' requests leaves the public documents out, and a query for all
// routes tells them apart. No query counts lines without outcome: they are not about
// requests.
func TestQueriesTellUsersRequestsFromOthers(t *testing.T) {
	users := map[string]bool{"OutcomesQuery": true, "MiniProgramsQuery": true}
	byRoute := map[string]bool{"RoutesQuery": true, "FailuresQuery": true}
	for name, query := range readTemplate(t).deploy(t, nil).of("AWS::Logs::QueryDefinition") {
		text := query["QueryString"].(string)
		if only := strings.Contains(text, `route in ["/phone", "/login"]`); only != users[name] {
			t.Errorf("%s leaves other routes out: %v, want %v: %s", name, only, users[name], text)
		}
		if shows := regexp.MustCompile(`(by|fields) .*\broute\b`).MatchString(text); shows != byRoute[name] {
			t.Errorf("%s shows the route: %v, want %v: %s", name, shows, byRoute[name], text)
		}
		if name == "ChecksQuery" {
			if !strings.Contains(text, "filter ispresent(check)") {
				t.Errorf("%s does not ask for what a check may say: %s", name, text)
			}
			continue
		}
		if name != "ColdStartsQuery" && !strings.Contains(text, "filter ispresent(outcome)") {
			t.Errorf("%s does not ask for lines with outcome: %s", name, text)
		}
	}
}

// costRow is a row of docs/deploy.md's costs, in cents, by logins: none, ten
// thousand, a hundred thousand, a million.
type costRow struct {
	name  string
	cents [4]int
}

// costRows returns the rows of the tables of costs.
func costRows(t *testing.T, text string) (rows []costRow) {
	t.Helper()
	price := `(\d+)\.(\d\d)`
	row := regexp.MustCompile(`(?m)^\| (.+?) \| ` + price + ` \| ` + price + ` \| ` + price + ` \| ` + price + ` \|$`)
	for _, cells := range row.FindAllStringSubmatch(text, -1) {
		r := costRow{name: cells[1]}
		for i := range r.cents {
			var err error
			if r.cents[i], err = strconv.Atoi(cells[2+2*i] + cells[3+2*i]); err != nil {
				t.Fatal(err)
			}
		}
		rows = append(rows, r)
	}
	return rows
}

// docs/deploy.md says what a stack costs.
func TestCostsAddUpAndCountTheAlarms(t *testing.T) {
	sections := sectionsOf(t, deployPage)
	prices, sum, together := map[string]int{}, [4]int{}, [4]int{}
	for _, row := range costRows(t, sections["What a stack costs"][""]) {
		byDefault := strings.Contains(row.name, "the default")
		for i, cents := range row.cents {
			switch {
			case strings.HasSuffix(row.name, "together"):
				if cents != sum[i] {
					t.Errorf("%s: the rows add up to %d cents, want %d", row.name, sum[i], cents)
				}
			case together == [4]int{} || byDefault: // other options are not in the sum
				sum[i] += cents
			}
		}
		if row.name == "together" {
			together = row.cents
		}
		prices[row.name] = row.cents[0]
	}
	s := readTemplate(t).deploy(t, nil)
	secrets := len(s.of("AWS::SecretsManager::Secret"))
	if row := fmt.Sprintf("%d secrets: the app secrets, the signing keys", secrets); prices[row] != 40*secrets {
		t.Errorf("the row %q has %d cents, want %d", row, prices[row], 40*secrets)
	}
	watched := 0
	for _, alarm := range s.of("AWS::CloudWatch::Alarm") {
		watched += max(1, strings.Count(fmt.Sprint(alarm["Metrics"]), "MetricStat:"))
	}
	row := fmt.Sprintf("%d alarm metrics: eight alarms watch one each, `wechat` five", watched)
	if price := prices[row]; price != 10*watched {
		t.Errorf("the row %q has %d cents, want %d", row, price, 10*watched)
	}
	const perMillion = 100 + 63 + 60 // a million logins cost the same in one stack and in ten
	fixed := together[3] - perMillion
	for _, cents := range []int{together[3], 10*fixed + perMillion} {
		text := fmt.Sprintf("%d.%02d", cents/100, cents%100)
		if !strings.Contains(sections["Several mini-programs"][""], text) {
			t.Errorf("a million logins cost %s, which is not there", text)
		}
	}
}

// metricOf returns a widget's metric, and the dimension that it is shown by.
func metricOf(t *testing.T, metric []any) (id, dimension string) {
	t.Helper()
	if options, ok := metric[0].(map[string]any); ok {
		search := regexp.MustCompile(`^SEARCH\('\{([^,]+),(\w+)\} MetricName="(\w+)"', 'Sum', 300\)$`)
		found := search.FindStringSubmatch(options["expression"].(string))
		if found == nil {
			t.Fatalf("%v is not a search that this test knows", options)
		}
		return found[1] + " " + found[3], found[2]
	}
	if len(metric) > 3 {
		dimension = metric[2].(string)
	}
	return metric[0].(string) + " " + metric[1].(string), dimension
}

func TestDashboardsWidgetsDoNotOverlap(t *testing.T) {
	taken := map[[2]int]bool{}
	for i, w := range readTemplate(t).deploy(t, nil).widgets() {
		for x := w.X; x < w.X+w.Width; x++ {
			for y := w.Y; y < w.Y+w.Height; y++ {
				if taken[[2]int{x, y}] || x >= 24 {
					t.Errorf("widget %d lies over another, or beyond the edge", i)
				}
				taken[[2]int{x, y}] = true
			}
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
	personal := regexp.MustCompile(`(?i)ip|body|query|header|user|path|authorizer`)
	for field, value := range access {
		known[field] = true
		if personal.MatchString(strings.TrimPrefix(value, "$context.")) {
			t.Errorf("the access log holds %s", value)
		}
	}
	language := strings.Fields("fields filter stats sort limit by as and or in desc bin count latest max pct ispresent " +
		"m h timestamp type record metrics initDurationMs") // the last of lines that Lambda itself writes
	quoted, words := regexp.MustCompile(`"[^"]*"|'[^']*'`), regexp.MustCompile(`[A-Za-z]+`)
	check := func(name, query string) {
		query = quoted.ReplaceAllString(strings.TrimPrefix(query, "SOURCE "), "")
		for _, alias := range regexp.MustCompile(` as (\w+)`).FindAllStringSubmatch(query, -1) {
			query = regexp.MustCompile(`\b`+alias[1]+`\b`).ReplaceAllString(query, "")
		}
		for _, word := range words.FindAllString(query, -1) {
			if !known[word] && !slices.Contains(language, word) {
				t.Errorf("%s reads %s, which no line has", name, word)
			}
		}
	}
	queries := s.of("AWS::Logs::QueryDefinition")
	for name, query := range queries {
		check(name, query["QueryString"].(string))
	}
	joined := queries["RequestsQuery"]["LogGroupNames"].([]any)
	if !slices.Equal(joined, []any{"PhoneFunctionLogGroup", "PhoneApiLogGroup"}) {
		t.Errorf("the joining query reads %v, want both log groups", joined)
	}
	for _, w := range s.widgets() {
		check("the dashboard", w.Properties.Query)
	}
}

// runbook returns the sections of docs/operations.md.
func runbook(t *testing.T) map[string]map[string]string {
	t.Helper()
	return sectionsOf(t, "docs/operations.md")
}

// sectionsOf returns a document's sections of the third level, by the titles of the
// second and third.
func sectionsOf(t *testing.T, name string) map[string]map[string]string {
	t.Helper()
	sections := map[string]map[string]string{}
	for _, second := range strings.Split(readFile(t, name), "\n## ")[1:] {
		title, text, _ := strings.Cut(second, "\n")
		parts := strings.Split(text, "\n### ")
		sections[title] = map[string]string{"": parts[0]}
		for _, third := range parts[1:] {
			name, text, _ := strings.Cut(third, "\n")
			sections[title][strings.Trim(name, "`")] = text
		}
	}
	return sections
}

// The runbook has each alarm and each error, and none that does not exist.
func TestRunbookHasEveryAlarmAndEveryError(t *testing.T) {
	errors := []string{}
	for _, name := range failure.Kinds() {
		errors = append(errors, string(name))
	}
	alarms := readTemplate(t).deploy(t, nil).alarmNames()
	for section, want := range map[string][]string{"Alarms": alarms, "Errors": errors} {
		got := slices.Sorted(maps.Keys(runbook(t)[section]))[1:] // without the text above the first heading
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s has %v, want %v", section, got, want)
		}
	}
}

func TestRunbookNamesEveryErrcode(t *testing.T) {
	errors := runbook(t)["Errors"]
	for _, r := range failure.Refusals() {
		if text := errors[string(r.Kind)]; !strings.Contains(text, fmt.Sprint(r.ErrCode)) {
			t.Errorf("the section %s does not name %d", r.Kind, r.ErrCode)
		}
	}
}

// attributes returns the names of the attributes that the function writes: those of a
// request's line, and those of the check's.
func attributes(t *testing.T) (request, check []string) {
	t.Helper()
	for name, file := range parsed(t, handler) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) != 2 {
				return true
			}
			function, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || fmt.Sprint(function.X) != "slog" {
				return true
			}
			literal, ok := call.Args[0].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s: got an attribute without a fixed name, want one that a page can explain", name)
				return true
			}
			list := &request
			if name == "check.go" {
				list = &check
			}
			*list = append(*list, strings.Trim(literal.Value, `"`))
			return true
		})
	}
	return append(request, "requestId"), check // Lambda's logger adds the request's id
}

// The tables are compared with the code, which may rarely write an attribute, and with
// lines, to which a library may add something.
func TestRunbookExplainsEveryFieldOfTheLog(t *testing.T) {
	t.Parallel()
	request, check := attributes(t)
	rest := []string{"level", "message", "timestamp"}
	for _, line := range writtenLines(t) {
		for field := range line {
			if slices.Contains(rest, field) {
				continue
			}
			switch line["message"] {
			case "request":
				request = append(request, field)
			case "check":
				if field != "requestId" {
					check = append(check, field)
				}
			}
		}
	}
	const runbook = "docs/operations.md"
	wantNames(t, runbook+", How to look", keys(table(t, runbook, "How to look")), request)
	_, section, _ := strings.Cut(readFile(t, runbook), "\n### `check`\n")
	section, _, _ = strings.Cut(section, "\n*Look:*")
	wantNames(t, runbook+", check", keys(firstTable(section)), check)
}

func TestRunbookHasTheCommandsForAnEmergency(t *testing.T) {
	sections := runbook(t)
	const apps = "Adding, rotating and removing a mini-program"
	for section, commands := range map[string][]string{
		"Adding a mini-program":  {"make secret ENV=prod", "FLAGS=-list", "Wait 30 seconds", "make smoke URL=… APPID="},
		"Rotating an app secret": {"make secret ENV=prod", "Wait 30 seconds", "make smoke URL="},
		"Removing a mini-program": {
			"make secret ENV=prod FLAGS=-remove=", "FLAGS=-list", "make restart ENV=prod", "make smoke URL=… APPID=",
		},
	} {
		for _, command := range commands {
			if !strings.Contains(sections[apps][section], command) {
				t.Errorf("the section %q does not have %q", section, command)
			}
		}
	}
	for section, commands := range map[string][]string{
		"Restarting":                           {"make restart ENV=prod", "all processes"},
		"Deploying a fix while an alarm fires": {"make deploy ENV=prod TRAFFIC=at-once"},
	} {
		for _, command := range commands {
			if !strings.Contains(sections[section][""], command) {
				t.Errorf("the section %q does not have %q", section, command)
			}
		}
	}
	if text := sections["Errors"]["code_rejected"]; !strings.Contains(text, "make restart ENV=prod") {
		t.Error("code_rejected does not say how to drop another mini-program's secret")
	}
	for _, reason := range []string{"dns", "connection refused", "timeout", "tls: …", "HTTPS_PROXY"} {
		if text := sections["Errors"]["unavailable"]; !strings.Contains(text, reason) {
			t.Errorf("unavailable does not name %q", reason)
		}
	}
}

func TestDeployPageHasTheCommandsForDomains(t *testing.T) {
	sections := sectionsOf(t, deployPage)
	for section, commands := range map[string][]string{
		"A custom domain":                 {"CONNECT=<DomainTarget>", "stops answering", "deletes the domain"},
		"Several stacks under one domain": {"BasePath=shop", "make deploy ENV=shop", "make smoke URL="},
	} {
		for _, command := range commands {
			if !strings.Contains(sections[section][""], command) {
				t.Errorf("the section %q does not have %q", section, command)
			}
		}
	}
}

// oneLine returns text on one line: a document's lines may break anywhere.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func TestRunbookHasTheCommandsForTokens(t *testing.T) {
	sections := runbook(t)["Identity tokens"]
	for section, commands := range map[string][]string{
		"Rotating the signing keys": {"make key ENV=prod", "too early: ", "No restart"},
		"A leaked signing key": {
			"deny the consumers' routes", "FLAGS=-revoke=KID", "FLAGS=-revoke=all", "make restart ENV=prod", "2 hours", "1 hour",
			"Every user taps once more", "Never restore an older version", "A new issuer",
		},
		"A signing secret that cannot be used": {"make key ENV=prod FLAGS=-revoke=all"},
		"Changing the issuer or the domain":    {"breaks every consumer", "TRAFFIC=at-once", "make smoke URL=…"},
		"Turning tokens off":                   {`'TokenIssuer=""'`, "make deploy ENV=prod", "make smoke URL=…"},
	} {
		text := oneLine(sections[section])
		for _, command := range commands {
			if !strings.Contains(text, command) {
				t.Errorf("the section %q does not have %q", section, command)
			}
		}
	}
}

// The runbook explains each way in which the secret can be malformed.
func TestRunbookExplainsEveryMalformedSecret(t *testing.T) {
	sections := runbook(t)
	text := sections["Errors"]["misconfigured"] +
		sections["Adding, rotating and removing a mini-program"]["A malformed secret"]
	literals := regexp.MustCompile(`"([^"\n]*)"`).FindAllStringSubmatch(readFile(t, "shared/appsecret/apps.go"), -1)
	literals = append(literals,
		regexp.MustCompile(`"malformed: ([^"]+)"`).FindAllStringSubmatch(readFile(t, "shared/appsecret/appsecret.go"), -1)...)
	reasons := 0
	for _, literal := range literals {
		if !strings.Contains(literal[1], " ") && literal[1] != "binary" {
			continue // a name
		}
		reasons++
		if part := strings.TrimSpace(literal[1]); !strings.Contains(text, part) {
			t.Errorf("the runbook does not explain %q", part)
		}
	}
	if reasons < 10 {
		t.Errorf("got %d reasons, want all of them", reasons)
	}
}

// The runbook explains each way in which the signing secret can be unusable.
func TestRunbookExplainsEveryUnusableSigningSecret(t *testing.T) {
	text := runbook(t)["Identity tokens"]["A signing secret that cannot be used"]
	problem := regexp.MustCompile(`(?:refuse\(|return public, nil, )"([^"]+)"`)
	problems := problem.FindAllStringSubmatch(readFile(t, "shared/identity/keys.go"), -1)
	for _, p := range append(problems, []string{"", "binary"}) {
		if !strings.Contains(text, "`"+p[1]+"`") {
			t.Errorf("the runbook does not explain %q", p[1])
		}
	}
	if len(problems) < 10 {
		t.Errorf("got %d problems, want all of them", len(problems))
	}
}
