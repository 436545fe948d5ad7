package verifiers

import (
	"encoding/json/v2"
	"errors"
	"os/exec"
	"testing"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

// node starts node/verify.mjs with a library and returns a function that asks it.
func (i *issuer) node(t *testing.T, library string) func(token string) error {
	t.Helper()
	ask := i.start(t, exec.Command("node", "node/verify.mjs", library, i.TLS.URL, stage.AppID))
	return func(token string) error {
		var answer string
		if err := json.Unmarshal(ask(token), &answer); err != nil {
			t.Fatalf("node: got an answer that is not text, %v, want text", err)
		}
		if answer == "" {
			return nil
		}
		return errors.New(answer)
	}
}

func TestJose(t *testing.T) {
	i := newIssuer(t)
	i.check(t, i.node(t, "jose"),
		forgery.UnusedBits, forgery.Padded, forgery.Standard, forgery.LineBreak, forgery.Space)
}

func TestAWSJWTVerify(t *testing.T) {
	i := newIssuer(t)
	i.check(t, i.node(t, "aws-jwt-verify"), forgery.UnusedBits, forgery.Padded, forgery.NoExpiry)
}
