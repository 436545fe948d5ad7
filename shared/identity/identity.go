// Package identity issues tokens that say who a mini-program's user is, and checks
// its own tokens when a user comes back with one.
//
// Call [ParseKeys] first, with the signing secret's text. [Keys.Sign] makes a token,
// [Keys.Check] decides whether an earlier token renews its phone number, and
// [Keys.JWKS] is what others verify with. [ParseIssuer] and [Discovery] need no key.
// [New], [Rotate] and [Revoke] write the secret's text.
//
// It promises:
//
//   - A key's fields decide what the key does, never a clock.
//   - Signing cannot fail if [Keys.Works] has reported true.
//   - Check compares a token's header with each key's and never parses it, so a
//     token cannot choose its algorithm. Each token has one accepted spelling.
//   - Nothing prints a token, a private key, an openid, a unionid or a phone number,
//     and no error repeats its input.
//   - Nothing here does I/O or reads a clock, and nothing but New, Rotate and Revoke
//     uses randomness.
//
// Every type is safe for concurrent use.
package identity

import (
	"encoding/json/v2"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"time"
)

// Error says why the signing keys or the issuer cannot be used, or why the keys cannot be
// changed. It holds no key material and no input, and may be logged.
type Error struct {
	Problem string
	// Until is when [Rotate] will promote the next key, if it is too early now.
	Until time.Time
}

func (e *Error) Error() string {
	if e.Until.IsZero() {
		return "identity: " + e.Problem
	}
	return "identity: " + e.Problem + "; come back at " + e.Until.Format(time.RFC3339)
}

func refuse(problem string) error { return &Error{Problem: problem} }

// ParseIssuer checks TOKEN_ISSUER and returns it unchanged, since verifiers compare
// it byte for byte. It must be an https URL without port, query, fragment and trailing
// slash. On a loopback host it may be http and have a port. Every error is an [*Error].
func ParseIssuer(text string) (string, error) {
	u, err := url.Parse(text)
	// A URL that is spelled in another way than its parts has an escape that is
	// missing, a scheme in capitals or an empty fragment.
	if err != nil || u.String() != text || u.Hostname() == "" || u.User != nil {
		return "", refuse("the issuer is not a plain URL")
	}
	switch loopback := isLoopback(u.Hostname()); {
	case u.Scheme != "https" && !(loopback && u.Scheme == "http"):
		return "", refuse("the issuer must begin with https://")
	case u.Host != u.Hostname() && !loopback, strings.HasSuffix(u.Host, ":"):
		return "", refuse("the issuer must not have a port")
	case u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return "", refuse("the issuer must not have a query or fragment")
	case u.Path != "" && (u.Path == "/" || path.Clean(u.Path) != u.Path):
		return "", refuse("the issuer must not end in a slash or have empty or dotted path segments")
	}
	return text, nil
}

func isLoopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// Discovery returns the OpenID Connect discovery document of an issuer. It leaves out
// authorization_endpoint, which the specification requires: wx.login has no redirect.
func Discovery(issuer string) []byte {
	return marshal(struct {
		Issuer        string   `json:"issuer"`
		KeySet        string   `json:"jwks_uri"`
		ResponseTypes []string `json:"response_types_supported"`
		SubjectTypes  []string `json:"subject_types_supported"`
		Algorithms    []string `json:"id_token_signing_alg_values_supported"`
		Scopes        []string `json:"scopes_supported"`
		Claims        []string `json:"claims_supported"`
	}{
		issuer, issuer + "/.well-known/jwks.json",
		[]string{"id_token"}, []string{"pairwise"}, []string{"RS256"}, []string{"openid", "phone"},
		[]string{
			"iss", "sub", "aud", "client_id", "iat", "exp", "auth_time", "scope", "unionid",
			"phone_number", "phone_number_verified", "phone_number_verified_at",
		},
	})
}

// marshal encodes strings, whole numbers and lists of them, which cannot fail.
func marshal(v any) []byte {
	text, err := json.Marshal(v, allowInvalidUTF8)
	if err != nil {
		panic("identity: a document cannot be encoded")
	}
	return text
}
