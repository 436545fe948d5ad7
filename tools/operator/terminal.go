package operator

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/term"
)

// ErrUnchanged says that the operator pressed Ctrl-C or did not answer yes.
var ErrUnchanged = errors.New("stopped: the secret has not changed")

// IsTerminal reports whether somebody can answer a question there.
func IsTerminal(file *os.File) bool { return term.IsTerminal(int(file.Fd())) }

// Confirm asks whether to make the change. Without a yes it returns [ErrUnchanged].
func Confirm(terminal *os.File) error {
	return WithTerminal(terminal, func(t *term.Terminal) error {
		t.SetPrompt("Make this change? (y/N) ")
		line, err := t.ReadLine()
		if answer := strings.ToLower(strings.TrimSpace(line)); err != nil || answer != "y" && answer != "yes" {
			return ErrUnchanged
		}
		return nil
	})
}

// WithTerminal calls do in the terminal's raw mode, which shows nothing that is
// typed, even between two questions. In this mode Ctrl-C only ends the input.
func WithTerminal(terminal *os.File, do func(*term.Terminal) error) error {
	fd := int(terminal.Fd())
	before, err := term.MakeRaw(fd)
	if err != nil {
		return err
	}
	defer func() { _ = term.Restore(fd, before) }()
	return do(term.NewTerminal(terminal, ""))
}
