package main

import (
	"archive/zip"
	"bytes"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Modes of an archive's files.
const (
	executable fs.FileMode = 0o755
	readable   fs.FileMode = 0o644
)

// epoch is the time of all files in archives: the earliest that a zip can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// archive returns a zip of files, given as paths by their names in the zip.
func archive(files map[string]string, mode fs.FileMode) ([]byte, error) {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, name := range sorted(files) {
		text, err := os.ReadFile(files[name])
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: epoch}
		header.SetMode(mode)
		file, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := file.Write(text); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// byName returns paths by their base names.
func byName(paths []string) map[string]string {
	all := map[string]string{}
	for _, path := range paths {
		all[filepath.Base(path)] = path
	}
	return all
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
