package identity

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/rig"
	"wechat-phone/shared/redacted"
)

// issuedToken is a token, and what is known about it without reading it.
type issuedToken struct {
	text       string
	kid        string
	user       int
	issuedAt   time.Time
	hasPhone   bool
	verifiedAt time.Time // when a tap vouched for the number
}

// world is a mini-program with some users, its keys, and a clock. It keeps its own
// record of each key, and so knows what [Keys.Check] must answer.
type world struct {
	*testing.T
	*rand.Rand
	operator
	now     time.Time
	keys    *Keys
	known   map[string]Key // the keys that the list must have
	tokens  []issuedToken
	reasons map[Reason]int
}

const renewal = 30 * day

func user(i int) redacted.Value  { return redacted.New("oUser" + string(rune('A'+i))) }
func phone(i int) redacted.Value { return redacted.New("+861358000000" + string(rune('0'+i))) }

func (w *world) sign(who int, verified Phone, hasPhone bool, tap time.Time) {
	token := w.keys.Sign(Claims{
		Issuer: issuer, AppID: appID, OpenID: user(who), IssuedAt: w.now, AuthTime: w.now,
		Lifetime: 15 * time.Minute, Phone: verified,
	})
	kid := w.keys.All()[0].ID
	if !strings.Contains(string(w.keys.JWKS(w.now)), kid) {
		w.Errorf("a new token's key is not published")
	}
	w.tokens = append(w.tokens, issuedToken{token.Reveal(), kid, who, w.now, hasPhone, tap})
}

// renew presents a token of anybody's as somebody's.
func (w *world) renew() {
	if len(w.tokens) == 0 {
		return
	}
	token, as := w.tokens[w.IntN(len(w.tokens))], w.IntN(3)
	if w.IntN(3) > 0 {
		as = token.user
	}
	got, reason := w.keys.Check(token.text, Expect{issuer, appID, user(as), w.now, renewal})
	want := w.reason(token, as)
	w.reasons[reason]++
	switch {
	case reason != want:
		w.Errorf("got %q, want %q", reason, want)
	case reason != "":
	case !got.Number.Equal(phone(as)) || !got.VerifiedAt.Equal(token.verifiedAt):
		w.Errorf("got another number or %v, want the user's and %v", got.VerifiedAt, token.verifiedAt)
	default:
		w.sign(as, got, true, token.verifiedAt)
	}
}

// reason is what [Keys.Check] must answer, in the contract's order.
func (w *world) reason(token issuedToken, as int) Reason {
	latest := w.now.Add(2 * time.Minute)
	key, ok := w.known[token.kid]
	switch {
	case !ok, !key.Retired.IsZero() && !w.now.Before(key.Retired.Add(31*day)),
		token.issuedAt.After(latest), token.verifiedAt.After(latest):
		return Invalid
	case as != token.user:
		return Foreign
	case !token.hasPhone:
		return NoPhone
	case !w.now.Before(token.verifiedAt.Add(renewal)):
		return Expired
	}
	return ""
}

// tamper presents a token with one character changed.
func (w *world) tamper() {
	if len(w.tokens) == 0 {
		return
	}
	token := w.tokens[w.IntN(len(w.tokens))]
	raw := []byte(token.text)
	raw[w.IntN(len(raw))] ^= 1 << w.IntN(8)
	if _, reason := w.keys.Check(string(raw), Expect{issuer, appID, user(token.user), w.now, renewal}); reason != Invalid {
		w.Errorf("a changed token: got %q, want invalid", reason)
	}
}

func (w *world) rotateKeys() {
	next := w.keys.All()[1]
	_, err := w.apply((*rotation).rotate, w.now)
	if early := w.now.Before(next.Created.Add(day)); early != (err != nil) {
		w.Errorf("too early %v: got error %v", early, err)
	}
	if err != nil {
		if typed, ok := errors.AsType[*Error](err); !ok || !typed.Until.Equal(next.Created.Add(day)) {
			w.Errorf("got error %v, want one until %v", err, next.Created.Add(day))
		}
		return
	}
	for kid, key := range w.known {
		switch {
		case key.Role() == Signing:
			key.Retired = w.now
			w.known[kid] = key
		case key.Role() == Retired && !w.now.Before(key.Retired.Add(31*day)):
			delete(w.known, kid)
		}
	}
	next.SignsFrom = w.now
	w.known[next.ID] = next
	w.reread()
}

// revoke revokes one key, or all of them.
func (w *world) revokeKeys() {
	kid := ""
	if i := w.IntN(len(w.known) + 1); i == len(w.known) {
		w.text = ""
		w.must(w, (*rotation).first, w.now)
	} else {
		kid = w.keys.All()[i].ID
		w.must(w, revoking(kid), w.now)
	}
	next := w.keys.All()[1]
	clear(w.known)
	if kid != "" && kid != next.ID {
		next.SignsFrom = w.now
		w.known[next.ID] = next
	}
	w.reread()
}

// reread reads the changed list. The keys that were known must be as they were, and
// those that are new must not have been there before.
func (w *world) reread() {
	before := w.keys
	w.keys = mustParse(w, w.text)
	all := w.keys.All()
	for _, key := range all {
		if known, ok := w.known[key.ID]; ok && known != key {
			w.Errorf("got the key %+v, want %+v", key, known)
		} else if !ok {
			for _, old := range before.All() {
				if old.ID == key.ID {
					w.Errorf("the key %+v is still there", old)
				}
			}
			w.known[key.ID] = key
		}
	}
	if len(all) != len(w.known) || all[0].Role() != Signing || all[1].Role() != Next {
		w.Errorf("got the keys %+v, want a signing key, a next key, and %d in all", all, len(w.known))
	}
}

func (w *world) step() {
	switch n := w.IntN(20); {
	case n < 3: // a tap
		who := w.IntN(3)
		w.sign(who, Phone{phone(who), w.now}, true, w.now)
	case n < 4: // a login
		w.sign(w.IntN(3), Phone{}, false, time.Time{})
	case n < 12:
		w.renew()
	case n < 13:
		w.tamper()
	case n < 16:
		w.rotateKeys()
	case n < 17 && w.IntN(4) == 0:
		w.revokeKeys()
	case n < 18: // the clock jumps back
		w.now = w.now.Add(-time.Duration(w.IntN(300)) * time.Second)
	default:
		w.now = w.now.Add(time.Duration(w.IntN(5*24*3600)) * time.Second)
	}
}

// At its iat, no token has a number for which no tap of that user vouched in the 30 days
// before, whatever happens to the keys and the clock.
func TestRandomSequences(t *testing.T) {
	rig.Long(t)
	reasons := map[Reason]int{}
	for seed := range uint64(60) {
		w := &world{
			T: t, Rand: rand.New(rand.NewPCG(seed, 19)), operator: *newOperator(t),
			now: now, known: map[string]Key{}, reasons: reasons,
		}
		w.keys = mustParse(t, w.text)
		for _, key := range w.keys.All() {
			w.known[key.ID] = key
		}
		for range 120 {
			w.step()
		}
		for _, token := range w.tokens {
			age := token.issuedAt.Sub(token.verifiedAt)
			if token.hasPhone && (age >= renewal || age < -maxAhead) {
				t.Errorf("seed %d: got a number verified %v before, want less than %v", seed, age, renewal)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	for _, reason := range []Reason{"", Invalid, Foreign, NoPhone, Expired} {
		if reasons[reason] < 20 {
			t.Errorf("got %q %d times, want at least 20", cmp.Or(reason, "renewed"), reasons[reason])
		}
	}
	t.Logf("answers: %v", reasons)
}
