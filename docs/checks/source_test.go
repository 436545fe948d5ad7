package checks

import (
	"go/ast"
	"go/parser"
	positions "go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	maxColumns  = 120 // a tab counts as one
	maxFunction = 50  // lines, its first and last included
)

// Every file can be read without scrolling sideways, and every function on one
// screen.
func TestLinesAndFunctionsAreShort(t *testing.T) {
	t.Parallel()
	files := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := entry.Name(); entry.IsDir() && (name == "build" || name == "node_modules" || name == ".aws-sam") {
			return fs.SkipDir
		}
		if filepath.Ext(path) == ".go" {
			files++
			checkShort(t, strings.TrimPrefix(path, root+"/"))
		}
		return nil
	})
	if err != nil || files < 50 {
		t.Errorf("read %d files, error %v, want the project's", files, err)
	}
}

// Exceptions to gosec's rules are in one file, with their reasons.
func TestSourceHasNoExceptionsForGosec(t *testing.T) {
	t.Parallel()
	for _, name := range filesLike(t, "*.go") {
		if strings.Contains(readFile(t, name), "#no"+"sec") {
			t.Errorf("%s has a #no"+"sec comment, want the exception in tools/lint/gosec.json", name)
		}
	}
}

func checkShort(t *testing.T, name string) {
	t.Helper()
	text := readFile(t, name)
	number := 0
	for line := range strings.Lines(text) {
		number++
		if columns := utf8.RuneCountInString(strings.TrimRight(line, "\n")); columns > maxColumns {
			t.Errorf("%s:%d has %d columns, want at most %d", name, number, columns, maxColumns)
		}
	}
	set := positions.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, declaration := range file.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		begin, end := set.Position(function.Pos()).Line, set.Position(function.End()).Line
		if lines := end - begin + 1; lines > maxFunction {
			t.Errorf("%s:%d: %s has %d lines, want at most %d", name, begin, function.Name.Name, lines, maxFunction)
		}
	}
}
