package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// addLicenses adds the licences and notices of what is linked into the programs. Most
// licences demand this for binaries.
func (r *release) addLicenses() error {
	list := exec.Command("go", "list", "-m", "-f", "{{.Path}}\t{{.Dir}}", "all")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	dirs := map[string]string{"stdlib": strings.TrimSpace(string(root))}
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		dirs[path] = dir
	}
	var text bytes.Buffer
	for _, path := range sorted(r.modules) {
		licences, err := filepath.Glob(filepath.Join(dirs[path], "LICENSE*"))
		if err != nil || len(licences) == 0 {
			return fmt.Errorf("found no licence for %s", path)
		}
		notices, _ := filepath.Glob(filepath.Join(dirs[path], "NOTICE*"))
		for _, file := range append(licences, notices...) {
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintf(&text, "===== %s %s: %s =====\n\n%s\n\n",
				path, r.modules[path], filepath.Base(file), bytes.TrimSpace(content))
		}
	}
	r.files["LICENSES.txt"] = text.Bytes()
	return nil
}
