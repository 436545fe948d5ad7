package identity

import (
	"crypto/rsa"
	"encoding/json/v2"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// generator returns keys of the pool in turn.
func generator(tb testing.TB) func() *rsa.PrivateKey {
	tb.Helper()
	all, i := pool(), 0
	return func() *rsa.PrivateKey { i++; return all[i%len(all)] }
}

// operator does what an operator does with make key, but with keys of the pool.
type operator struct {
	generate func() *rsa.PrivateKey
	text     string
}

func (o *operator) apply(step func(*rotation) (Change, error), at time.Time) (Change, error) {
	var list []entry
	if o.text != "" {
		var err error
		if list, err = usableList(o.text); err != nil {
			return Change{}, err
		}
	}
	r := newRotation(list, at)
	r.generate = o.generate
	c, err := step(r)
	if err == nil {
		o.text = c.List.Reveal()
	}
	return c, err
}

func (o *operator) must(tb testing.TB, step func(*rotation) (Change, error), at time.Time) Change {
	tb.Helper()
	c, err := o.apply(step, at)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func revoking(kid string) func(*rotation) (Change, error) {
	return func(r *rotation) (Change, error) { return r.revoke(kid) }
}

func newOperator(tb testing.TB) *operator {
	tb.Helper()
	o := &operator{generate: generator(tb)}
	o.must(tb, (*rotation).first, now)
	return o
}

// wantChange compares all but the list itself.
func wantChange(t *testing.T, got, want Change) {
	t.Helper()
	got.List = want.List
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func wantKeys(t *testing.T, text string, want ...Key) {
	t.Helper()
	if got := mustParse(t, text).All(); !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestNewMakesASigningAndANextKey(t *testing.T) {
	got, err := New(now.Add(999 * time.Millisecond).In(time.FixedZone("CST", 8*3600)))
	if err != nil || len(got.Made) != 2 {
		t.Fatalf("got %+v, error %v, want two new keys", got, err)
	}
	wantChange(t, got, Change{Made: got.Made})
	wantKeys(t, got.List.Reveal(),
		Key{ID: got.Made[0], Created: now, SignsFrom: now}, Key{ID: got.Made[1], Created: now})
	again, err := New(now)
	if err != nil || slices.ContainsFunc(again.Made, func(kid string) bool { return slices.Contains(got.Made, kid) }) {
		t.Errorf("the second time: got the kids %v and then %v, error %v, want others", got.Made, again.Made, err)
	}
}

func TestRotate(t *testing.T) {
	o := newOperator(t)
	before := mustParse(t, o.text).All()
	token := mustParse(t, o.text).Sign(claims).Reveal()
	then := now.Add(24 * time.Hour)
	c := o.must(t, (*rotation).rotate, then)
	wantChange(t, c, Change{Promoted: before[1].ID, Retired: before[0].ID, Made: c.Made})
	wantKeys(t, o.text,
		Key{before[1].ID, now, then, time.Time{}},
		Key{ID: c.Made[0], Created: then},
		Key{before[0].ID, now, now, then})

	var raw []map[string]string
	if err := json.Unmarshal([]byte(o.text), &raw); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]string{
		{"created", "kid", "privateKey", "signsFrom"},
		{"created", "kid", "privateKey"},
		{"created", "kid", "publicKey", "retired", "signsFrom"},
	} {
		var got []string
		for name := range raw[i] {
			got = append(got, name)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("key %d: got the fields %v, want %v", i, got, want)
		}
	}
	if _, reason := mustParse(t, o.text).Check(token, expect); reason != "" {
		t.Errorf("a token of the retired key: got %q, want it renewed", reason)
	}
}

func TestRotateTooEarlyChangesNothing(t *testing.T) {
	o := newOperator(t)
	before := o.text
	for _, at := range []time.Time{now, now.Add(-time.Hour), now.Add(24*time.Hour - time.Second)} {
		_, err := o.apply((*rotation).rotate, at)
		typed, ok := errors.AsType[*Error](err)
		if !ok || !typed.Until.Equal(now.Add(24*time.Hour)) || o.text != before {
			t.Errorf("at %v: got error %v, changed %v, want one until a day later", at, err, o.text != before)
		}
		const want = "identity: the next key was created less than 24 hours ago; come back at 2026-03-02T12:00:00Z"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestRotateRepairsAListWithoutANextKey(t *testing.T) {
	o := &operator{generator(t), listText(t, signingEntry(t, rfc7515Key(t)))}
	before := mustParse(t, o.text).All()
	c := o.must(t, (*rotation).rotate, now)
	wantChange(t, c, Change{Made: c.Made})
	wantKeys(t, o.text, before[0], Key{ID: c.Made[0], Created: now})
}

func TestRotateDropsKeysRetired31DaysAgo(t *testing.T) {
	all := pool()
	kept := retiredEntry(t, &all[20].PublicKey, now.Add(-31*day+time.Second))
	old := retiredEntry(t, &all[21].PublicKey, now.Add(-31*day))
	o := &operator{generator(t), listText(t, signingEntry(t, all[22]), nextEntry(t, all[23]), kept, old)}
	c := o.must(t, (*rotation).rotate, now)
	wantChange(t, c, Change{Promoted: thumbprint(&all[23].PublicKey), Retired: thumbprint(&all[22].PublicKey),
		Made: c.Made, Dropped: []string{old.ID}})
	if strings.Contains(o.text, old.ID) || !strings.Contains(o.text, kept.ID) {
		t.Error("got other keys, want the older one gone and the other kept")
	}
}

func TestRotateRefusesAList(t *testing.T) {
	all := pool()
	damaged := withPrivate(nextEntry(t, all[1]), flip(t, nextEntry(t, all[1]), all[1]))
	for name, text := range map[string]string{
		"that is not usable":              "[]",
		"that is empty":                   "",
		"with a next key that is damaged": listText(t, signingEntry(t, all[0]), damaged),
	} {
		got, err := Rotate(text, now)
		if _, ok := errors.AsType[*Error](err); !ok || got.List.Reveal() != "" {
			t.Errorf("%s: got a list %v, error %v, want an *Error", name, got.List.Reveal() != "", err)
		}
	}
}

// history is a list with a key of each age.
func history(t *testing.T) (*operator, []Key) {
	t.Helper()
	o := newOperator(t)
	o.must(t, (*rotation).rotate, now.Add(1*day))
	o.must(t, (*rotation).rotate, now.Add(2*day))
	return o, mustParse(t, o.text).All() // signing, next, and two retired
}

func TestRevoke(t *testing.T) {
	at := now.Add(2*day + time.Hour)
	for i, name := range []string{"the signing key", "the next key", "a retired key", "the oldest key"} {
		o, before := history(t)
		c := o.must(t, revoking(before[i].ID), at)
		want := Change{Made: c.Made, Dropped: []string{before[0].ID, before[2].ID, before[3].ID}}
		if i == 1 {
			want.Dropped = []string{before[0].ID, before[1].ID, before[2].ID, before[3].ID}
			wantKeys(t, o.text, Key{ID: c.Made[0], Created: at, SignsFrom: at}, Key{ID: c.Made[1], Created: at})
		} else {
			want.Promoted = before[1].ID
			wantKeys(t, o.text, Key{before[1].ID, before[1].Created, at, time.Time{}}, Key{ID: c.Made[0], Created: at})
		}
		t.Run(name, func(t *testing.T) { wantChange(t, c, want) })
	}
}

func TestRevokeWithoutANextKey(t *testing.T) {
	o := &operator{generator(t), listText(t, signingEntry(t, rfc7515Key(t)))}
	before := mustParse(t, o.text).All()
	c := o.must(t, revoking(before[0].ID), now)
	wantChange(t, c, Change{Made: c.Made, Dropped: []string{before[0].ID}})
	wantKeys(t, o.text, Key{ID: c.Made[0], Created: now, SignsFrom: now}, Key{ID: c.Made[1], Created: now})
}

func TestRevokeRefusesAnUnknownKid(t *testing.T) {
	text := listText(t, signingEntry(t, rfc7515Key(t)))
	for _, kid := range []string{"", "all", rfc7638Thumbprint} {
		got, err := Revoke(text, kid, now)
		typed, ok := errors.AsType[*Error](err)
		if !ok || typed.Problem != "no key has this kid" || got.List.Reveal() != "" {
			t.Errorf("%q: got error %v, want that no key has it", kid, err)
		}
	}
	if _, err := Revoke("[]", "", now); err == nil {
		t.Error("an unusable list: got no error, want one")
	}
}

// The exported functions, with keys of their own.
func TestRotateAndRevoke(t *testing.T) {
	first, err := New(now)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Rotate(first.List.Reveal(), now.Add(day))
	if err != nil || second.Promoted != first.Made[1] {
		t.Fatalf("got %v promoted, error %v, want %v", second.Promoted, err, first.Made[1])
	}
	third, err := Revoke(second.List.Reveal(), first.Made[0], now.Add(day))
	if err != nil || third.Promoted != second.Made[0] || len(third.Dropped) != 2 {
		t.Fatalf("got %+v, error %v, want %v promoted", third, err, second.Made[0])
	}
}

// A list must fit into Secrets Manager's 64 KiB, and ALB takes ten published keys.
func TestDailyRotationsStayWithinLimits(t *testing.T) {
	o := newOperator(t)
	for i := range 40 {
		at := now.Add(time.Duration(i+1) * day)
		o.must(t, (*rotation).rotate, at)
		keys := mustParse(t, o.text)
		published := strings.Count(string(keys.JWKS(at)), `"kid"`)
		if len(o.text) > 65536 || published > 10 || len(keys.All()) > 33 {
			t.Fatalf("day %d: got %d bytes, %d published, %d keys, want 65536, 10 and 33 at most",
				i, len(o.text), published, len(keys.All()))
		}
	}
}
