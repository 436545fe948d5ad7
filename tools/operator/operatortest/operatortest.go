// Package operatortest runs an operator's command as a process of its own, with a stand-in
// for the SAM CLI, and at a terminal if a test wants one. Linux only.
package operatortest

import (
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wechat-phone/local/rig"
	"wechat-phone/local/secretstest"
)

// asCommand is the variable that turns the test's own executable into the command.
const asCommand = "TEST_COMMAND"

// Main runs the tests, or the command in a process that [Command] has started. A test's
// TestMain calls it.
func Main(m *testing.M, command func()) {
	if os.Getenv(asCommand) != "" {
		command()
		return
	}
	os.Exit(m.Run())
}

// Command returns the command for the environment prod, with a stand-in for the SAM CLI
// that knows one stack with these outputs.
func Command(t *testing.T, secretsURL string, outputs map[string]string, flags ...string) *exec.Cmd {
	t.Helper()
	rig.Long(t) // each call starts a process
	list := []map[string]string{}
	for name, value := range outputs {
		list = append(list, map[string]string{"OutputKey": name, "OutputValue": value, "Description": ""})
	}
	text, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	sam := fmt.Sprintf("#!/bin/sh\n[ \"$*\" = 'list stack-outputs --config-env prod --output json' ] || exit 9\n"+
		"echo '%s'\n", text)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sam"), []byte(sam), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command(os.Args[0], append([]string{"-env", "prod"}, flags...)...)
	c.Env = []string{
		asCommand + "=1", "PATH=" + dir + ":/bin", "AWS_ENDPOINT_URL_SECRETS_MANAGER=" + secretsURL,
		"AWS_ACCESS_KEY_ID=a", "AWS_SECRET_ACCESS_KEY=b", "AWS_MAX_ATTEMPTS=1",
	}
	return c
}

// At returns a fault that answers one call, and lets the others pass.
func At(s *secretstest.Server, operation string, fault http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("X-Amz-Target"), "."+operation) {
			fault(w, r)
			return
		}
		s.Answer(w, r)
	}
}

// StartAtTerminal starts a command at a terminal of its own.
func StartAtTerminal(t *testing.T, command *exec.Cmd) (controller, terminal *os.File) {
	t.Helper()
	controller, terminal = openTerminal(t)
	command.Stdin, command.Stdout, command.Stderr = terminal, terminal, terminal
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	return controller, terminal
}

// Echoes reports whether the terminal shows what is typed.
func Echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// openTerminal opens a Linux pseudo-terminal.
func openTerminal(t *testing.T) (controller, terminal *os.File) {
	t.Helper()
	controller, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = controller.Close() })
	if err := unix.IoctlSetPointerInt(int(controller.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(controller.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = terminal.Close() })
	return controller, terminal
}

// ReadUntil reads until text has arrived, and returns everything that it has read.
func ReadUntil(t *testing.T, from io.Reader, text string) (read string) {
	t.Helper()
	late := time.AfterFunc(time.Minute, func() { panic("timed out waiting for " + text) })
	defer late.Stop()
	buffer := make([]byte, 1024)
	for !strings.Contains(read, text) {
		n, err := from.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		read += string(buffer[:n])
	}
	return read
}
