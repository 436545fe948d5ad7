package identity

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json/v2"
	"slices"
	"time"

	"wechat-phone/shared/redacted"
)

// publishBefore is how long a key is published before it signs. By then every verifier
// and every process knows it.
const publishBefore = 24 * time.Hour

// Change is a new list of keys, and what is new about it. A field is empty if no key
// changed in that way.
type Change struct {
	List     redacted.Value // the signing secret's new text
	Promoted string         // the kid of the key that signs from now on, if it was next
	Retired  string         // the kid of the key that signed until now
	Made     []string       // the kids of the new keys
	Dropped  []string       // the kids that the new list no longer has
}

// New returns the first list: a key that signs and a next key. It is also how to revoke
// all keys.
func New(now time.Time) (Change, error) { return newRotation(nil, now).first() }

// Rotate promotes the next key, retires the one that signed, makes a new next key, and
// drops the keys retired more than 31 days ago. It changes nothing if the next key
// was created less than 24 hours ago; the error's Until then says when to come back. If
// the list has no next key, Rotate makes one and promotes none. Every error is an
// [*Error].
func Rotate(text string, now time.Time) (Change, error) {
	list, err := usableList(text)
	if err != nil {
		return Change{}, err
	}
	return newRotation(list, now).rotate()
}

// Revoke drops the key with that kid and every key that has ever signed: whoever holds a
// leaked key could have renewed a forged number into a token that another key signed.
// It promotes the next key, or a fresh one if kid is the next key's, and makes a new
// next key. Every error is an [*Error].
func Revoke(text, kid string, now time.Time) (Change, error) {
	list, err := usableList(text)
	if err != nil {
		return Change{}, err
	}
	return newRotation(list, now).revoke(kid)
}

func usableList(text string) ([]entry, error) {
	if _, err := ParseKeys(text); err != nil {
		return nil, err
	}
	return parseList(text)
}

// rotation is a list that is being changed.
type rotation struct {
	list     []entry
	now      time.Time
	generate func() *rsa.PrivateKey
	change   Change
}

func newRotation(list []entry, now time.Time) *rotation {
	return &rotation{list: list, now: now.UTC().Truncate(time.Second), generate: generateKey}
}

func generateKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, minBits)
	if err != nil {
		panic("identity: no key can be generated")
	}
	return key
}

func (r *rotation) first() (Change, error) {
	r.make().SignsFrom = r.now
	r.make()
	return r.finish()
}

func (r *rotation) rotate() (Change, error) {
	next := r.find(Next)
	if next != nil {
		if until := next.Created.Add(publishBefore); r.now.Before(until) {
			return Change{}, &Error{"the next key was created less than 24 hours ago", until}
		}
		r.retire(r.find(Signing))
		r.promote(next)
	}
	r.drop(func(e entry) bool { return !e.keptAt(r.now) })
	r.make()
	return r.finish()
}

func (r *rotation) revoke(kid string) (Change, error) {
	if !slices.ContainsFunc(r.list, func(e entry) bool { return e.ID == kid }) {
		return Change{}, refuse("no key has this kid")
	}
	r.drop(func(e entry) bool { return e.ID == kid || e.Role() != Next })
	if next := r.find(Next); next != nil {
		r.promote(next)
	} else {
		r.make().SignsFrom = r.now
	}
	r.make()
	return r.finish()
}

func (r *rotation) find(role Role) *entry {
	for i := range r.list {
		if r.list[i].Role() == role {
			return &r.list[i]
		}
	}
	return nil
}

func (r *rotation) promote(next *entry) {
	next.SignsFrom = r.now
	r.change.Promoted = next.ID
}

// retire replaces the private key by the public key, so that it never signs again.
func (r *rotation) retire(signing *entry) {
	der, err := x509.MarshalPKIXPublicKey(publicPart(signing.PrivateKey.Reveal()))
	if err != nil {
		panic("identity: a public key cannot be encoded")
	}
	signing.Retired, signing.PublicKey, signing.PrivateKey = r.now, der, privateDER{}
	r.change.Retired = signing.ID
}

func (r *rotation) drop(which func(entry) bool) {
	r.list = slices.DeleteFunc(r.list, func(e entry) bool {
		if which(e) {
			r.change.Dropped = append(r.change.Dropped, e.ID)
		}
		return which(e)
	})
}

// make adds a new next key. The pointer is good until the list changes.
func (r *rotation) make() *entry {
	key := r.generate()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic("identity: a new key cannot be encoded")
	}
	id := describe(key.PublicKey).ID
	r.list = append(r.list, entry{Key{ID: id, Created: r.now}, privateDER{redacted.New(string(der))}, nil})
	r.change.Made = append(r.change.Made, id)
	return &r.list[len(r.list)-1]
}

// finish encodes the list. A list that is not usable is an error: the next key may be
// damaged, which [ParseKeys] sees only once it signs.
func (r *rotation) finish() (Change, error) {
	slices.SortStableFunc(r.list, func(a, b entry) int { return a.compare(b.Key) })
	text, err := json.Marshal(r.list)
	if err != nil {
		return Change{}, refuse("the new list cannot be encoded")
	}
	keys, err := ParseKeys(string(text))
	if err != nil {
		return Change{}, err
	}
	if !keys.Works() {
		return Change{}, refuse("the signing key cannot sign")
	}
	r.change.List = redacted.New(string(text))
	return r.change, nil
}
