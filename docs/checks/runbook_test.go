package checks

import (
	"go/ast"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"wechat-phone/functions/phone/failure"
	"wechat-phone/shared/appsecret"
	"wechat-phone/shared/secretvalue"
	"wechat-phone/shared/signingkeys"
	"wechat-phone/shared/wechat"
)

// The tests in this file hold the runbook's tables to what the function can log.

// The runbook explains each log message that does not belong to a request or a check.
func TestRunbookHasEveryLineWithoutARequest(t *testing.T) {
	var messages []string
	for _, file := range parsed(t, handler) {
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) == 0 {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			literal, fixed := call.Args[0].(*ast.BasicLit)
			if ok && fixed && slices.Contains([]string{"Info", "Warn", "Error", "warn"}, method.Sel.Name) {
				message, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				messages = append(messages, message)
			}
			return true
		})
	}
	const heading = "Lines without a request"
	wantNames(t, "docs/operations.md, "+heading, keys(table(t, "docs/operations.md", heading)), messages)
}

// Each reason for which nobody but the operator can act, or must wait, has a row under
// its outcome.
func TestRunbookHasARowForEveryReason(t *testing.T) {
	sections := runbook(t)["Errors"]
	for _, err := range failures(t) {
		f := failure.Of(err)
		if !slices.ContainsFunc(reasonPatterns(sections[string(f.Kind)]), func(p *regexp.Regexp) bool {
			return p.MatchString(f.Reason)
		}) {
			t.Errorf("%s: got no row for %q, want one that says what to do", f.Kind, f.Reason)
		}
	}
}

// The table of invalid_request quotes the beginnings of messages, which are string
// literals in the handler.
func TestRunbookQuotesMessagesOfTheFunction(t *testing.T) {
	var literals []string
	for _, file := range parsed(t, handler) {
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok {
				literals = append(literals, literal.Value)
			}
			return true
		})
	}
	quotes := keys(firstTable(runbook(t)["Errors"]["invalid_request"]))
	for _, quote := range quotes {
		if !slices.ContainsFunc(literals, func(l string) bool { return strings.HasPrefix(l, `"`+quote) }) {
			t.Errorf("docs/operations.md, invalid_request: got %q, want the beginning of a message in %s", quote, handler)
		}
	}
	if len(quotes) == 0 {
		t.Error("docs/operations.md, invalid_request: got no table, want one")
	}
}

// reasonPatterns returns the reasons in the first cells of a section's tables and in its other
// text. An ellipsis stands for anything.
func reasonPatterns(section string) (patterns []*regexp.Regexp) {
	for line := range strings.Lines(section) {
		cell := line
		if strings.HasPrefix(line, "|") {
			cell = strings.Split(line, " | ")[0]
		}
		for _, name := range regexp.MustCompile("`([^`]+: [^`]+)`").FindAllStringSubmatch(cell, -1) {
			text := strings.ReplaceAll(regexp.QuoteMeta(name[1]), "…", ".*")
			patterns = append(patterns, regexp.MustCompile("^"+text+"$"))
		}
	}
	return patterns
}

// failures returns the errors of every class that the function can meet in Secrets Manager
// and WeChat, except the errcodes, which have a test of their own.
func failures(t *testing.T) (errs []error) {
	t.Helper()
	classes := regexp.MustCompile(`return "([^"]+)"`).FindAllStringSubmatch(readFile(t, "shared/neterror/neterror.go"), -1)
	if len(classes) < 7 {
		t.Fatalf("got the classes %v, want all of them", classes)
	}
	temporary := []string{"network", "status 400", "tls: certificate"}
	for _, class := range classes {
		if class[1] != "certificate" { // with TLS only
			temporary = append(temporary, class[1])
		}
	}
	for _, reason := range temporary {
		errs = append(errs, &appsecret.Error{Temporary: true, Reason: reason},
			&signingkeys.Error{Temporary: true, Reason: reason})
	}
	for _, reason := range []string{
		"ResourceNotFoundException", "AccessDeniedException", "DecryptionFailure", "InvalidRequestException",
		secretvalue.Malformed("binary").Reason,
	} {
		errs = append(errs, &appsecret.Error{Reason: reason}, &signingkeys.Error{Reason: reason})
	}
	for _, api := range []wechat.API{wechat.TokenAPI, wechat.LoginAPI, wechat.PhoneAPI, wechat.SealedDataAPI} {
		for _, kind := range []wechat.Kind{wechat.Unreachable, wechat.Lost, wechat.TimedOut, wechat.Malformed} {
			var err error = &wechat.Error{API: api, Kind: kind, Reason: "a class"}
			if api == wechat.SealedDataAPI {
				err = &failure.NoVerdict{Err: err}
			}
			errs = append(errs, err)
		}
		errs = append(errs, &wechat.Error{API: api, Kind: wechat.Refused, ErrCode: wechat.Busy})
	}
	return errs
}

// The operator must know when to stop waiting, and how to see that a fix worked.
func TestRunbookSaysHowToSeeThatItWorked(t *testing.T) {
	const worked = "*It worked if*"
	sections := runbook(t)
	for _, name := range []string{"crashed", "check", "throttled", "slow", "wechat"} {
		if !strings.Contains(sections["Alarms"][name], worked) {
			t.Errorf("the alarm %s: got no %q, want how to see it", name, worked)
		}
	}
	for _, kind := range failure.Kinds() {
		operators := kind.Status() >= 500 || kind == failure.RateLimited
		if operators && !strings.Contains(sections["Errors"][string(kind)], worked) {
			t.Errorf("the error %s: got no %q, want how to see it", kind, worked)
		}
	}
}

// The runbook repeats the times of the code.
func TestRunbookHasTheTimesOfTheCode(t *testing.T) {
	text := runbook(t)["How to look"]["What a process keeps"]
	for file, times := range map[string]map[string]string{
		"shared/signingkeys/signingkeys.go": {"maxAge = 20 * time.Hour": "20 hours", "rereadAfter = time.Hour": "an hour"},
		"shared/appsecret/appsecret.go":     {"rereadEvery = 30 * time.Second": "30 seconds"},
		"shared/flight/flight.go":           {"failureKept = time.Second": "one second"},
		"shared/wechat/token.go": {
			"spare = 2 * time.Minute": "two minutes", "maxLife = 2 * time.Hour": "two hours",
		},
	} {
		for code, words := range times {
			if !strings.Contains(readFile(t, file), code) || !strings.Contains(text, words) {
				t.Errorf("got no %q in %s, or no %q in the runbook, want both", code, file, words)
			}
		}
	}
}
