// Package overrides reads what samconfig.toml says about an environment: its stack
// and the stack's template parameters. Call [Read].
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

// Environment is a section of samconfig.toml.
type Environment struct {
	Stack      string            // the stack's name
	Parameters map[string]string // of the template
}

// Read returns an environment of the file at path. As in SAM, a setting in
// [ENV.deploy.parameters] replaces the one in [ENV.global.parameters], and an
// environment inherits nothing from default.
func Read(path, env string) (e Environment, err error) {
	var file map[string]toml.Primitive
	meta, err := toml.DecodeFile(path, &file)
	if err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	delete(file, "version") // of the file format, not an environment
	section, ok := file[env]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(file)), ", ")
		return e, fmt.Errorf("%s has no environment %q, only %s", path, env, known)
	}
	var commands map[string]command
	if err := meta.PrimitiveDecode(section, &commands); err != nil {
		return e, fmt.Errorf("%s: %w", path, err)
	}
	settings := maps.Clone(commands["global"].Parameters)
	if settings == nil {
		settings = map[string]any{}
	}
	maps.Copy(settings, commands["deploy"].Parameters)
	e.Stack, _ = settings["stack_name"].(string)
	e.Parameters, err = parse(settings["parameter_overrides"])
	if err != nil {
		return e, fmt.Errorf("%s: parameter_overrides of %s: %w", path, env, err)
	}
	return e, nil
}

// Format returns parameters as one value for sam deploy --parameter-overrides.
func Format(parameters map[string]string) string {
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		pairs = append(pairs, name+`="`+strings.ReplaceAll(parameters[name], `"`, `\"`)+`"`)
	}
	return strings.Join(pairs, " ")
}

// pair matches what SAM accepts as one parameter: Name=value, or
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
