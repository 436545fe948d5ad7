// Command release writes a release to dist: what it takes to deploy, configure and test
// the function without Go.
//
// Its arguments are the command that builds a Go program, so that the Makefile alone says
// how. The bytes of dist depend on the source, the version and the Go toolchain, and on
// nothing else.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// semantic matches the versions that CHANGELOG.md promises, without build metadata.
var semantic = regexp.MustCompile(`^(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z.-]+)?$`)

func main() {
	version := flag.String("version", "", "the release's `version`, such as 1.0.0")
	flag.Parse()
	if err := run(*version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(version string, build []string) error {
	switch {
	case len(build) == 0:
		return errors.New("needs the command that builds a Go program")
	case !semantic.MatchString(version):
		return errors.New("VERSION must be a semantic version, such as 1.0.0")
	}
	changelog, err := os.ReadFile("CHANGELOG.md")
	if err != nil {
		return err
	}
	changes, err := section(string(changelog), version)
	if err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "release-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	r := &release{version: version, build: build, temp: temp, files: map[string][]byte{"CHANGES.md": []byte(changes)}}
	for _, add := range []func() error{r.addFunctions, r.addTools, r.addEvents, r.addSBOM, r.addLicenses} {
		if err := add(); err != nil {
			return err
		}
	}
	return r.write("dist")
}

// release is a release that is being made.
type release struct {
	version string
	build   []string          // the command that builds a Go program
	temp    string            // a folder for the programs
	files   map[string][]byte // by name
	modules modules           // linked into the programs
}

// programs builds commands of this module for a platform. It returns their paths.
func (r *release) programs(goos, goarch string, commands ...string) ([]string, error) {
	dir, err := os.MkdirTemp(r.temp, "")
	if err != nil {
		return nil, err
	}
	arguments := append(r.build[1:len(r.build):len(r.build)], "-o", dir+string(filepath.Separator))
	build := exec.Command(r.build[0], append(arguments, commands...)...)
	build.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building for %s and %s: %w", goos, goarch, err)
	}
	paths, err := filepath.Glob(filepath.Join(dir, "*")) // sorted
	if err != nil {
		return nil, err
	}
	return paths, r.modules.add(paths)
}

// addFunctions adds a zip and a template for each of Lambda's architectures.
func (r *release) addFunctions() error {
	source, err := os.ReadFile("template.yaml")
	if err != nil {
		return err
	}
	for arch, goarch := range map[string]string{"x86_64": "amd64", "arm64": "arm64"} {
		paths, err := r.programs("linux", goarch, "./functions/phone")
		if err != nil {
			return err
		}
		zip := "function-" + arch + ".zip"
		// Lambda runs the file that is named bootstrap.
		if r.files[zip], err = archive(map[string]string{"bootstrap": paths[0]}, executable); err != nil {
			return err
		}
		text, err := fixTemplate(string(source), r.version, arch, zip)
		if err != nil {
			return err
		}
		r.files["template-"+arch+".yaml"] = []byte(text)
	}
	return nil
}

// addTools adds the operators' commands for each platform.
func (r *release) addTools() error {
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, goarch := range []string{"amd64", "arm64"} {
			paths, err := r.programs(goos, goarch, "./tools/secret", "./tools/key", "./tools/smoke")
			if err != nil {
				return err
			}
			zip, err := archive(byName(paths), executable)
			if err != nil {
				return err
			}
			r.files["tools-"+goos+"-"+goarch+".zip"] = zip
		}
	}
	return nil
}

func (r *release) addEvents() error {
	paths, err := filepath.Glob("events/*.json")
	if err != nil {
		return err
	}
	r.files["events.zip"], err = archive(byName(paths), readable)
	return err
}

func (r *release) addSBOM() (err error) {
	r.files["sbom.cdx.json"], err = r.modules.sbom(r.version)
	return err
}

// write writes the files to dir, with their checksums in the form of sha256sum.
func (r *release) write(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, name := range sorted(r.files) {
		_, _ = fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(r.files[name]), name)
	}
	r.files["SHA256SUMS"] = []byte(sums.String())
	for name, text := range r.files {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
