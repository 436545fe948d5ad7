package main

import (
	"archive/zip"
	"bytes"
	"encoding/json/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// docs/checks tests a whole release.

func TestVersionIsSemantic(t *testing.T) {
	t.Chdir("../..")
	for _, version := range []string{
		"", "dev", "1", "1.0", "v1.0.0", "1.0.0.0", "01.0.0", "1.0.0+build", "1.0.0 ", "1.0.0\n",
	} {
		err := run(version, []string{"false"})
		if want := "VERSION must be a semantic version, such as 1.0.0"; err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", version, err, want)
		}
	}
	// The changelog lacks it.
	if err := run("987.6.5-rc.1", []string{"false"}); err == nil || !strings.Contains(err.Error(), `"## 987.6.5-rc.1"`) {
		t.Errorf("a version without changes: got %v, want the missing section", err)
	}
}

func TestSectionIsTheVersionsOwn(t *testing.T) {
	const changelog = "# Changelog\n\nText.\n\n## 1.10.0\n\n- C\n\n## 1.1.0\n\n- B\n\n### More\n\n- b\n\n## 1.0.0\n\n- A\n"
	for version, want := range map[string]string{
		"1.10.0": "## 1.10.0\n\n- C\n", "1.1.0": "## 1.1.0\n\n- B\n\n### More\n\n- b\n", "1.0.0": "## 1.0.0\n\n- A\n",
	} {
		if got, err := section(changelog, version); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", version, got, err, want)
		}
	}
	if got, err := section(changelog, "1.1"); err == nil {
		t.Errorf("1.1: got %q, want an error", got)
	}
}

func TestTemplateOfAReleaseDiffersInTheseLinesOnly(t *testing.T) {
	source, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got, err := fixTemplate(string(source), "1.2.3", "arm64", "the.zip")
	if err != nil {
		t.Fatal(err)
	}
	var before, after map[string]any
	if err := yaml.Unmarshal([]byte(got), &after); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(source, &before); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(source), "\n")
	var added []string
	for line := range strings.SplitSeq(got, "\n") {
		if !slices.Contains(lines, line) {
			added = append(added, strings.TrimSpace(line))
		}
	}
	if len(added) != 5 || added[0] != "Release 1.2.3." || added[2] != "CodeUri: the.zip" ||
		added[3] != "Architectures: [arm64]" || !strings.HasPrefix(added[4], "arm64 ${MemorySize} ") {
		t.Errorf("got the new lines %q, want the description, the form, CodeUri, Architectures and the version", added)
	}
	was, is := before["Parameters"].(map[string]any), after["Parameters"].(map[string]any)
	if delete(was, "Architecture"); len(is) != len(was) || is["Architecture"] != nil {
		t.Errorf("got %d parameters, want the template's %d without Architecture", len(is), len(was))
	}
}

// A template that this command no longer understands must not be released.
func TestUnknownTemplateIsRefused(t *testing.T) {
	source, err := os.ReadFile("../../template.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]*strings.Replacer{
		"no BuildMethod":              strings.NewReplacer("      BuildMethod: makefile\n", ""),
		"another CodeUri":             strings.NewReplacer("CodeUri: .\n", "CodeUri: functions/phone\n"),
		"Architecture used elsewhere": strings.NewReplacer("!Ref Architecture]", "!Ref Architecture, x86_64]"),
	} {
		if _, err := fixTemplate(edit.Replace(string(source)), "1.2.3", "arm64", "the.zip"); err == nil {
			t.Errorf("%s: got no error, want one", name)
		}
	}
}

func TestArchiveDependsOnNamesAndTextsOnly(t *testing.T) {
	make := func(mode os.FileMode, modified time.Time) []byte {
		t.Helper()
		dir := t.TempDir()
		for _, name := range []string{"b", "a"} {
			path := filepath.Join(dir, name)
			if err := os.WriteFile(path, []byte("text of "+name), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(path, modified, modified); err != nil {
				t.Fatal(err)
			}
		}
		text, err := archive(byName([]string{filepath.Join(dir, "b"), filepath.Join(dir, "a")}), executable)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first := make(0o600, time.Now())
	if !bytes.Equal(first, make(0o644, time.Now().Add(-time.Hour))) {
		t.Error("got other bytes for files with another time and mode, want the same")
	}
	files, err := zip.NewReader(bytes.NewReader(first), int64(len(first)))
	if err != nil || len(files.File) != 2 {
		t.Fatalf("got the files %v, %v, want a and b", files, err)
	}
	if f := files.File[0]; f.Name != "a" || f.Mode() != 0o755 || !f.Modified.Equal(epoch) {
		t.Errorf("got %s, %v, %v, want a, executable, at %v", f.Name, f.Mode(), f.Modified, epoch)
	}
}

// The test's own executable stands for a program of a release.
func TestSBOMListsWhatIsLinked(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var m modules
	if err := m.add([]string{program}); err != nil {
		t.Fatal(err)
	}
	text, err := m.sbom("1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, c := range bom.Components {
		versions[c.Name] = c.Version
		if want := "pkg:golang/" + c.Name + "@" + c.Version; c.URL != want {
			t.Errorf("got purl %q, want %q", c.URL, want)
		}
	}
	if got, want := "go"+versions["stdlib"], runtime.Version(); got != want {
		t.Errorf("got the standard library of %s, want %s", got, want)
	}
	if len(versions) != 2 || versions["go.yaml.in/yaml/v3"] == "" {
		t.Errorf("got %v, want stdlib and yaml, which this test uses", versions)
	}
}
