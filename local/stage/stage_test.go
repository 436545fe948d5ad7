package stage

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAFrozenProcessLosesItsConnection(t *testing.T) {
	bootstrap, err := Bootstrap(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s, err := Raise(Config{Bootstrap: bootstrap, Several: true, Tokens: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open := func() (n int) {
		for range s.upstream.Range {
			n++
		}
		return n
	}
	if err := s.Inject("frozen"); err != nil {
		t.Fatal(err)
	}
	if got := open(); got != 0 {
		t.Errorf("after the freeze: got %d connections, want 0", got)
	}
	if err := s.Function.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	login, err := http.Get(s.WeChatURL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = login.Body.Close() }()
	answer, err := http.Post(s.URL+"/login", "application/json", login.Body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the login: got %s, want 200", answer.Status)
	}
	if got := open(); got == 0 {
		t.Error("the function made no new connection: it still has the old one")
	}
}

func TestBuildIgnoresTheCallersGoSettings(t *testing.T) {
	dir := t.TempDir()
	build := func(name string) []byte {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := Build("wechat-phone/tools/samconfig", path); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, "-h").CombinedOutput(); err != nil {
			t.Errorf("%s: running it: got error %v, want none\n%s", name, err, out)
		}
		executable, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return executable
	}
	want := build("clean")
	for name, value := range map[string]string{
		"GOFLAGS": "-mod=mod -race", "GOOS": "darwin", "GOARCH": "arm", "GOAMD64": "v3", "GOARM64": "v9.0",
		"GOFIPS140": "latest", "GOEXPERIMENT": "nojsonv2", "CGO_ENABLED": "1",
		"GO111MODULE": "off", "GOWORK": filepath.Join(dir, "go.work"),
	} {
		t.Setenv(name, value)
	}
	if !bytes.Equal(build("settings"), want) {
		t.Error("the caller's Go settings changed the executable, want the same bytes")
	}
}
