package verifiers

import (
	"bufio"
	"encoding/json/v2"
	"errors"
	"os"
	"os/exec"
	"testing"

	"wechat-phone/local/forgery"
	"wechat-phone/local/stage"
)

// node starts node/verify.mjs with a library and returns a function that asks it.
func (i *issuer) node(t *testing.T, library string) func(token string) error {
	t.Helper()
	process := exec.Command("node", "node/verify.mjs", library, i.URL, stage.AppID)
	process.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+i.authority(t))
	process.Stderr = os.Stderr
	in, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := process.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := process.Wait(); err != nil {
			t.Errorf("node: got %v, want it to exit well", err)
		}
	})
	answers := bufio.NewScanner(out)
	return func(token string) error {
		line, err := json.Marshal(token)
		if err == nil {
			_, err = in.Write(append(line, '\n'))
		}
		var answer string
		if err != nil || !answers.Scan() || json.Unmarshal(answers.Bytes(), &answer) != nil {
			t.Fatalf("node: got no answer, %v, want one", err)
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
