package checks

import (
	"os"
	"path/filepath"
	"testing"

	"wechat-phone/local/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }

// root is the project's directory.
const root = "../.."

// readFile returns the text of one of the project's files. name is relative to root.
func readFile(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
