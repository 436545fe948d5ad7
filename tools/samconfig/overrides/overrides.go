// Package overrides reads the template parameters that samconfig.toml sets for
// an environment. Call [Read].
//
// BurntSushi/toml reads the file: it knows all of TOML, is maintained and has no
// dependencies. Staticcheck, which make lint runs, reads its settings with it.
package overrides

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// command holds the settings of one SAM command in one environment.
type command struct {
	Parameters map[string]any `toml:"parameters"`
}

// Read returns the parameters that an environment of the file at path gives to
// the template. As in SAM, the list in [ENV.deploy.parameters] replaces the one
// in [ENV.global.parameters], and an environment inherits nothing from default.
func Read(path, env string) (map[string]string, error) {
	var file map[string]toml.Primitive
	meta, err := toml.DecodeFile(path, &file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	delete(file, "version") // the format's
	section, ok := file[env]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(file)), ", ")
		return nil, fmt.Errorf("%s has no environment %q, only %s", path, env, known)
	}
	var commands map[string]command
	if err := meta.PrimitiveDecode(section, &commands); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	list, ok := commands["deploy"].Parameters["parameter_overrides"]
	if !ok {
		list = commands["global"].Parameters["parameter_overrides"]
	}
	all, err := parse(list)
	if err != nil {
		return nil, fmt.Errorf("%s: parameter_overrides of %s: %w", path, env, err)
	}
	return all, nil
}

// pair matches what SAM takes for one parameter: Name=value, or
// ParameterKey=Name,ParameterValue=value. Quotes allow spaces.
// https://github.com/aws/aws-sam-cli/blob/develop/samcli/cli/types.py
var pair = regexp.MustCompile(`(?:^|\s)(?:ParameterKey=(\w+),ParameterValue=|(\w+)=)` +
	`("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|[^\s"\\])+)`)

// parse returns the parameters of a list or a string; each string may hold
// several.
func parse(value any) (map[string]string, error) {
	all := map[string]string{}
	list, ok := value.([]any)
	if !ok && value != nil {
		list = []any{value}
	}
	for _, element := range list {
		text, ok := element.(string)
		if rest := pair.ReplaceAllString(text, ""); !ok || strings.TrimSpace(rest) != "" {
			return nil, fmt.Errorf("%v is not Name=value", element)
		}
		for _, found := range pair.FindAllStringSubmatch(text, -1) {
			all[found[1]+found[2]] = unquote(found[3])
		}
	}
	return all, nil
}

// unquote removes outer quotes, and the backslashes before spaces and quotes.
func unquote(value string) string {
	if first := value[0]; (first == '"' || first == '\'') && len(value) > 1 && value[len(value)-1] == first {
		value = value[1 : len(value)-1]
	}
	return strings.NewReplacer(`\ `, ` `, `\"`, `"`, `\'`, `'`).Replace(value)
}
