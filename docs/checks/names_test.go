package checks

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// filesLike returns the project's files whose base names match pattern. It skips npm
// packages and build output.
func filesLike(t *testing.T, pattern string) (files []string) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", "node_modules", "build", "dist", ".aws-sam"}, entry.Name()) {
			return fs.SkipDir
		}
		if ok, err := path.Match(pattern, entry.Name()); err != nil || !ok || entry.IsDir() {
			return err
		}
		files = append(files, name)
		return nil
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("got %d files like %s, %v, want some", len(files), pattern, err)
	}
	return files
}

func TestDocumentsNameTestsThatExist(t *testing.T) {
	declared, parts := map[string]bool{}, map[string]bool{}
	for _, file := range filesLike(t, "*_test.go") {
		text := readFile(t, file)
		for _, function := range regexp.MustCompile(`(?m)^func (\w+)\(`).FindAllStringSubmatch(text, -1) {
			declared[function[1]] = true
		}
		for _, part := range regexp.MustCompile(`t\.Run\("([^"]+)"`).FindAllStringSubmatch(text, -1) {
			parts[strings.ReplaceAll(part[1], " ", "_")] = true
		}
	}
	named := regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w*`)
	namedPart := regexp.MustCompile("`…/([^`]+)`")
	count := 0
	for _, file := range filesLike(t, "*.md") {
		text := readFile(t, file)
		for _, name := range named.FindAllString(text, -1) {
			count++
			if !declared[name] {
				t.Errorf("%s: got the test name %s, want one that a test file declares", file, name)
			}
		}
		for _, path := range namedPart.FindAllStringSubmatch(text, -1) {
			for part := range strings.SplitSeq(path[1], "/") {
				if count++; part != "" && !parts[part] {
					t.Errorf("%s: got the part %s in …/%s, want one that a test runs", file, part, path[1])
				}
			}
		}
	}
	if count == 0 {
		t.Error("got no test name in any document, want some")
	}
}
