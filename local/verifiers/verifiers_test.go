package verifiers

import (
	"encoding/pem"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"wechat-phone/local/forgery"
	"wechat-phone/local/rig"
	"wechat-phone/local/stage"
	"wechat-phone/shared/identity"
)

// issuer is the function on a stage, behind TLS.
type issuer struct {
	*rig.Issuer
	good   string // a token that the function issued after a tap
	forged []forgery.Token
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{Issuer: rig.RaiseIssuer(t, nil)}
	i.good = i.PostPhone(i.TapBoth(rig.NewUser())).Token
	own, err := forgery.Read(i.Secrets.Value(stage.SigningSecretName))
	if err != nil {
		t.Fatal(err)
	}
	i.forged = append(forgery.Tokens(i.good, own, stranger(t), time.Now()), forgery.Respelled(i.good)...)
	return i
}

// stranger has another stack's key.
func stranger(t *testing.T) forgery.Signer {
	t.Helper()
	change, err := identity.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	signer, err := forgery.Read(change.List.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// accepted presents the good token, every forgery, and the good token again. It returns the
// names of the forgeries that verify accepts.
func (i *issuer) accepted(t *testing.T, verify func(token string) error) []string {
	t.Helper()
	if err := verify(i.good); err != nil {
		t.Fatalf("the good token: got %v, want it accepted", err)
	}
	names := map[string]bool{}
	for _, forged := range i.forged {
		if verify(forged.Text) == nil {
			names[forged.Name] = true
		}
	}
	if err := verify(i.good); err != nil {
		t.Errorf("the good token after the forgeries: got %v, want it accepted", err)
	}
	return slices.Sorted(maps.Keys(names))
}

// check compares what else verify accepts besides good tokens. docs/identity.md lists it.
func (i *issuer) check(t *testing.T, verify func(token string) error, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := i.accepted(t, verify); !slices.Equal(got, want) {
		t.Errorf("got these accepted besides good tokens: %q, want %q", got, want)
	}
}

func (i *issuer) keySet() string { return i.TLS.URL + "/.well-known/jwks.json" }

// authority writes the issuer's certificate to a file and returns its name. Apache's
// own user can read it.
func (i *issuer) authority(t *testing.T) string {
	t.Helper()
	file := filepath.Join(publicDir(t), "ca.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.TLS.Certificate().Raw})
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// publicDir is t.TempDir for every user.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "verifiers-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
