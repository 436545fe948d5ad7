package verifiers

import (
	"bufio"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// start starts a program that trusts the issuer's certificate. The result sends it a line
// of JSON and returns the line that it answers with.
func (i *issuer) start(t *testing.T, program *exec.Cmd, variables ...string) func(line any) jsontext.Value {
	t.Helper()
	authority := i.authority(t)
	program.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+authority, "SSL_CERT_FILE="+authority)
	program.Env = append(program.Env, variables...)
	program.Stderr = os.Stderr
	in, err := program.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := program.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := program.Wait(); err != nil {
			t.Errorf("%s: got %v, want it to exit without an error", program.Path, err)
		}
	})
	answers := bufio.NewScanner(out)
	return func(line any) jsontext.Value {
		text, err := json.Marshal(line)
		if err == nil {
			_, err = in.Write(append(text, '\n'))
		}
		if err != nil || !answers.Scan() {
			t.Fatalf("%s: got no answer, %v, want one", program.Path, err)
		}
		return answers.Bytes()
	}
}

// verifier starts a program that answers each token with "" or the reason why it refuses
// the token, and returns a function that asks it.
func (i *issuer) verifier(t *testing.T, program *exec.Cmd) func(token string) error {
	t.Helper()
	ask := i.start(t, program)
	return func(token string) error {
		var answer string
		if err := json.Unmarshal(ask(token), &answer); err != nil {
			t.Fatalf("%s: got an answer that is not text, %v, want text", program.Path, err)
		}
		if answer == "" {
			return nil
		}
		return errors.New(answer)
	}
}
