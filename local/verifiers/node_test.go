package verifiers

import (
	"os/exec"
	"testing"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

// node starts node/verify.mjs with a library.
func (i *issuer) node(t *testing.T, library string) func(token string) error {
	t.Helper()
	return i.verifier(t, exec.Command("node", "node/verify.mjs", library, i.TLS.URL, stage.AppID))
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
