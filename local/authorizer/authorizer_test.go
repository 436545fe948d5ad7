package authorizer

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wechat-phone/local/forgery"
)

// at is not a whole second, as almost no time is.
var at = time.Date(2026, 3, 1, 12, 0, 0, 5e8, time.UTC)

func atThen() time.Time { return at }

func TestTheConsumerGetsTheClaimsAsText(t *testing.T) {
	s := newStack(t, at)
	a := create(t, s.config(atThen))
	good := s.keys.Sign(claims(at)).Reveal()
	for _, prefix := range []string{"Bearer ", ""} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", prefix+good)
		w := httptest.NewRecorder()
		a.ServeHTTP(w, r)
		want := fmt.Sprintf("%s %s has +8613580006666, verified true at %d", appID, openID, at.Unix())
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%q: got %d %s, want 200 %s", prefix, w.Code, w.Body, want)
		}
	}
}

func TestRefusesEveryForgery(t *testing.T) {
	s, other := newStack(t, at), newStack(t, at)
	a := create(t, s.config(atThen))
	good := s.keys.Sign(claims(at)).Reveal()
	all := append(forgery.Tokens(good, s.signer, other.signer, at), forgery.Respelled(good)...)
	all = append(all, forgery.Token{Name: "empty"}, forgery.Token{Name: "a word", Text: "token"})
	for _, forged := range all {
		if forged.Name == forgery.Space {
			continue // net/http drops it from the end of a header
		}
		if w := ask(a, forged.Text, "/"); w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", forged.Name, w.Code)
		}
	}
	if w := ask(a, good, "/"); w.Code != http.StatusOK {
		t.Errorf("the good token after the forgeries: got %d, want 200", w.Code)
	}
}

// Each token breaks one rule: without that rule, it would be accepted.
func TestEachRuleIsNeeded(t *testing.T) {
	s, other := newStack(t, at), newStack(t, at)
	good := s.keys.Sign(claims(at)).Reveal()
	type fields = forgery.Fields
	with := func(header, payload fields) string { return s.signer.With(good, header, payload) }
	breaks := map[string][]string{
		"the algorithm must be RSA's":     {with(fields{"alg": "ES256"}, nil)},
		"the kid must match a key":        {with(fields{"kid": "another"}, nil), with(fields{"kid": nil}, nil)},
		"a key must verify the signature": {other.signer.With(good, nil, nil)},
		"the issuer must match":           {with(nil, fields{"iss": issuer + "/"}), with(nil, fields{"iss": nil})},
		"the audience must match": {
			with(nil, fields{"aud": "wxffffffffffffffff"}), // client_id does not count
			with(nil, fields{"aud": []string{"wxffffffffffffffff"}}),
			with(nil, fields{"aud": nil, "client_id": nil}),
			with(nil, fields{"aud": nil, "client_id": "wxffffffffffffffff"}),
		},
		"exp must be after now": {
			with(nil, fields{"exp": at.Unix()}), with(nil, fields{"exp": nil}),
		},
		"nbf must be before now": {with(nil, fields{"nbf": at.Unix() + 1})},
		"iat must be before now": {with(nil, fields{"iat": at.Unix() + 1})},
		scopeRule:                {with(nil, fields{"scope": "openid"}), with(nil, fields{"scope": nil})},
	}
	for i, rule := range rules {
		if len(breaks[rule.name]) == 0 {
			t.Errorf("got no token that breaks the rule %q of %s, want one", rule.name, rule.source)
		}
		for n, token := range breaks[rule.name] {
			a := create(t, s.config(atThen))
			w := ask(a, token, "/")
			if says := w.Header().Get("Www-Authenticate"); !strings.Contains(says, fmt.Sprintf("%q", rule.name)) {
				t.Errorf("%s, token %d: got %d, %q, want this rule named", rule.name, n, w.Code, says)
			}
			if want := status(rule.name); w.Code != want {
				t.Errorf("%s, token %d: got %d, want %d", rule.name, n, w.Code, want)
			}
			a.rules = slices.Delete(slices.Clone(rules), i, i+1)
			if w := ask(a, token, "/"); w.Code != http.StatusOK {
				t.Errorf("without the rule %q, token %d: got %d, want 200", rule.name, n, w.Code)
			}
		}
	}
	if len(breaks) != len(rules) {
		t.Errorf("got tokens for %d rules, want %d", len(breaks), len(rules))
	}
}

func status(rule string) int {
	if rule == scopeRule {
		return http.StatusForbidden
	}
	return http.StatusUnauthorized
}

// A token that is unusual but right passes.
func TestAcceptsWhatTheRulesPermit(t *testing.T) {
	s := newStack(t, at)
	good := s.keys.Sign(claims(at)).Reveal()
	for name, payload := range map[string]forgery.Fields{
		"client_id without aud": {"aud": nil},
		"one of several aud":    {"aud": []string{"wxffffffffffffffff", appID}},
		"scp":                   {"scope": nil, "scp": "phone"},
		"no iat":                {"iat": nil},
		"nbf":                   {"nbf": at.Unix()},
		"an unknown claim":      {"unknown": []int{1}},
	} {
		if w := ask(create(t, s.config(atThen)), s.signer.With(good, nil, payload), "/"); w.Code != http.StatusOK {
			t.Errorf("%s: got %d %s, want 200", name, w.Code, w.Header())
		}
	}
	c := s.config(atThen)
	c.Scopes = nil
	if w := ask(create(t, c), s.signer.With(good, nil, forgery.Fields{"scope": nil}), "/"); w.Code != http.StatusOK {
		t.Errorf("a route without scopes: got %d, want 200", w.Code)
	}
}

// Each case passes at the limit, and is refused a step beyond it. Without the limit it
// would pass.
func TestEachLimitIsNeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStack(t, time.Now())
		for _, tt := range []struct {
			name        string
			limit, step int
			set         func(*documents, int)
			lift        func(*limits)
		}{
			{"the key set's bytes", 150000 - len(s.keys.JWKS(time.Now())), 1,
				func(d *documents, n int) { d.space = n }, func(l *limits) { l.keySet *= 2 }},
			{"the discovery document's time", 1499, 2, wait("openid-configuration"), func(l *limits) { l.discovery *= 2 }},
			{"the key set's time", 1499, 2, wait("jwks.json"), func(l *limits) { l.keys *= 2 }},
		} {
			c := s.config(time.Now)
			served := c.Transport.(direct).Handler.(*documents)
			a := &Authorizer{Config: c, limits: published, rules: rules}
			for beyond, want := range []bool{true, false} {
				tt.set(served, tt.limit+beyond*tt.step)
				if err := a.fetch(); (err == nil) != want {
					t.Errorf("%s, %d beyond the limit: got %v, want success %v", tt.name, beyond, err, want)
				}
			}
			tt.lift(&a.limits)
			if err := a.fetch(); err != nil {
				t.Errorf("%s without a limit: got %v, want no error", tt.name, err)
			}
		}
	})
}

// wait makes a document take that many milliseconds.
func wait(document string) func(*documents, int) {
	return func(d *documents, ms int) {
		d.wait = map[string]time.Duration{document: time.Duration(ms) * time.Millisecond}
	}
}

func TestHeadersAreLimited(t *testing.T) {
	s := newStack(t, at)
	a := create(t, s.config(atThen))
	good := s.keys.Sign(claims(at)).Reveal()
	fits := 10240 - len("GET / HTTP/1.1") - len("Bearer ") - len(good)
	for beyond, want := range []int{http.StatusOK, http.StatusRequestHeaderFieldsTooLarge} {
		if w := ask(a, good, "/"+strings.Repeat("a", fits+beyond)); w.Code != want {
			t.Errorf("%d bytes: got %d, want %d", 10240+beyond, w.Code, want)
		}
	}
	a.limits.headers++
	if w := ask(a, good, "/"+strings.Repeat("a", fits+1)); w.Code != http.StatusOK {
		t.Errorf("one byte more under a wider limit: got %d, want 200", w.Code)
	}
}

// Within two hours the authorizer knows no new key and accepts a removed one.
func TestKeysAreKeptForTwoHours(t *testing.T) {
	before, after, clock := newStack(t, at), newStack(t, at), at
	c := before.config(func() time.Time { return clock })
	served := c.Transport.(direct).Handler.(*documents)
	a := create(t, c)
	served.keys = after.config(nil).Transport.(direct).Handler.(*documents).keys
	for _, tt := range []struct {
		passed   time.Duration
		accepted stack
		refused  stack
	}{{2*time.Hour - 1, before, after}, {2 * time.Hour, after, before}} {
		clock = at.Add(tt.passed)
		if w := ask(a, tt.accepted.keys.Sign(claims(clock)).Reveal(), "/"); w.Code != http.StatusOK {
			t.Errorf("after %v: got %d for the key that is cached, want 200", tt.passed, w.Code)
		}
		if w := ask(a, tt.refused.keys.Sign(claims(clock)).Reveal(), "/"); w.Code != http.StatusUnauthorized {
			t.Errorf("after %v: got %d for the key that is not cached, want 401", tt.passed, w.Code)
		}
	}
}

func TestAnAuthorizerNeedsAnIssuerThatAnswers(t *testing.T) {
	s := newStack(t, at)
	served := s.config(nil).Transport.(direct)
	for name, edit := range map[string]func(*Config){
		"no document yet":   func(c *Config) { c.Transport = direct{http.NotFoundHandler()} },
		"a trailing slash":  func(c *Config) { c.Issuer += "/" },
		"another base path": func(c *Config) { c.Issuer = "https://login.example.com" },
		"documents with status 503": func(c *Config) {
			c.Transport = direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusServiceUnavailable)
				served.ServeHTTP(w, r)
			})}
		},
		"without https": func(c *Config) {
			c.Issuer = "http" + strings.TrimPrefix(c.Issuer, "https")
			c.Transport = direct{http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.URL.Scheme = "https"
				served.ServeHTTP(w, r)
			})}
		},
	} {
		c := s.config(atThen)
		edit(&c)
		if _, err := Create(c); err == nil {
			t.Errorf("%s: got an authorizer, want an error", name)
		}
	}
}
