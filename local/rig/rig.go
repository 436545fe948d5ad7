// Package rig is for tests that run the compiled function. Call [Main] from
// TestMain, and [Raise] in a test.
//
// A [Rig] is a stage with the function on it. It checks what every test expects:
// the function writes JSON lines only and reports no failure to Lambda, and
// nothing that [hostile.Leak] finds is in a line or an answer. Only the success
// that a user gets may hold that user's data.
package rig

import (
	"os"
	"os/exec"
	"sync"
	"testing"

	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// bootstrapVariable names the compiled function. [stage.Bootstrap] reads it too.
const bootstrapVariable = "BOOTSTRAP"

// Main compiles the function once for the whole test process, runs the tests and
// exits. It compiles nothing if the variable BOOTSTRAP names the function.
func Main(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wechat-phone-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bootstrap, err := stage.Bootstrap(dir)
	if err != nil {
		panic(err)
	}
	if err := os.Setenv(bootstrapVariable, bootstrap); err != nil {
		panic(err)
	}
	return m.Run()
}

// Bootstrap returns the path of the compiled function.
func Bootstrap(t testing.TB) string {
	t.Helper()
	bootstrap := os.Getenv(bootstrapVariable)
	if bootstrap == "" {
		t.Fatal("TestMain must call rig.Main")
	}
	return bootstrap
}

// Rig is a stage with the compiled function on it. Its methods may be called
// concurrently.
type Rig struct {
	*stage.Stage
	Logs *Logs

	t      testing.TB
	mu     sync.Mutex
	owners map[string]wechattest.User // by code of either kind
}

// Raise raises a stage, which edit may change. It closes the stage at the end of
// the test.
func Raise(t testing.TB, edit func(*stage.Config)) *Rig {
	t.Helper()
	r := &Rig{t: t, Logs: &Logs{}, owners: map[string]wechattest.User{}}
	config := stage.Config{Bootstrap: Bootstrap(t), Logs: r.Logs}
	if edit != nil {
		edit(&config)
	}
	s, err := stage.Raise(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Stage = s
	t.Cleanup(func() {
		s.Close()
		r.Logs.Check(t)
	})
	return r
}

// Env is an edit for [Raise] that only sets variables, each as NAME=value.
func Env(variables ...string) func(*stage.Config) {
	return func(c *stage.Config) { c.Env = variables }
}

// RunToExit runs the function without a stage or a Runtime API, with variables as
// NAME=value, until it exits. It returns the exit code and what the function
// wrote.
func RunToExit(t testing.TB, variables ...string) (code int, written string) {
	t.Helper()
	var logs Logs
	process := exec.Command(Bootstrap(t)) // #nosec G204 -- the function under test
	process.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_LAMBDA_LOG_FORMAT=JSON", "AWS_REGION=us-east-1", "WECHAT_SECRET_ID=a",
	}, variables...)
	process.Stdout, process.Stderr = &logs, &logs
	if err := process.Run(); process.ProcessState == nil {
		t.Fatal(err)
	}
	logs.Check(t)
	return process.ProcessState.ExitCode(), logs.Text()
}

// SetReading sets what the function gets when it reads the secret.
func (r *Rig) SetReading(reading hostile.Reading) {
	if reading.Text != "" {
		r.Secrets.Put(stage.SecretName, reading.Text)
	}
	if reading.Bytes != nil {
		r.Secrets.PutBinary(stage.SecretName, reading.Bytes)
	}
	r.Secrets.Fail(reading.Serve)
}
