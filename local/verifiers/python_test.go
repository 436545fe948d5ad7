package verifiers

import (
	"os/exec"
	"testing"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

func TestPyJWT(t *testing.T) {
	i := newIssuer(t)
	// Debian's own Python has Debian's package, whatever else is first in PATH.
	program := exec.Command("/usr/bin/python3", "python/verify.py", i.TLS.URL, stage.AppID)
	i.check(t, i.verifier(t, program), forgery.UnusedBits, forgery.Padded, forgery.Standard)
}
