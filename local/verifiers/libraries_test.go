package verifiers

import (
	"errors"
	"testing"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/httprc/v3"
	"github.com/lestrrat-go/jwx/v3/jwk"
	jwxt "github.com/lestrrat-go/jwx/v3/jwt"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

func TestGoOIDC(t *testing.T) {
	i := newIssuer(t)
	ctx := oidc.ClientContext(t.Context(), i.TLS.Client())
	provider, err := oidc.NewProvider(ctx, i.TLS.URL)
	if err != nil {
		t.Fatal(err)
	}
	verifier := provider.Verifier(&oidc.Config{ClientID: stage.AppID})
	i.check(t, func(token string) error {
		id, err := verifier.Verify(ctx, token)
		if err == nil && id.IssuedAt.After(time.Now()) { // go-oidc does not check iat
			err = errors.New("issued in the future")
		}
		return err
	}, forgery.UnusedBits, forgery.LineBreak, forgery.Space)
}

func TestGolangJWTWithKeyfunc(t *testing.T) {
	i := newIssuer(t)
	keys, err := keyfunc.NewDefaultOverrideCtx(t.Context(), []string{i.keySet()}, keyfunc.Override{Client: i.TLS.Client()})
	if err != nil {
		t.Fatal(err)
	}
	options := []jwt.ParserOption{
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(i.TLS.URL), jwt.WithAudience(stage.AppID),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), // golang-jwt requires exp and checks iat only if told
	}
	for _, parser := range []struct {
		*jwt.Parser
		accepts []string
	}{
		{jwt.NewParser(options...), []string{forgery.UnusedBits, forgery.LineBreak}},
		{jwt.NewParser(append(options, jwt.WithStrictDecoding())...), []string{forgery.LineBreak}},
	} {
		i.check(t, func(token string) error {
			_, err := parser.Parse(token, keys.Keyfunc)
			return err
		}, parser.accepts...)
	}
}

func TestJWX(t *testing.T) {
	i := newIssuer(t)
	cache, err := jwk.NewCache(t.Context(), httprc.NewClient())
	if err != nil {
		t.Fatal(err)
	}
	if err := cache.Register(t.Context(), i.keySet(), jwk.WithHTTPClient(i.TLS.Client())); err != nil {
		t.Fatal(err)
	}
	set, err := cache.CachedSet(i.keySet())
	if err != nil {
		t.Fatal(err)
	}
	i.check(t, func(token string) error {
		_, err := jwxt.Parse([]byte(token), jwxt.WithKeySet(set), jwxt.WithIssuer(i.TLS.URL), jwxt.WithAudience(stage.AppID),
			jwxt.WithRequiredClaim("exp")) // jwx requires it only if told
		return err
	}, forgery.UnusedBits, forgery.Padded, forgery.Standard, forgery.LineBreak, forgery.Space)
}
