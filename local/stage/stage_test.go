package stage

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

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
