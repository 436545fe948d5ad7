package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/tools/operator/operatortest"
)

// secretWith returns the text of a secret that holds n mini-programs.
func secretWith(n int) string {
	apps := map[string]string{}
	for i := range n {
		apps[fmt.Sprintf("wx%016x", 0xa0000000+i)] = goodSecret
	}
	return stage.Secrets(apps)
}

// secretWith50 returns secretWith(49) with goodID, which comes first.
func secretWith50() string {
	return `{"` + goodID + `":"` + goodSecret + `",` + strings.TrimPrefix(secretWith(49), "{")
}

// attempt is a run of the command.
type attempt struct {
	name, before, stdin string
	flags               []string
	after               string // the same as before if the command refuses
	says                []string
}

// additions add or replace a mini-program.
func additions() []attempt {
	const note = `"note":{"a":[1]}`
	return []attempt{
		{"the second", goodJSON, otherJSON, nil, bothJSON, []string{
			goodID + "  kept", otherID + "  added", "cannot read the new form", "field appid",
			"make smoke URL=https://host/phone APPID=" + otherID + "\n",
		}},
		{"the second, beside another name", `{"appid":"` + goodID + `","secret":"` + goodSecret + `",` + note + `}`,
			otherJSON, nil, bothJSON, []string{
				`are dropped, because no other name is allowed beside several mini-programs: ["note"]`,
			}},
		{"the same, beside another name", `{"appid":"` + goodID + `"," secret":"` + canary + `",` + note + `}`,
			goodJSON, nil, `{"appid":"` + goodID + `",` + note + `,"secret":"` + goodSecret + `"}`,
			[]string{goodID + "  replaced", "make smoke URL=https://host/phone\n"}},
		{"one of two", `{"` + goodID + `":"","` + otherID + `":"` + otherSecret + `"}`, goodJSON, nil, bothJSON,
			[]string{goodID + "  replaced", otherID + "  kept", "up to 30 seconds"}},
		{"the fiftieth", secretWith(49), goodJSON, nil, secretWith50(), []string{goodID + "  added"}},
		{"the fifty-first", secretWith(50), goodJSON, nil, secretWith(50),
			[]string{"more than 50 mini-programs", "has not changed"}},
	}
}

// removals remove a mini-program, or find a malformed secret.
func removals() []attempt {
	return []attempt{
		{"a removal", bothJSON, "", []string{"-remove=" + otherID, "-yes"}, goodJSON, []string{
			otherID + "  removed", goodID + "  kept", "form that every release can read", "make restart ENV=prod\n",
		}},
		{"a removal of fifty", secretWith50(), "", []string{"-yes", "-remove=" + goodID}, secretWith(49),
			[]string{goodID + "  removed", "make restart ENV=prod\n"}},
		{"a removal without -yes", bothJSON, "", []string{"-remove=" + otherID}, bothJSON, []string{"needs -yes"}},
		{"a removal of the last", goodJSON, "", []string{"-remove=" + goodID, "-yes"}, goodJSON,
			[]string{"is the only mini-program"}},
		{"a removal of another", goodJSON, "", []string{"-remove=" + otherID, "-yes"}, goodJSON,
			[]string{"does not hold " + otherID}},
		{"a removal that would leave an empty secret", `{"` + goodID + `":"","` + otherID + `":"` + otherSecret + `"}`, "",
			[]string{"-remove=" + otherID, "-yes"}, `{"` + goodID + `":"","` + otherID + `":"` + otherSecret + `"}`,
			[]string{"secret is empty", "has not changed"}},

		{"a malformed value", canary, goodJSON, nil, canary, []string{"malformed: not a JSON object", "needs -yes"}},
		{"a malformed value with -yes", canary, goodJSON, []string{"-yes"}, goodJSON,
			[]string{"malformed: not a JSON object", "replaces all of it", "make restart ENV=prod"}},
		{"a removal from a malformed value", canary, "", []string{"-remove=" + goodID, "-yes"}, canary,
			[]string{"malformed: not a JSON object", "make secret ENV=prod replaces all of it"}},
		{"too many already", secretWith(51), goodJSON, nil, secretWith(51),
			[]string{"more than 50 mini-programs", "needs -yes"}},
	}
}

func TestOneMiniProgramChangesAndTheOthersStay(t *testing.T) {
	t.Parallel()
	for _, test := range append(additions(), removals()...) {
		s, url, arn := manager(t)
		s.Put("of-the-stack", test.before)
		put := command(t, url, arn, test.flags...)
		put.Stdin = strings.NewReader(test.stdin)
		out, err := put.CombinedOutput()
		if failed := err != nil; failed != (test.after == test.before) {
			t.Errorf("%s: got error %v, want one only if nothing changes\n%s", test.name, err, out)
		}
		for _, want := range test.says {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: got\n%s, want %q in it", test.name, out, want)
			}
		}
		if strings.Contains(string(out), canary) {
			t.Errorf("%s: got a part of a secret in\n%s, want none", test.name, out)
		}
		if got := s.Value("of-the-stack"); got != test.after {
			t.Errorf("%s: got the secret %s, want %s", test.name, got, test.after)
		}
	}
}

func TestListShowsAppidsAlone(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		put  func(*secretstest.Server)
		want string
		ok   bool
	}{
		{"no value", func(*secretstest.Server) {}, "The secret has no value yet.\n", true},
		{"one", func(s *secretstest.Server) { s.Put("a", " "+goodJSON) }, goodID + "\n", true},
		{"two", func(s *secretstest.Server) { s.Put("a", bothJSON) }, goodID + "\n" + otherID + "\n", true},
		{"an empty secret", func(s *secretstest.Server) {
			s.Put("a", `{"`+goodID+`":" "}`)
		}, goodID + "  (its secret is empty)\n", true},
		{"a binary value", func(s *secretstest.Server) { s.PutBinary("a", []byte(canary)) },
			"secret: the secret's value is malformed: binary; make secret ENV=prod replaces all of it\n", false},
	} {
		s := &secretstest.Server{}
		arn := s.Create("a")
		test.put(s)
		server := httptest.NewServer(s)
		out, err := command(t, server.URL, arn, "-list").CombinedOutput()
		if string(out) != test.want || (err == nil) != test.ok {
			t.Errorf("%s: got error %v and %q, want %q", test.name, err, out, test.want)
		}
		if s.Calls() != 1 {
			t.Errorf("%s: got %d calls, want 1", test.name, s.Calls())
		}
		server.Close()
	}
}

// Between reading the secret and replacing it, somebody else may do the same.
func TestAnotherOperatorsChangeIsNeverLost(t *testing.T) {
	t.Parallel()
	const theirs = `{"appid":"` + otherID + `","secret":"` + otherSecret + `"}`
	for name, before := range map[string]string{"a later value": oldJSON, "the first value": ""} {
		for _, call := range []string{"PutSecretValue", "UpdateSecretVersionStage"} {
			if before == "" && call == "UpdateSecretVersionStage" {
				continue // the first value needs no such call
			}
			s := &secretstest.Server{}
			arn := s.Create("a")
			if before != "" {
				s.Put("a", before)
			}
			s.Fail(operatortest.At(s, call, func(w http.ResponseWriter, r *http.Request) {
				s.Put("a", theirs)
				s.Answer(w, r)
			}))
			server := httptest.NewServer(s)
			put := command(t, server.URL, arn)
			put.Stdin = strings.NewReader(goodJSON)
			out, err := put.CombinedOutput()
			const want = "secret: somebody else has just changed the secret: " +
				"their change was kept, and yours was not made; run it again\n"
			if err == nil || !strings.HasSuffix(string(out), want) || strings.Contains(string(out), canary) {
				t.Errorf("%s, before %s: got error %v and\n%s, want %q", name, call, err, out, want)
			}
			if got := s.Value("a"); got != theirs {
				t.Errorf("%s, before %s: got the secret %q, want theirs", name, call, got)
			}

			s.Fail(nil)
			put = command(t, server.URL, arn)
			put.Stdin = strings.NewReader(goodJSON)
			if out, err := put.CombinedOutput(); err != nil {
				t.Errorf("%s, before %s, again: got error %v, want none\n%s", name, call, err, out)
			}
			if got := s.Value("a"); got != bothJSON {
				t.Errorf("%s, before %s, again: got the secret %q, want both", name, call, got)
			}
			server.Close()
		}
	}
}

// AWS may move the label although its answer is lost.
func TestLostAnswerToTheMoveIsNotAFailure(t *testing.T) {
	t.Parallel()
	s, url, arn := manager(t)
	broken := secretstest.Fault(500, "InternalServiceError", canary)
	s.Fail(operatortest.At(s, "UpdateSecretVersionStage", func(w http.ResponseWriter, r *http.Request) {
		s.Answer(httptest.NewRecorder(), r)
		broken(w, r)
	}))
	put := command(t, url, arn)
	put.Stdin = strings.NewReader(goodJSON)
	if out, err := put.CombinedOutput(); err != nil || !strings.Contains(string(out), "make smoke") {
		t.Errorf("got error %v, want none\n%s", err, out)
	}
	if got := s.Value("of-the-stack"); got != goodJSON {
		t.Errorf("got the secret %q, want %q", got, goodJSON)
	}

	moved := false
	s.Fail(func(w http.ResponseWriter, r *http.Request) {
		moved = moved || strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateSecretVersionStage")
		if moved { // and nothing works from then on
			broken(w, r)
			return
		}
		s.Answer(w, r)
	})
	put = command(t, url, arn)
	put.Stdin = strings.NewReader(goodJSON)
	if out, err := put.CombinedOutput(); err == nil || !strings.Contains(string(out), "the secret may have changed") {
		t.Errorf("got error %v, want that the secret may have changed\n%s", err, out)
	}
}

func TestAddedMiniProgramIsServedWithoutADeployment(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	bootstrap, err := stage.Bootstrap(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := stage.Raise(stage.Config{Bootstrap: bootstrap, Logs: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	s.WeChat.AddApp(stage.SecondAppID, stage.AppSecret)
	if status, body := post(t, s, ""); status != 200 {
		t.Errorf("the first, before: got %d %s, want 200", status, body)
	}
	add := command(t, s.SecretsURL, s.Secrets.Create(stage.SecretName))
	add.Stdin = strings.NewReader(stage.Secret(stage.SecondAppID, stage.AppSecret))
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, appID := range []string{stage.SecondAppID, stage.AppID} {
		if status, body := post(t, s, "?appid="+appID); status != 200 {
			t.Errorf("%s, after: got %d %s, want 200", appID, status, body)
		}
	}
}
