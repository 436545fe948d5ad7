package verifiers

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"wechat-phone/local/forgery"
	"wechat-phone/shared/identity"
	"wechat-phone/shared/redacted"
)

const appID = "wx0123456789abcdef"

// issuer serves the two documents over TLS. Good is a token of its stack.
type issuer struct {
	*httptest.Server
	keys    *identity.Keys
	good    string
	forged  []forgery.Token
	fetches atomic.Int32 // of the key set
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	now := time.Now()
	keys, own := stack(t, now)
	_, stranger := stack(t, now)
	i := &issuer{keys: keys}
	i.Server = httptest.NewTLSServer(i)
	t.Cleanup(i.Close)
	i.good = keys.Sign(identity.Claims{
		Issuer: i.URL, AppID: appID, OpenID: redacted.New("oGZUI0egBJY1zhBYw2KhdUfwVJJE"),
		IssuedAt: now, Lifetime: 15 * time.Minute, AuthTime: now,
		Phone: identity.Phone{Number: redacted.New("+8613580006666"), VerifiedAt: now},
	}).Reveal()
	i.forged = append(forgery.Tokens(i.good, own, stranger, now), forgery.Respelled(i.good)...)
	return i
}

func stack(t *testing.T, now time.Time) (*identity.Keys, forgery.Signer) {
	t.Helper()
	change, err := identity.New(now)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := identity.ParseKeys(change.List.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := forgery.Read(change.List.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return keys, signer
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		_, _ = w.Write(identity.Discovery(i.URL))
	case "/.well-known/jwks.json":
		i.fetches.Add(1)
		_, _ = w.Write(i.keys.JWKS(time.Now()))
	default:
		http.NotFound(w, r)
	}
}

// check presents the good token, every forgery, and the good token again. It must accept
// exactly the forgeries that are in accepts.
func (i *issuer) check(t *testing.T, verify func(token string) error, accepts ...string) {
	t.Helper()
	if err := verify(i.good); err != nil {
		t.Fatalf("the good token: got %v, want it accepted", err)
	}
	i.fetches.Store(0)
	accepted := map[string]bool{}
	for _, forged := range i.forged {
		if verify(forged.Text) != nil {
			continue
		}
		if accepted[forged.Name] = true; !slices.Contains(accepts, forged.Name) {
			t.Errorf("%s: got it accepted, want it refused", forged.Name)
		}
	}
	for _, name := range accepts {
		if !accepted[name] {
			t.Errorf("%s: got it refused, want it accepted, as the documents say", name)
		}
	}
	if err := verify(i.good); err != nil {
		t.Errorf("the good token after all: got %v, want it accepted", err)
	}
	t.Logf("%d tokens, %d fetches of the key set", len(i.forged), i.fetches.Load())
}

func (i *issuer) keySet() string { return i.URL + "/.well-known/jwks.json" }

// authority writes the issuer's certificate to a file and returns its name. Apache's
// own user can read it.
func (i *issuer) authority(t *testing.T) string {
	t.Helper()
	file := filepath.Join(publicDir(t), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o644); err != nil { // #nosec G306 -- it is public
		t.Fatal(err)
	}
	return file
}

// publicDir is t.TempDir for every user.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "verifiers-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // #nosec G302 -- it is public
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
