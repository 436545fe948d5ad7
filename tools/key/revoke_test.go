package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"wechat-phone/local/secretstest"
	"wechat-phone/tools/operator/operatortest"
)

// What a revocation says about verifiers.
const (
	atOnce = "Verifiers accept new tokens at once: their key has been published since "
	later  = "may refuse new tokens for up to two hours after the restart"
)

// checkRevoked fails if a labelled version has a key of the list before that must be
// dropped, or if a label is left on an older version.
func checkRevoked(t *testing.T, test string, s *secretstest.Server, before string, kept ...string) {
	t.Helper()
	labelled := s.Labelled(name)
	for label, text := range labelled {
		if text != s.Value(name) {
			t.Errorf("%s: an older version is still labelled %s", test, label)
		}
		for _, k := range keysIn(t, before) {
			if strings.Contains(text, k.ID) && !slices.Contains(kept, k.ID) {
				t.Errorf("%s: the version labelled %s has a dropped key", test, label)
			}
		}
	}
	if labelled["AWSCURRENT"] == "" {
		t.Errorf("%s: got no current version, want one", test)
	}
}

func TestRevocationLeavesNoDroppedKeyInALabelledVersion(t *testing.T) {
	t.Parallel()
	old, fresh := keysIn(t, grown()), keysIn(t, young())
	const promoted, all = "due signing, new next", "new signing, new next"
	for _, test := range []struct {
		name, before, revoke string
		want, says           string
	}{
		{"the signing key", grown(), old[0].ID, promoted, atOnce + date(old[1].Created)},
		{"a retired key", grown(), old[3].ID, promoted, atOnce + date(old[1].Created)},
		{"the next key", grown(), old[1].ID, all, later},
		{"all", grown(), "all", all, later},
		{"the signing key of a young list", young(), fresh[0].ID, promoted, later},
	} {
		s, run := manager(t, test.before)
		s.Put(name, test.before) // the first version is AWSPREVIOUS now
		s.PutLabelled(name, "\n"+test.before, "AWSPENDING", "backup")
		s.PutLabelled(name, " "+test.before, "make-key")
		out, err := run("-yes", "-revoke="+test.revoke).CombinedOutput()
		if err != nil {
			t.Errorf("%s: got error %v, want none", test.name, err)
		}
		checkOutput(t, test.name, string(out), test.says, "make restart ENV=prod\n",
			"lose their labels: AWSPENDING, AWSPREVIOUS, backup, make-key\n", "  is dropped\n",
			"for two hours, its REST APIs and ALB for one. Only a new issuer", "Every user taps once more",
			"Never restore an older version")
		checkSecrecy(t, test.name, string(out), test.before, s.Value(name))
		due := keysIn(t, test.before)[1].ID
		if got := describe(t, s.Value(name), map[string]string{due: "due"}); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
		if test.want == all {
			due = ""
		}
		checkRevoked(t, test.name, s, test.before, due)
	}
}

// lost makes a call and loses its answer.
func lost(s *secretstest.Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.Answer(httptest.NewRecorder(), r)
		secretstest.Fault(500, "InternalServiceError", "")(w, r)
	}
}

// AWS may make a change although its answer is lost.
func TestLostAnswerIsNotAFailure(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		call, before string
		flags        []string
		onlyOnce     bool
	}{
		{"PutSecretValue", "", nil, false}, // it makes the first version the current one
		{"PutSecretValue", "", nil, true},
		{"UpdateSecretVersionStage", grown(), nil, false},
		{"UpdateSecretVersionStage", grown(), []string{"-revoke=all"}, true}, // the labels need the call too
	} {
		t.Run(test.call, func(t *testing.T) {
			t.Parallel()
			s, run := manager(t, test.before)
			fault := lost(s)
			if test.onlyOnce {
				fault = once(fault, s.Answer)
			}
			s.Fail(operatortest.At(s, test.call, fault))
			out, err := run(append(test.flags, "-yes")...).CombinedOutput()
			if err != nil {
				t.Errorf("%s %q: got error %v, want none\n%s", test.call, test.flags, err, out)
			}
			checkOutput(t, test.call, string(out), keysIn(t, s.Value(name))[0].ID+"  signing")
			if test.flags != nil {
				checkRevoked(t, test.call, s, test.before)
			}
		})
	}
}

// once answers the first call differently from all others.
func once(first, others http.HandlerFunc) http.HandlerFunc {
	var did sync.Once
	return func(w http.ResponseWriter, r *http.Request) {
		answer := others
		did.Do(func() { answer = first })
		answer(w, r)
	}
}

// A staged version whose answer was lost does not become the current one.
func TestLostAnswerOfAStagedVersionChangesNothing(t *testing.T) {
	t.Parallel()
	s, run := manager(t, grown())
	s.Fail(operatortest.At(s, "PutSecretValue", lost(s)))
	out, err := run("-yes").CombinedOutput()
	if err == nil || s.Value(name) != grown() {
		t.Errorf("got error %v, want one and no change", err)
	}
	checkOutput(t, "a lost answer", string(out),
		"answered PutSecretValue with InternalServiceError: the secret has not changed\n")
}

// A revocation that breaks off after the new list is in place is finished by a second run.
func TestInterruptedRevocationCanBeFinished(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		works int // calls that work, of those after the list has been written
		says  string
	}{
		{"the move's answer is lost, and nothing works", 0,
			"the secret may have changed: see FLAGS=-show (your version keeps the label make-key: "},
		{"no look at the labels", 1, "run the same command again (AWS Secrets Manager answered DescribeSecret"},
		{"no label is removed", 2, "run the same command again (AWS Secrets Manager answered UpdateSecretVersionStage"},
		{"one label is removed", 3, "run the same command again (AWS Secrets Manager answered UpdateSecretVersionStage"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, run := manager(t, grown())
			s.PutLabelled(name, grown(), "backup")
			s.PutLabelled(name, grown(), "AWSPENDING")
			revoke, written, calls := "-revoke="+keysIn(t, grown())[0].ID, false, 0
			s.Fail(func(w http.ResponseWriter, r *http.Request) {
				moves := strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".UpdateSecretVersionStage")
				switch {
				case !written && moves && test.works == 0:
					lost(s)(w, r)
				case !written || calls < test.works-1:
					s.Answer(w, r)
				default:
					secretstest.Fault(500, "InternalServiceError", "")(w, r)
				}
				if written {
					calls++
				}
				written = written || moves
			})
			out, err := run("-yes", revoke).CombinedOutput()
			if err == nil {
				t.Errorf("%s: got no error, want one", test.name)
			}
			checkOutput(t, test.name, string(out), test.says)
			s.Fail(nil)
			after := s.Value(name)
			out, err = run("-yes", revoke).CombinedOutput()
			if err != nil || s.Value(name) != after {
				t.Errorf("%s: got error %v, want none and no other list", test.name, err)
			}
			checkOutput(t, test.name, string(out), "older versions lose their labels: ", atOnce, "make restart ENV=prod\n")
			checkRevoked(t, test.name, s, grown(), keysIn(t, grown())[1].ID)
		})
	}
}

// An operator who may not do all of a revocation must not begin it.
func TestRevocationLooksBeforeItChanges(t *testing.T) {
	t.Parallel()
	s, run := manager(t, grown())
	s.Fail(operatortest.At(s, "DescribeSecret", secretstest.Fault(400, "AccessDeniedException", "")))
	out, err := run("-yes", "-revoke=all").CombinedOutput()
	if err == nil || s.Value(name) != grown() {
		t.Errorf("got error %v, want one and no change", err)
	}
	checkOutput(t, "denied", string(out), "key: AWS Secrets Manager answered DescribeSecret with AccessDeniedException\n")
}

// A revocation that somebody undoes at once is not reported as a success.
func TestRevocationSeesThatItWasUndone(t *testing.T) {
	t.Parallel()
	s, run := manager(t, grown())
	described := 0
	s.Fail(operatortest.At(s, "DescribeSecret", func(w http.ResponseWriter, r *http.Request) {
		if described++; described == 2 { // the first is before the change
			s.Put(name, grown())
		}
		s.Answer(w, r)
	}))
	out, err := run("-yes", "-revoke=all").CombinedOutput()
	if err == nil || s.Value(name) != grown() {
		t.Errorf("got error %v, want one", err)
	}
	checkOutput(t, "undone", string(out), "somebody else has just changed the secret: see FLAGS=-show)\n")
}

// Between reading the secret and replacing it, another operator may do the same.
func TestOneOfTwoOperatorsWins(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, before string
		flags        [2][]string
	}{
		{"the first run", "", [2][]string{}},
		{"a rotation", grown(), [2][]string{}},
		{"a revocation and a rotation", grown(), [2][]string{{"-revoke=all"}, {}}},
		{"two revocations", grown(), [2][]string{{"-revoke=all"}, {"-revoke=" + keysIn(t, grown())[0].ID}}},
	} {
		s, run := manager(t, test.before)
		var both sync.WaitGroup // both have read the secret when the first writes it
		both.Add(2)
		s.Fail(operatortest.At(s, "PutSecretValue", func(w http.ResponseWriter, r *http.Request) {
			both.Done()
			both.Wait()
			s.Answer(w, r)
		}))
		var outs [2]string
		var errs [2]error
		var done sync.WaitGroup
		for i := range outs {
			command := run(append([]string{"-yes"}, test.flags[i]...)...)
			done.Go(func() {
				out, err := command.CombinedOutput()
				outs[i], errs[i] = string(out), err
			})
		}
		done.Wait()
		won := slices.Index(errs[:], nil)
		if won < 0 || errs[1-won] == nil {
			t.Fatalf("%s: got errors %v, want exactly one\n%s\n%s", test.name, errs, outs[0], outs[1])
		}
		checkOutput(t, test.name, outs[won], keysIn(t, s.Value(name))[1].ID+"  next")
		checkOutput(t, test.name, outs[1-won], "key: somebody else has just changed the secret: "+
			"their change was kept, and yours was not made; run it again\n")
		if len(test.flags[won]) > 0 {
			checkRevoked(t, test.name, s, test.before, keysIn(t, test.before)[1].ID)
		}
	}
}

// The operator who loses to a revocation has staged a version with dropped keys, perhaps
// after the revocation has looked.
func TestLoserTakesBackTheirVersion(t *testing.T) {
	t.Parallel()
	kept, unknown := "yours was not made; run it again\n", "the secret may have changed: see FLAGS=-show\n"
	denied := secretstest.Fault(400, "AccessDeniedException", "")
	for _, test := range []struct {
		before string
		fault  func(*secretstest.Server) http.HandlerFunc // afterwards
		says   string
	}{
		{"PutSecretValue", func(*secretstest.Server) http.HandlerFunc { return nil }, kept},
		{"UpdateSecretVersionStage", func(*secretstest.Server) http.HandlerFunc { return nil }, kept},
		{"PutSecretValue", func(s *secretstest.Server) http.HandlerFunc {
			return operatortest.At(s, "GetSecretValue", denied)
		}, unknown},
	} {
		s, run := manager(t, grown())
		revoke := run("-yes", "-revoke=all")
		s.Fail(operatortest.At(s, test.before, func(w http.ResponseWriter, r *http.Request) {
			s.Fail(nil)
			if out, err := revoke.CombinedOutput(); err != nil {
				t.Errorf("before %s: the revocation got error %v, want none\n%s", test.before, err, out)
			}
			s.Fail(test.fault(s))
			s.Answer(w, r)
		}))
		out, err := run("-yes").CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.says) {
			t.Errorf("before %s: got error %v, want %q in\n%s", test.before, err, test.says, out)
		}
		s.Fail(nil)
		checkRevoked(t, "before "+test.before, s, grown())
	}
}

// If the command cannot take it back, it says so, and the next revocation does it.
func TestLoserSaysWhatTheyLeave(t *testing.T) {
	t.Parallel()
	s, run := manager(t, grown())
	kid := keysIn(t, grown())[0].ID
	revoke := run("-yes", "-revoke="+kid)
	moves := func(http.ResponseWriter, *http.Request) {}
	moves = once(func(w http.ResponseWriter, r *http.Request) {
		s.Fail(nil)
		if out, err := revoke.CombinedOutput(); err != nil {
			t.Errorf("the revocation got error %v, want none\n%s", err, out)
		}
		s.Fail(operatortest.At(s, "UpdateSecretVersionStage", moves))
		s.PutLabelled(name, grown(), "make-key") // what they staged arrives late
		s.Answer(w, r)
	}, secretstest.Fault(500, "InternalServiceError", ""))
	s.Fail(operatortest.At(s, "UpdateSecretVersionStage", moves))
	out, err := run("-yes").CombinedOutput()
	if err == nil {
		t.Error("got no error, want one")
	}
	checkOutput(t, "the loser", string(out), "run it again (your version keeps the label make-key: ")
	s.Fail(nil)
	if out, err := run("-yes", "-revoke="+kid).CombinedOutput(); err != nil {
		t.Errorf("got error %v, want none\n%s", err, out)
	}
	checkRevoked(t, "the second revocation", s, grown(), keysIn(t, grown())[1].ID)
}
