package checks

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// parsePattern parses CloudWatch's filter pattern for JSON, as far as the template
// goes. It returns a function that reports whether a log line matches.
//
// && goes before ||. A comparison with a field that the line does not have is
// false. https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
func parsePattern(t testing.TB, pattern string) func(line map[string]any) bool {
	t.Helper()
	inner, ok := strings.CutPrefix(pattern, "{ ")
	inner, closed := strings.CutSuffix(inner, " }")
	p := patternParser{rest: token.FindAllString(inner, -1)}
	if text := token.ReplaceAllString(inner, ""); !ok || !closed || strings.TrimSpace(text) != "" {
		t.Fatalf("not a pattern for JSON: %s", pattern)
	}
	match := p.either()
	if p.wrong || len(p.rest) > 0 {
		t.Fatalf("%s: cannot parse %q", pattern, p.rest)
	}
	return match
}

var token = regexp.MustCompile(`[()]|&&|\|\||NOT EXISTS|IS TRUE|>=|!=|[=>]|\$\.\w+|"[^"]*"|-?\d+`)

type predicate = func(line map[string]any) bool

type patternParser struct {
	rest  []string // tokens
	wrong bool
}

// next takes a token.
func (p *patternParser) next() string {
	if len(p.rest) == 0 {
		p.wrong = true
		return ""
	}
	first := p.rest[0]
	p.rest = p.rest[1:]
	return first
}

// skip takes the next token if it is want.
func (p *patternParser) skip(want string) bool {
	found := len(p.rest) > 0 && p.rest[0] == want
	if found {
		p.rest = p.rest[1:]
	}
	return found
}

// either parses terms joined by ||.
func (p *patternParser) either() predicate {
	terms := []predicate{p.both()}
	for p.skip("||") {
		terms = append(terms, p.both())
	}
	return func(line map[string]any) bool {
		return slices.ContainsFunc(terms, func(holds predicate) bool { return holds(line) })
	}
}

// both parses terms joined by &&.
func (p *patternParser) both() predicate {
	terms := []predicate{p.term()}
	for p.skip("&&") {
		terms = append(terms, p.term())
	}
	return func(line map[string]any) bool {
		return !slices.ContainsFunc(terms, func(holds predicate) bool { return !holds(line) })
	}
}

// term parses a comparison, or a pattern in parentheses.
func (p *patternParser) term() predicate {
	if p.skip("(") {
		inner := p.either()
		p.wrong = p.wrong || !p.skip(")")
		return inner
	}
	field, ok := strings.CutPrefix(p.next(), "$.")
	p.wrong = p.wrong || !ok
	switch operator := p.next(); operator {
	case "NOT EXISTS":
		return func(line map[string]any) bool { _, exists := line[field]; return !exists }
	case "IS TRUE":
		return func(line map[string]any) bool { return line[field] == true }
	case "=", "!=", ">", ">=":
		return p.comparison(field, operator)
	}
	p.wrong = true
	return nil
}

// comparison parses the operand of a comparison: a number, or a string in which *
// stands for any text.
func (p *patternParser) comparison(field, operator string) predicate {
	operand := p.next()
	if text, err := strconv.Unquote(operand); err == nil && !strings.Contains(operator, ">") {
		return func(line map[string]any) bool {
			value, ok := line[field].(string)
			return ok && anyLike(text, value) == (operator == "=")
		}
	}
	limit, err := strconv.ParseFloat(operand, 64)
	p.wrong = p.wrong || err != nil || operator == "!="
	return func(line map[string]any) bool {
		value, ok := line[field].(float64)
		above, equal := value > limit, value == limit
		return ok && (above && operator != "=" || equal && operator != ">")
	}
}

func TestParsePattern(t *testing.T) {
	line := map[string]any{"a": "x", "b": "x: y", "n": 3.0, "yes": true, "no": false}
	for pattern, want := range map[string]bool{
		`{ $.a = "x" }`: true, `{ $.a = "*" }`: true, `{ $.a = "y" }`: false,
		`{ $.none = "*" }`: false, `{ $.n = "*" }`: false,
		`{ $.b = "x: *" }`: true, `{ $.a = "x: *" }`: false, `{ $.b = "y*" }`: false, `{ $.b = "x" }`: false,
		`{ $.b != "x: *" }`: false, `{ $.a != "x: *" }`: true, `{ $.none != "x" }`: false,
		`{ $.n = 3 }`: true, `{ $.n > 3 }`: false, `{ $.n >= 3 }`: true, `{ $.n > -1 }`: true, `{ $.n = 2 }`: false,
		`{ $.none > -1 }`: false, `{ $.a >= 0 }`: false,
		`{ $.yes IS TRUE }`: true, `{ $.no IS TRUE }`: false, `{ $.none IS TRUE }`: false,
		`{ $.none NOT EXISTS }`: true, `{ $.no NOT EXISTS }`: false,
		`{ ($.a = "x") && ($.n > 3) }`: false, `{ ($.a = "x") || ($.n > 3) }`: true,
		`{ $.a = "x" || $.n = 3 && $.n > 3 }`: true, `{ ($.a = "x" || $.n = 3) && $.n > 3 }`: false,
		`{ ($.n > 0) && (($.a = "y") || ($.a = "x")) }`: true,
	} {
		if got := parsePattern(t, pattern)(line); got != want {
			t.Errorf("%s: got %v, want %v", pattern, got, want)
		}
	}
}
