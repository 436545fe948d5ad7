package checks

import (
	"encoding/json/v2"
	"strings"
	"testing"
	"time"

	"wechat-phone/local/hostile"
	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
	"wechat-phone/local/stage"
	"wechat-phone/shared/identity"
)

const (
	issuer        = "https://phone.example.com"
	signingSecret = "SigningSecret" // the template's; its reference resolves to the name
)

// raiseWithTokens is [rig.Raise] with tokens on.
func raiseWithTokens(t *testing.T, variables ...string) *rig.Rig {
	t.Helper()
	return rig.Raise(t, func(c *stage.Config) {
		c.Tokens, c.Env = true, append(variables, "TOKEN_ISSUER="+issuer)
	})
}

// makeKey does what the first make key does.
func makeKey(t *testing.T, secrets *secretstest.Server) {
	t.Helper()
	first, err := identity.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	secrets.Put(signingSecret, first.List.Reveal())
}

// postLogin logs a new user in at r's mock WeChat and posts the code, and the token if
// it is not empty, to /login of at.
func postLogin(at, r *rig.Rig, token string) rig.Answer {
	return at.Send("POST", "/login", "application/json", loginBody(r.Login(rig.NewUser()), token))
}

func loginBody(code, token string) string {
	body := map[string]string{"code": code}
	if token != "" {
		body["token"] = token
	}
	return hostile.JSON(body)
}

// tokenOf returns an answer's token, or "".
func tokenOf(got rig.Answer) string {
	var answer struct {
		Token string `json:"token"`
	}
	_ = json.Unmarshal([]byte(got.Body), &answer) // rig has checked that it is JSON
	return answer.Token
}

// deployVersion starts a version of the function as a stack with these parameters
// would, beside the other versions that use first's WeChat and Secrets Manager. first
// is nil for the first version.
func deployVersion(t *testing.T, first *rig.Rig, values map[string]string) *rig.Rig {
	t.Helper()
	var variables []string
	for name, value := range readTemplate(t).deploy(t, values).environment() {
		switch name {
		case "WECHAT_SECRET_ID", "WECHAT_API_BASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER":
			continue // the stage's
		}
		variables = append(variables, name+"="+value)
	}
	return rig.Raise(t, func(c *stage.Config) {
		c.Env = variables
		if first != nil {
			c.WeChatURL = first.WeChatURL
			c.Env = append(c.Env, "AWS_ENDPOINT_URL_SECRETS_MANAGER="+first.SecretsURL)
		}
	})
}

// The runbook says in which order tokens are turned on. While a canary runs,
// both versions serve requests.
func TestTurningTokensOnInOrderMisconfiguresNobody(t *testing.T) {
	t.Parallel()
	before := deployVersion(t, nil, nil)
	before.Secrets.Create(signingSecret)
	check := func(step string, version *rig.Rig, on bool) {
		t.Helper()
		documents := 404
		if on {
			documents = 200
		}
		tap := before.TapBoth(rig.NewUser())
		for name, answer := range map[string]rig.Answer{
			"a tap":   version.Send("POST", "/phone", "application/json", hostile.JSON(tap)),
			"a login": postLogin(version, before, ""), "a renewal": postLogin(version, before, "made-up"),
		} {
			if token := tokenOf(answer); answer.Status != 200 || (token != "") != on {
				t.Errorf("%s, %s: got status %d %s, a token: %v, want 200, a token: %v",
					step, name, answer.Status, answer.Error, token != "", on)
			}
		}
		for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/jwks.json"} {
			if got := version.Send("GET", path, "", ""); got.Status != documents {
				t.Errorf("%s, %s: got status %d %s, want %d", step, path, got.Status, got.Error, documents)
			}
		}
	}
	check("deployed", before, false)
	makeKey(t, before.Secrets)
	check("keys made", before, false)
	after := deployVersion(t, before, optional["tokens"])
	check("issuer set, the old version", before, false)
	check("issuer set, the new version", after, true)
	check("afterwards, the old version", before, false)
}

// In the other order, the alarm rolls the canary back: see
// TestAlarmsCountTheirOwnLinesOnly.
func TestTurningTokensOnWithoutKeysIsMisconfigured(t *testing.T) {
	t.Parallel()
	r := deployVersion(t, nil, optional["tokens"])
	r.Secrets.Create(signingSecret)
	for name, answer := range map[string]rig.Answer{
		"a login": postLogin(r, r, ""), "the key set": r.Send("GET", "/.well-known/jwks.json", "", ""),
	} {
		if answer.Error != "misconfigured" {
			t.Errorf("%s: got status %d %s, want misconfigured", name, answer.Status, answer.Error)
		}
	}
}

// Verifiers and pages come after the canary that turns tokens on.
func TestRunbookSaysInWhichOrderTokensAreTurnedOn(t *testing.T) {
	text := oneLine(runbook(t)["Identity tokens"]["Turning tokens on"])
	for _, step := range []string{
		"extend CloudFormation's role", "`make deploy ENV=prod` with an empty `TokenIssuer`", "canary has ended",
		"`make key ENV=prod`", "TokenIssuer=https://", "`make deploy ENV=prod`", "canary has ended", "`make smoke URL=…`",
		"Release the pages", "Deploy token consumers only now",
	} {
		_, rest, ok := strings.Cut(text, step)
		if !ok {
			t.Fatalf("got no %q in its place, want it before:\n%s", step, text)
		}
		text = rest
	}
}

// docs/identity.md explains the claims that a token may have.
func TestIdentityPageHasEveryClaim(t *testing.T) {
	var discovery struct {
		Claims []string `json:"claims_supported"`
	}
	if err := json.Unmarshal(identity.Discovery(issuer), &discovery); err != nil {
		t.Fatal(err)
	}
	const page = "docs/identity.md"
	wantNames(t, page, keys(table(t, page, "What a token says")), discovery.Claims)
}
