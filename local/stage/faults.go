package stage

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"wechat-phone/local/wechattest"
)

// slow is how long a slow WeChat takes. It is less than WECHAT_TIMEOUT.
const slow = 2 * time.Second

// injections inject the faults, by name.
var injections = map[string]func(*Stage) error{
	"none": func(*Stage) error { return nil },

	"busy":   script(wechattest.Refuse(-1, "system error"), wechattest.LoginPath),
	"hangup": script(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, wechattest.LoginPath),
	"down": func(s *Stage) error {
		return s.Function.Restart("WECHAT_API_BASE_URL=http://127.0.0.1:1") // nothing listens there
	},
	"slow": func(s *Stage) error {
		return script(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(slow)
			s.WeChat.Unscripted(w, r)
		}, wechattest.LoginPath)(s)
	},

	"used":    script(wechattest.Refuse(40163, "code been used"), wechattest.LoginPath),
	"expired": script(wechattest.Refuse(40029, "invalid code"), wechattest.LoginPath),
	"foreign": script(wechattest.Refuse(40029, "invalid code"), wechattest.LoginPath), // the Referer tells them apart

	"wrong": (*Stage).resetAppSecrets,
	"rotated": func(s *Stage) error {
		s.Secrets.Put(SecretName, Secrets(map[string]string{AppID: afterReset, SecondAppID: afterReset}))
		return s.resetAppSecrets()
	},
	"missing": func(s *Stage) error { return s.withoutSecret(SecretName) },
	"key":     func(s *Stage) error { return s.withoutSecret(SigningSecretName) },
	"whitelist": script(wechattest.Refuse(40164, "invalid ip 192.0.2.1, not in whitelist"),
		wechattest.TokenPath, wechattest.LoginPath),
	"quota": script(wechattest.Refuse(45009, "reach max api daily quota limit"), wechattest.LoginPath),
	"token": func(s *Stage) error {
		return script(func(w http.ResponseWriter, r *http.Request) {
			s.WeChat.Script(wechattest.PhonePath, nil)
			s.WeChat.EndToken()
			s.WeChat.Unscripted(w, r)
		}, wechattest.PhonePath)(s)
	},
	"frozen": func(s *Stage) error {
		err := s.Function.Signal(syscall.SIGSTOP)
		for connection := range s.upstream.Range {
			_ = connection.(net.Conn).Close()
		}
		s.upstream.Clear()
		return err
	},
}

// connections are a server's open connections, each a net.Conn. An http.Server can close
// idle ones itself, but not those that nothing has been sent on.
type connections struct{ sync.Map }

// track is a server's ConnState.
func (c *connections) track(connection net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.Store(connection, true)
	case http.StateClosed:
		c.Delete(connection)
	}
}

// Faults returns the names of the faults, for [Stage.Inject].
func Faults() []string { return slices.Sorted(maps.Keys(injections)) }

// faults keeps what a fault changes.
type faults struct {
	mu      sync.Mutex
	secrets map[string]string // before the first fault, by name
}

// Inject ends the fault that is in effect, restarts the function, and injects another
// fault. The fault "none" changes nothing more. The stage must have several
// mini-programs, tokens and the mock WeChat.
func (s *Stage) Inject(fault string) error {
	inject := injections[fault]
	if inject == nil {
		return fmt.Errorf("no fault is named %q", fault)
	}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if s.faults.secrets == nil {
		s.faults.secrets = map[string]string{
			SecretName: s.Secrets.Value(SecretName), SigningSecretName: s.Secrets.Value(SigningSecretName),
		}
	}
	for name, text := range s.faults.secrets {
		s.Secrets.Put(name, text)
	}
	s.setAppSecrets(AppSecret)
	_ = script(nil, wechattest.LoginPath, wechattest.TokenPath, wechattest.PhonePath)(s)
	if err := s.Function.Restart(); err != nil {
		return err
	}
	return inject(s)
}

// script makes WeChat answer all calls to some APIs.
func script(answer http.HandlerFunc, paths ...string) func(*Stage) error {
	return func(s *Stage) error {
		for _, path := range paths {
			s.WeChat.Script(path, answer)
		}
		return nil
	}
}

const afterReset = AppSecret + "-reset"

func (s *Stage) setAppSecrets(secret string) {
	s.WeChat.SetAppSecret(AppID, secret)
	s.WeChat.SetAppSecret(SecondAppID, secret)
}

func (s *Stage) resetAppSecrets() error {
	s.setAppSecrets(afterReset)
	return nil
}

// withoutSecret deletes a secret and restarts the function: a process that has read the
// secret would not notice.
func (s *Stage) withoutSecret(name string) error {
	s.Secrets.Delete(name)
	return s.Function.Restart()
}
