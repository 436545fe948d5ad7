// Package rig runs the compiled function for tests. Call [Main] from TestMain, and
// [Raise] in a test.
//
// A [Rig] also checks what must hold in every test. The function writes only JSON
// lines. It reports no failure to Lambda. [hostile.Leak] finds nothing in a log
// line or an answer, except a user's own data in that user's successful answer.
package rig

import (
	"flag"
	"os"
	"os/exec"
	"sync"
	"testing"

	"wechat-phone/local/hostile"
	"wechat-phone/local/stage"
	"wechat-phone/local/wechattest"
)

// bootstrapVariable holds the path of the compiled function. [stage.Bootstrap] reads
// it too.
const bootstrapVariable = "BOOTSTRAP"

// Main compiles the function once for the test process, runs the tests and exits.
// If the variable BOOTSTRAP names a compiled function, Main uses that.
func Main(m *testing.M) { os.Exit(run(m)) }

// MainUnlessShort is like [Main], but go test -short leaves out the tests that run the
// function. It is for packages in which these tests together are slow.
func MainUnlessShort(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		_ = os.Unsetenv(bootstrapVariable)
		os.Exit(m.Run())
	}
	Main(m)
}

// Long skips the test if go test runs with -short, as in make check. Call it in a test
// that takes over two seconds, because it waits, computes or starts programs.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("too slow for -short")
	}
}

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
		Long(t)
		t.Fatalf("got an empty %s, want TestMain to call rig.Main", bootstrapVariable)
	}
	return bootstrap
}

// Rig is a [stage.Stage] that runs the compiled function. It is safe for concurrent
// use.
type Rig struct {
	*stage.Stage
	Logs *Logs

	t      testing.TB
	mu     sync.Mutex
	owners map[string]wechattest.User // by login code or phone code
}

// Raise starts a stage and closes it at the end of the test. edit, if not nil,
// changes the stage's configuration first.
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

// Env returns an edit for [Raise] that sets variables, each as NAME=value.
func Env(variables ...string) func(*stage.Config) {
	return func(c *stage.Config) { c.Env = variables }
}

// RunToExit runs the function without a stage until it exits. Nothing serves the
// Runtime API. Each variable is NAME=value. RunToExit returns the exit code and
// the function's output.
func RunToExit(t testing.TB, variables ...string) (code int, output string) {
	t.Helper()
	var logs Logs
	process := exec.Command(Bootstrap(t))
	process.Env = append([]string{
		"AWS_LAMBDA_RUNTIME_API=127.0.0.1:1", "AWS_LAMBDA_LOG_FORMAT=JSON",
		"AWS_REGION=us-east-1", "WECHAT_SECRET_ID=a",
	}, variables...)
	process.Stdout, process.Stderr = &logs, &logs
	if err := process.Run(); process.ProcessState == nil {
		t.Fatal(err)
	}
	logs.Check(t)
	return process.ProcessState.ExitCode(), logs.Text()
}

// SetReading sets how Secrets Manager answers a read of the secret.
func (r *Rig) SetReading(reading hostile.Reading) {
	if reading.Text != "" {
		r.Secrets.Put(stage.SecretName, reading.Text)
	}
	if reading.Bytes != nil {
		r.Secrets.PutBinary(stage.SecretName, reading.Bytes)
	}
	r.Secrets.Fail(reading.Serve)
}
