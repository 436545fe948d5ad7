package main

import (
	"net/http/httptest"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wechat-phone/local/secretstest"
	"wechat-phone/shared/identity"
	"wechat-phone/tools/operator"
	"wechat-phone/tools/operator/operatortest"
)

func TestMain(m *testing.M) { operatortest.Main(m, main) }

const name = "signing"

// manager returns a Secrets Manager with a signing secret, which is empty if text is.
func manager(t *testing.T, text string) (s *secretstest.Server, run func(flags ...string) *exec.Cmd) {
	t.Helper()
	s = &secretstest.Server{}
	arn := s.Create(name)
	if text != "" {
		s.Put(name, text)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, func(flags ...string) *exec.Cmd {
		command := operatortest.Command(t, server.URL, map[string]string{"SigningSecretArn": arn}, flags...)
		command.Env = append(command.Env, retries)
		return command
	}
}

// retries is the SDK's default. The SDK closes a request's body as soon as it has the
// answer's header. If net/http is still reading the body then, it cuts the answer off
// after its buffer of 4096 bytes. A list of keys is longer.
const retries = "AWS_MAX_ATTEMPTS=3"

// list returns a list of keys that has grown: its edits happened at these ages.
func list(ages ...time.Duration) string {
	edit, err := identity.New(time.Now().Add(-ages[0]))
	for _, age := range ages[1:] {
		if err == nil {
			edit, err = identity.Rotate(edit.List.Reveal(), time.Now().Add(-age))
		}
	}
	if err != nil {
		panic(err)
	}
	return edit.List.Reveal()
}

const day = 24 * time.Hour

// Lists that tests share, because making keys is slow.
var (
	// young has a signing key and a next key.
	young = sync.OnceValue(func() string { return list(time.Hour) })
	// grown has a next key that may sign, a signing key, and two retired keys. The next
	// rotation drops the last.
	grown = sync.OnceValue(func() string { return list(40*day, 31*day+12*time.Hour, 25*time.Hour) })
)

// keysIn returns the keys of a usable list.
func keysIn(t *testing.T, text string) []identity.Key {
	t.Helper()
	keys, err := parse(operator.Version{ID: "any", Text: &text})
	if err != nil {
		t.Fatalf("got %v, want a usable list", err)
	}
	return keys
}

// describe writes the keys of a list with the names that a test gave to earlier ones.
func describe(t *testing.T, text string, names map[string]string) string {
	t.Helper()
	all := []string{}
	for _, k := range keysIn(t, text) {
		name := names[k.ID]
		if name == "" {
			name = "new"
		}
		all = append(all, name+" "+k.Role().String())
	}
	return strings.Join(all, ", ")
}

// checkSecrecy fails if out has a part of a private key that the texts hold.
func checkSecrecy(t *testing.T, test, out string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, private := range regexp.MustCompile(`"privateKey":"([^"]+)"`).FindAllStringSubmatch(text, -1) {
			if strings.Contains(out, private[1][100:130]) { // each begins alike
				t.Errorf("%s: the output has a part of a private key", test)
			}
		}
	}
}

// checkOutput fails if out lacks one of the texts.
func checkOutput(t *testing.T, test, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(out, want) {
			t.Errorf("%s: got\n%s, want %q in it", test, out, want)
		}
	}
}

func TestFirstRunMakesASigningKeyAndANextKey(t *testing.T) {
	t.Parallel()
	s, run := manager(t, "")
	out, err := run("-show").CombinedOutput()
	if want := "The signing secret has no keys yet.\n"; err != nil || string(out) != want {
		t.Errorf("-show, before: got error %v and %q, want %q", err, out, want)
	}
	if out, err = run("-yes").CombinedOutput(); err != nil {
		t.Fatalf("got error %v, want none\n%s", err, out)
	}
	made := s.Value(name)
	if got, want := describe(t, made, nil), "new signing, new next"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	signing, next := keysIn(t, made)[0], keysIn(t, made)[1]
	checkOutput(t, "the first run", string(out),
		"(a new key)                                  signing  is made", "next     is made",
		signing.ID+"  signing  created "+date(signing.Created)+", signs from "+date(signing.SignsFrom)+"\n",
		next.ID+"  next     created "+date(next.Created)+"\n", "make deploy ENV=prod\n")
	checkSecrecy(t, "the first run", string(out), made)

	calls := s.Calls()
	shown, err := run("-show").CombinedOutput()
	if err != nil || s.Calls() != calls+1 {
		t.Errorf("-show: got error %v and %d calls, want none and 1", err, s.Calls()-calls)
	}
	checkOutput(t, "-show", string(shown), signing.ID+"  signing", next.ID+"  next")
	checkSecrecy(t, "-show", string(shown), made)

	out, err = run("-yes").CombinedOutput()
	if err == nil || s.Value(name) != made {
		t.Errorf("too early: got error %v, want one and no change", err)
	}
	checkOutput(t, "too early", string(out), next.ID, "key: too early: the next key was created less than 24 hours ago; "+
		"the secret has not changed, come back at "+date(next.Created.Add(day))+"\n")
}

func TestRotationPromotesTheNextKey(t *testing.T) {
	t.Parallel()
	s, run := manager(t, grown())
	out, err := run("-yes").CombinedOutput()
	if err != nil {
		t.Fatalf("got error %v, want none\n%s", err, out)
	}
	keys, after := keysIn(t, grown()), s.Value(name)
	names := map[string]string{keys[0].ID: "old", keys[1].ID: "due", keys[2].ID: "first", keys[3].ID: "last"}
	if got, want := describe(t, after, names), "due signing, new next, old retired, first retired"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	checkOutput(t, "rotation", string(out),
		keys[1].ID+"  signing  was next\n", keys[0].ID+"  retired  was signing\n", keys[2].ID+"  retired  stays\n",
		keys[3].ID+"  retired  is dropped\n", "next rotation is possible from "+date(keysIn(t, after)[1].Created.Add(day)))
	checkSecrecy(t, "rotation", string(out), grown(), after)
}

// A question may wait for hours, and a key must not be older than its publication.
func TestNewKeysAgeCountsFromTheAnswer(t *testing.T) {
	t.Parallel()
	s, run := manager(t, "")
	key := run()
	controller, _ := operatortest.StartAtTerminal(t, key)
	operatortest.ReadUntil(t, controller, "(y/N) ")
	time.Sleep(1100 * time.Millisecond)
	answered := time.Now().Truncate(time.Second)
	_, _ = controller.WriteString("y\r")
	operatortest.ReadUntil(t, controller, "make deploy")
	if err := key.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, k := range keysIn(t, s.Value(name)) {
		if k.Created.Before(answered) {
			t.Errorf("got a key created at %v, want none before the answer at %v", k.Created, answered)
		}
	}
}

// At a terminal, only yes changes anything. Without one, only -yes does.
func TestEachChangeNeedsAYes(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before string
		flags        []string
		answer       string // empty without a terminal
		changes      bool
	}{
		{"first, no", "", nil, "n\r", false},
		{"first, Ctrl-C", "", nil, "\x03", false},
		{"first, yes", "", nil, "yes\r", true},
		{"first, without a terminal", "", nil, "", false},
		{"rotation, only Return", grown(), nil, "\r", false},
		{"rotation, Ctrl-C", grown(), nil, "\x03", false},
		{"rotation, y", grown(), nil, "y\r", true},
		{"rotation, without a terminal", grown(), nil, "", false},
		{"revocation, no", young(), []string{"-revoke=all"}, "no\r", false},
		{"revocation, Ctrl-C", young(), []string{"-revoke=all"}, "\x03", false},
		{"revocation, y", young(), []string{"-revoke=all"}, "Y\r", true},
		{"revocation, without a terminal", young(), []string{"-revoke=all"}, "", false},
		{"malformed, no", "[]", []string{"-revoke=all"}, "n\r", false},
		{"malformed, yes", "[]", []string{"-revoke=all"}, "y\r", true},
	} {
		s, run := manager(t, test.before)
		key, out := run(test.flags...), ""
		var err error
		if test.answer == "" {
			text, failure := key.CombinedOutput()
			out, err = string(text), failure
			checkOutput(t, test.name, out, "without a terminal, a change needs -yes: the secret has not changed\n")
		} else {
			controller, _ := operatortest.StartAtTerminal(t, key)
			out = operatortest.ReadUntil(t, controller, "Make this change? (y/N) ")
			_, _ = controller.WriteString(test.answer)
			last := "stopped: the secret has not changed"
			if test.changes {
				last = "Secrets Manager has the new list."
			}
			out += operatortest.ReadUntil(t, controller, last)
			err = key.Wait()
		}
		now := ""
		if len(s.Labelled(name)) > 0 {
			now = s.Value(name)
		}
		if changed := now != test.before; changed != test.changes || (err == nil) != test.changes {
			t.Errorf("%s: got error %v and a change: %t, want %t\n%s", test.name, err, changed, test.changes, out)
		}
	}
}

func TestUnusableListIsNeverReplacedSilently(t *testing.T) {
	t.Parallel()
	twice := strings.Replace(young(), "[", "["+strings.Trim(young(), "[]")+",", 1)
	for _, test := range []struct{ text, problem string }{
		{"ca9a41", "the signing secret is not a JSON list of keys"},
		{"{}", "the signing secret is not a JSON list of keys"},
		{"[]", "no key signs"},
		{twice, "two keys have the same kid"},
		{"", "it is binary"},
	} {
		s, run := manager(t, test.text)
		if test.text == "" {
			s.PutBinary(name, []byte("ca9a41"))
		}
		kid := keysIn(t, young())[0].ID
		for _, flags := range [][]string{{"-show"}, {"-yes"}, {"-yes", "-revoke=" + kid}} {
			out, err := run(flags...).CombinedOutput()
			want := "key: the signing secret is not usable: " + test.problem +
				"; make key ENV=prod FLAGS=-revoke=all replaces all of it\n"
			if err == nil || string(out) != want || s.Value(name) != test.text {
				t.Errorf("%.9q %q: got error %v and %s, want %s and no change", test.text, flags, err, out, want)
			}
		}
		out, err := run("-revoke=all", "-yes").CombinedOutput()
		if err != nil {
			t.Fatalf("%.9q: got error %v, want none\n%s", test.text, err, out)
		}
		checkOutput(t, test.text, string(out), "not usable: "+test.problem, "replaces all of it", "make restart ENV=prod\n")
		checkSecrecy(t, test.problem, string(out), test.text, s.Value(name))
		if got, want := describe(t, s.Value(name), nil), "new signing, new next"; got != want {
			t.Errorf("%.9q: got %s, want %s", test.text, got, want)
		}
	}
}

// A next key that is damaged is found before it signs.
func TestDamagedNextKeyIsNotPromoted(t *testing.T) {
	t.Parallel()
	privates := regexp.MustCompile(`"privateKey":"[^"]+"`).FindAllStringIndex(grown(), -1)
	end := privates[1][1] - 20
	damaged := grown()[:end] + strings.Map(func(r rune) rune { return 'A' }, grown()[end:end+8]) + grown()[end+8:]
	s, run := manager(t, damaged)
	out, err := run("-yes").CombinedOutput()
	if err == nil || s.Value(name) != damaged {
		t.Errorf("got error %v, want one and no change", err)
	}
	checkOutput(t, "a damaged key", string(out),
		"key: the secret has not changed: a key is not a valid RSA key; FLAGS=-revoke=all replaces all keys\n")
}

func TestWrongFlagsChangeNothing(t *testing.T) {
	t.Parallel()
	const unknown = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for _, test := range []struct {
		before string
		flags  []string
		says   string
	}{
		{grown(), []string{"ca9a41"}, "takes no arguments"},
		{grown(), []string{"-revoke="}, "-revoke needs a kid"},
		{grown(), []string{"-revoke=ca9a41"}, "-revoke needs a kid"},
		{grown(), []string{"-revoke=all", "-show"}, "cannot be combined with -show"},
		{grown(), []string{"-revoke=" + unknown}, "key: no key has this kid: the secret has not changed\n"},
		{"", []string{"-revoke=" + unknown}, "so there is none to revoke"},
		{"", []string{"-revoke=all"}, "so there is none to revoke"},
	} {
		s, run := manager(t, test.before)
		out, err := run(append([]string{"-yes"}, test.flags...)...).CombinedOutput()
		if err == nil || strings.Contains(string(out), "ca9a41") {
			t.Errorf("%q: got error %v, want one that repeats nothing\n%s", test.flags, err, out)
		}
		checkOutput(t, strings.Join(test.flags, " "), string(out), test.says)
		labels := []string{}
		for label := range s.Labelled(name) {
			labels = append(labels, label)
		}
		if test.before != "" && (!slices.Equal(labels, []string{"AWSCURRENT"}) || s.Value(name) != test.before) {
			t.Errorf("%q: got the labels %q, want no change", test.flags, labels)
		}
	}
}
