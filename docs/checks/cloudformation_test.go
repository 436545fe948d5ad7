package checks

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// template is a CloudFormation template. The short forms of functions, such as !Ref,
// are replaced by the long ones.
type template map[string]any

func readTemplate(t testing.TB) template {
	t.Helper()
	return parseYAML(t, readFile(t, "template.yaml"))
}

// parseYAML parses YAML, and so JSON too. The text need not be a template:
// [template.section] works with any.
func parseYAML(t testing.TB, text string) template {
	t.Helper()
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(text), &document); err != nil {
		t.Fatal(err)
	}
	return plain(t, document.Content[0]).(map[string]any)
}

// plain returns a node as maps, slices, strings, integers and booleans.
func plain(t testing.TB, n *yaml.Node) (value any) {
	t.Helper()
	switch n.Kind {
	case yaml.MappingNode:
		object := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			object[n.Content[i].Value] = plain(t, n.Content[i+1])
		}
		value = object
	case yaml.SequenceNode:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, plain(t, item))
		}
		value = list
	case yaml.ScalarNode:
		value = n.Value
		if n.ShortTag() == "!!int" || n.ShortTag() == "!!bool" {
			if err := n.Decode(&value); err != nil {
				t.Fatal(err)
			}
		}
	default:
		t.Fatalf("line %d: got a node of kind %d, want one that templates have", n.Line, n.Kind)
	}
	name, short := strings.CutPrefix(n.Tag, "!")
	if !short || strings.HasPrefix(n.Tag, "!!") {
		return value
	}
	if name == "GetAtt" {
		resource, attribute, _ := strings.Cut(value.(string), ".")
		value = []any{resource, attribute}
	}
	if name != "Ref" && name != "Condition" {
		name = "Fn::" + name
	}
	return map[string]any{name: value}
}

// section returns a part of the template by its path, as in "Resources",
// "PhoneFunction", "Properties".
func (tm template) section(t testing.TB, path ...string) map[string]any {
	t.Helper()
	part := map[string]any(tm)
	for _, name := range path {
		next, ok := part[name].(map[string]any)
		if !ok {
			t.Fatalf("got no section %s, want one", strings.Join(path, "."))
		}
		part = next
	}
	return part
}

// stack is a template with values for its parameters, as CloudFormation would deploy
// it.
type stack struct {
	template
	t      testing.TB
	values map[string]string        // of parameters and pseudo parameters, such as AWS::Region
	sides  map[string]map[bool]bool // the results that each condition has had

	resources func() map[string]map[string]any // resolved
}

// deploy returns a stack with these parameters, and the defaults of the others.
func (tm template) deploy(t testing.TB, values map[string]string) *stack {
	t.Helper()
	s := &stack{template: tm, t: t, values: map[string]string{
		"AWS::Region": "us-east-1", "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
		"AWS::AccountId": "123456789012", "AWS::StackName": "stack",
	}, sides: map[string]map[bool]bool{}}
	for name, p := range tm.section(t, "Parameters") {
		s.values[name] = fmt.Sprint(p.(map[string]any)["Default"])
	}
	maps.Copy(s.values, values)
	s.resources = sync.OnceValue(s.resolveResources)
	return s
}

// condition evaluates one of the template's conditions.
func (s *stack) condition(name string) bool {
	definition, ok := s.section(s.t, "Conditions")[name]
	if !ok {
		s.t.Errorf("got no condition %s, want one", name)
	}
	holds := s.truth(definition)
	if s.sides[name] == nil {
		s.sides[name] = map[bool]bool{}
	}
	s.sides[name][holds] = true
	return holds
}

// truth evaluates a condition's definition.
func (s *stack) truth(definition any) bool {
	for function, arguments := range definition.(map[string]any) {
		if function == "Condition" {
			return s.condition(arguments.(string))
		}
		list := arguments.([]any)
		switch function {
		case "Fn::Equals":
			return fmt.Sprint(s.resolve(list[0])) == fmt.Sprint(s.resolve(list[1]))
		case "Fn::Not":
			return !s.truth(list[0])
		case "Fn::And":
			return !slices.ContainsFunc(list, func(one any) bool { return !s.truth(one) })
		case "Fn::Or":
			return slices.ContainsFunc(list, s.truth)
		}
	}
	s.t.Fatalf("got %v, want a condition", definition)
	return false
}

func (s *stack) resolveResources() map[string]map[string]any {
	all := map[string]map[string]any{}
	for name, r := range s.section(s.t, "Resources") {
		if s.exists(name) {
			all[name] = s.resolve(r).(map[string]any)
		}
	}
	return all
}

// outputs returns the values of the stack's outputs.
func (s *stack) outputs() map[string]any {
	all := map[string]any{}
	for name, o := range s.section(s.t, "Outputs") {
		output := o.(map[string]any)
		if condition, ok := output["Condition"]; !ok || s.condition(condition.(string)) {
			all[name] = s.resolve(output["Value"])
		}
	}
	return all
}

// exists reports whether the stack has a resource.
func (s *stack) exists(resource string) bool {
	r, ok := s.section(s.t, "Resources")[resource].(map[string]any)
	if !ok {
		return false
	}
	condition, ok := r["Condition"]
	return !ok || s.condition(condition.(string))
}

// gone is the value of AWS::NoValue.
type gone struct{}

// resolve replaces functions by their values. A value that only AWS knows becomes
// "Resource" or "Resource.Attribute". A reference to a resource that the stack does
// not have fails the test.
func (s *stack) resolve(value any) any {
	switch value := value.(type) {
	case []any:
		list := []any{}
		for _, item := range value {
			if item = s.resolve(item); item != (gone{}) {
				list = append(list, item)
			}
		}
		return list
	case map[string]any:
		if len(value) == 1 {
			for function, argument := range value {
				if resolved, ok := s.call(function, argument); ok {
					return resolved
				}
			}
		}
		object := map[string]any{}
		for name, item := range value {
			if item = s.resolve(item); item != (gone{}) {
				object[name] = item
			}
		}
		return object
	}
	return value
}

var variable = regexp.MustCompile(`\$\{([^!}]+)\}`)

// call returns the value of a function. ok is false if it is not a function.
func (s *stack) call(function string, argument any) (value any, ok bool) {
	switch function {
	case "Ref":
		return s.reference(argument.(string), ""), true
	case "Fn::GetAtt":
		list := argument.([]any)
		return s.reference(list[0].(string), list[1].(string)), true
	case "Fn::If":
		list := argument.([]any)
		if s.condition(list[0].(string)) {
			return s.resolve(list[1]), true
		}
		return s.resolve(list[2]), true
	case "Fn::Select":
		list := argument.([]any)
		from := s.resolve(list[1]).([]any)
		if index := list[0].(int); index < len(from) {
			return from[index], true
		}
		return fmt.Sprint(from), true // the list comes from a value that only AWS knows
	case "Fn::Split":
		list := argument.([]any)
		parts := []any{}
		for part := range strings.SplitSeq(s.resolve(list[1]).(string), list[0].(string)) {
			parts = append(parts, part)
		}
		return parts, true
	case "Fn::Join":
		list := argument.([]any)
		var parts []string
		for _, part := range s.resolve(list[1]).([]any) {
			parts = append(parts, fmt.Sprint(part))
		}
		return strings.Join(parts, list[0].(string)), true
	case "Fn::Sub":
		return s.substitute(argument), true
	}
	return nil, false
}

// substitute returns the value of Fn::Sub.
func (s *stack) substitute(argument any) string {
	text, own := argument, map[string]any{}
	if list, ok := argument.([]any); ok {
		text, own = list[0], list[1].(map[string]any)
	}
	filled := variable.ReplaceAllStringFunc(text.(string), func(match string) string {
		name := match[2 : len(match)-1]
		if value, ok := own[name]; ok {
			return fmt.Sprint(s.resolve(value))
		}
		resource, attribute, _ := strings.Cut(name, ".")
		return fmt.Sprint(s.reference(resource, attribute))
	})
	return strings.ReplaceAll(filled, "${!", "${")
}

// reference returns the value of a reference to name, or to its attribute.
func (s *stack) reference(name, attribute string) any {
	value, isParameter := s.values[name]
	switch {
	case name == "AWS::NoValue":
		return gone{}
	case isParameter && attribute == "":
		return value
	}
	// SAM adds names such as PhoneFunction.Alias.
	resource, _, _ := strings.Cut(name, ".")
	if !s.exists(resource) {
		s.t.Errorf("got a reference to %s, want one to a resource of the stack", name)
	}
	if attribute != "" {
		return name + "." + attribute
	}
	return name
}
