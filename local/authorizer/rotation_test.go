package authorizer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"

	"wechat-phone/local/forgery"
	"wechat-phone/local/rig"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/redacted"
	"wechat-phone/shared/signingkeys"
)

const (
	day      = 24 * time.Hour
	lifetime = day // of a token: the longest that TOKEN_LIFETIME allows
)

// world is a deployment with its users and consumers. It runs in simulated time.
type world struct {
	t         *testing.T
	verifiers []*Authorizer
	processes []*process
	asked     atomic.Int64
	running   sync.WaitGroup

	mu      sync.Mutex
	secret  string
	away    bool                 // Secrets Manager does not answer
	revoked map[string]time.Time // by kid
	end     time.Time

	logins, verified, refused, outlived, taps, excusedTaps atomic.Int64
}

// process is one of the function's processes. Its Store rereads the keys as in production.
type process struct {
	store atomic.Pointer[signingkeys.Store]
}

// GetSecretValue makes the world the processes' Secrets Manager.
func (w *world) GetSecretValue(
	_ context.Context, _ *secretsmanager.GetSecretValueInput, _ ...func(*secretsmanager.Options),
) (*secretsmanager.GetSecretValueOutput, error) {
	w.mu.Lock()
	text, away := w.secret, w.away
	w.mu.Unlock()
	if away {
		return nil, errors.New("connection refused")
	}
	return &secretsmanager.GetSecretValueOutput{SecretString: &text}, nil
}

// restart replaces a process with a new one, if the new one can read the keys.
func (w *world) restart(p *process) {
	store := signingkeys.New(w, "signing", time.Now)
	if store.Load() == nil {
		p.store.Store(store)
	}
}

// keys asks the next process for its keys, as a request does. It returns nil if there are
// none.
func (w *world) keys() *identity.Keys {
	p := w.processes[int(w.asked.Add(1))%len(w.processes)]
	keys, err := p.store.Load().Get(context.Background())
	if err != nil {
		w.t.Errorf("got no keys: %v, want some", err)
	}
	return keys
}

// change changes the keys as the operator does.
func (w *world) change(do func(text string, now time.Time) (identity.Change, error)) identity.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	change, err := do(w.secret, time.Now())
	if err != nil {
		w.t.Errorf("a change of the keys: got %v, want success", err)
		return change
	}
	w.secret = change.List.Reveal()
	keys, err := identity.ParseKeys(w.secret)
	if err != nil {
		w.t.Errorf("the new keys: got %v, want a usable list", err)
		return change
	}
	if n := strings.Count(string(keys.JWKS(time.Now())), `"kid"`); n > 4 { // an ALB accepts ten
		w.t.Errorf("got %d keys published, want at most 4", n)
	}
	return change
}

// present shows a token to every verifier.
func (w *world) present(i issued) {
	at := w.revokedAt(i.kid)
	for _, verifier := range w.verifiers {
		accepted := ask(verifier, i.token, "/").Code == http.StatusOK
		switch {
		case accepted && !at.IsZero() && time.Since(at) > published.cache:
			w.outlived.Add(1)
		case !accepted && at.IsZero():
			w.refused.Add(1)
		default:
			w.verified.Add(1)
		}
	}
}

// issued is a token and the key that signed it.
type issued struct{ token, kid string }

// user comes back again and again, after minutes or days, with the last token.
func (w *world) user(random *rand.Rand, name string) {
	var last issued
	for {
		time.Sleep(pause(random))
		if time.Now().After(w.end) {
			return
		}
		keys := w.keys()
		if keys == nil {
			continue
		}
		latest := w.login(keys, name, last)
		later := time.Duration(random.Int64N(int64(lifetime - time.Second)))
		w.running.Go(func() { w.presentAgain(latest, later) })
		last = latest
	}
}

// login issues a token, and presents it. If the last one renews no number, the user taps.
func (w *world) login(keys *identity.Keys, name string, last issued) issued {
	w.logins.Add(1)
	c := claims(time.Now())
	c.OpenID, c.Lifetime = redacted.New(name), lifetime
	if last.token != "" {
		if phone, renewed := w.renew(keys, last.token, name); renewed {
			c.Phone = phone
		} else if w.revokedAt(last.kid).IsZero() {
			w.taps.Add(1)
		} else {
			w.excusedTaps.Add(1)
		}
	}
	latest := issued{keys.Sign(c).Reveal(), keys.All()[0].ID}
	w.present(latest)
	return latest
}

// renew returns the phone number that a token renews.
func (w *world) renew(keys *identity.Keys, token, name string) (identity.Phone, bool) {
	phone, reason := keys.Check(token, identity.Expect{
		Issuer: issuer, AppID: appID, OpenID: redacted.New(name), Now: time.Now(), Renewal: 30 * day,
	})
	return phone, reason == ""
}

// revokedAt returns the zero time if the key is not revoked.
func (w *world) revokedAt(kid string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.revoked[kid]
}

// presentAgain presents a token at some time of its life, and in its last second.
func (w *world) presentAgain(i issued, later time.Duration) {
	time.Sleep(later)
	w.present(i)
	time.Sleep(lifetime - time.Second - later)
	w.present(i)
}

// pause is a number of whole minutes, so that several users come at the same moment.
func pause(random *rand.Rand) time.Duration {
	if random.IntN(3) == 0 {
		return day + time.Duration(random.IntN(5*24*60))*time.Minute
	}
	return time.Duration(1+random.IntN(12*6)) * 10 * time.Minute
}

// thief has a leaked key and makes tokens with it until the end.
func (w *world) thief(key forgery.Signer, kid, token string) {
	for ; time.Now().Before(w.end); time.Sleep(10 * time.Minute) {
		forged := key.With(token, nil, forgery.Fields{"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
		w.present(issued{forged, kid})
		keys := w.keys()
		if keys == nil {
			continue
		}
		if _, renewed := w.renew(keys, forged, openID); renewed && !w.revokedAt(kid).IsZero() {
			w.outlived.Add(1)
		}
	}
}

// raise starts a world whose verifiers cache the keys for that time.
func raise(t *testing.T, days, users int, cache time.Duration) *world {
	time.Sleep(time.Second / 2) // the rules about iat permit no token at exactly its iat
	w := &world{t: t, revoked: map[string]time.Time{}, end: time.Now().Add(time.Duration(days) * day)}
	w.change(func(_ string, now time.Time) (identity.Change, error) { return identity.New(now) })
	for range 4 {
		w.processes = append(w.processes, &process{})
		w.restart(w.processes[len(w.processes)-1])
		time.Sleep(13 * time.Minute)
	}
	for range 3 {
		a := create(t, Config{
			Issuer: issuer, Audience: []string{appID}, Scopes: []string{"phone"}, Consumer: phonebook,
			Now: time.Now, Transport: direct{&documents{keys: w.keys}},
		})
		a.limits.cache = cache
		w.verifiers = append(w.verifiers, a)
		time.Sleep(41 * time.Minute)
	}
	for i := range users {
		random := rand.New(rand.NewPCG(1, uint64(i)))
		w.running.Go(func() { w.user(random, fmt.Sprint("o", i)) })
	}
	w.running.Go(w.tick)
	return w
}

// tick gives every process a request every minute, and replaces one of two every five
// hours, but not while Secrets Manager is away.
func (w *world) tick() {
	for i := 0; time.Now().Before(w.end); i++ {
		time.Sleep(time.Minute)
		for range w.processes {
			w.keys()
		}
		w.mu.Lock()
		away := w.away
		w.mu.Unlock()
		if i%300 == 299 && !away {
			w.restart(w.processes[i/300%2])
		}
	}
}

// revoke drops the key that signs, and restarts all processes, as make restart does.
func (w *world) revoke() {
	w.mu.Lock()
	keys, err := identity.ParseKeys(w.secret)
	stolen, err2 := forgery.Read(w.secret)
	w.mu.Unlock()
	if err := errors.Join(err, err2); err != nil {
		w.t.Fatal(err)
	}
	c := claims(time.Now())
	kid, token := keys.All()[0].ID, keys.Sign(c).Reveal()
	w.running.Go(func() { w.thief(stolen, kid, token) })
	time.Sleep(time.Hour + 17*time.Second) // nobody else does anything at that moment
	change := w.change(func(text string, now time.Time) (identity.Change, error) {
		return identity.Revoke(text, kid, now)
	})
	w.mu.Lock()
	for _, dropped := range change.Dropped {
		w.revoked[dropped] = time.Now()
	}
	w.mu.Unlock()
	for _, p := range w.processes {
		w.restart(p)
	}
}

func (w *world) setAway(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

// A rotation every day, a revocation between two of them, and then, right after a rotation,
// six hours without Secrets Manager.
func TestTenDaysOfRotation(t *testing.T) {
	t.Parallel()
	rig.Long(t)
	synctest.Test(t, func(t *testing.T) {
		const users = 300
		w := raise(t, 10, users, published.cache)
		for n := 1; n <= 9; n++ {
			time.Sleep(day)
			switch w.change(identity.Rotate); n {
			case 5:
				time.Sleep(11 * time.Hour)
				w.revoke()
			case 7:
				w.setAway(true)
				time.AfterFunc(6*time.Hour, func() { w.setAway(false) })
			}
		}
		w.running.Wait()
		if w.refused.Load() != 0 || w.outlived.Load() != 0 || w.taps.Load() != 0 {
			t.Errorf("got %d good tokens refused, %d of a revoked key accepted, %d renewals refused, want none",
				w.refused.Load(), w.outlived.Load(), w.taps.Load())
		}
		if n := w.excusedTaps.Load(); n == 0 || n > users || w.logins.Load() < 5*users {
			t.Errorf("got %d logins and %d taps after the revocation, want at least %d and at most one a user",
				w.logins.Load(), n, 5*users)
		}
		t.Logf("%d logins, %d verifications, %d taps after the revocation",
			w.logins.Load(), w.verified.Load(), w.excusedTaps.Load())
	})
}

// Verifiers that keep the keys for longer than AWS says refuse good tokens, and accept a
// revoked key's for too long.
func TestRotationIsNotForVerifiersThatCacheForDays(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := raise(t, 3, 30, 3*day)
		time.Sleep(day)
		w.revoke()
		time.Sleep(day)
		w.change(identity.Rotate)
		w.running.Wait()
		if w.refused.Load() == 0 || w.outlived.Load() == 0 {
			t.Errorf("got %d good tokens refused, %d of a revoked key accepted, want some of both",
				w.refused.Load(), w.outlived.Load())
		}
	})
}
