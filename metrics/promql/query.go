package promql

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

// placeholder is what is replaced in the text of a string literal.
var placeholder = regexp.MustCompile(`\{\{([^{}]*)\}\}`)

// Check parses a query, with or without placeholders, and refuses one that can
// give neither a vector nor a scalar.
func Check(query string) error {
	expr, err := grammar.ParseExpr(query)
	if err != nil {
		if strings.Contains(query, "{{") {
			return fmt.Errorf("%w (placeholders stand inside string literals, as in up{namespace=\"{{namespace}}\"})", err)
		}
		return err //nolint:wrapcheck // The parser says where and what; the caller adds the field.
	}
	switch t := expr.Type(); t {
	case parser.ValueTypeVector, parser.ValueTypeScalar:
		return nil
	default:
		return fmt.Errorf("the query gives a %s, not a number: put a function such as rate() around it", parser.DocumentedType(t))
	}
}

// Placeholders are the names in {{ }} inside the string literals of a query,
// sorted, each once.
func Placeholders(query string) []string {
	names := map[string]bool{}
	for _, l := range literals(query) {
		for _, m := range placeholder.FindAllStringSubmatch(l.text, -1) {
			names[strings.TrimSpace(m[1])] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// Expand replaces the placeholders in the string literals of a query by their
// values. The literals are quoted anew, so that a value cannot end its literal;
// the rest of the query stays as it is. A placeholder without a value is an
// error that names those there are.
func Expand(query string, values map[string]string) (string, error) {
	var out strings.Builder
	done := 0
	for _, l := range literals(query) {
		if !placeholder.MatchString(l.text) {
			continue
		}
		text, err := replace(l.text, values)
		if err != nil {
			return "", err
		}
		out.WriteString(query[done:l.start])
		out.WriteString(quote(text))
		done = l.end
	}
	out.WriteString(query[done:])
	expanded := out.String()
	// A value may break what is around it, such as a regular expression.
	if err := Check(expanded); err != nil {
		return "", err
	}
	return expanded, nil
}

// replace puts the values into the text of one literal.
func replace(text string, values map[string]string) (string, error) {
	var missing string
	replaced := placeholder.ReplaceAllStringFunc(text, func(match string) string {
		name := strings.TrimSpace(match[2 : len(match)-2])
		value, ok := values[name]
		if !ok {
			missing = match
		}
		return value
	})
	if missing != "" {
		return "", fmt.Errorf("%s has no value: there are %s", missing, strings.Join(slices.Sorted(maps.Keys(values)), ", "))
	}
	return replaced, nil
}

// literal is a string literal in a query: its place, and its text without
// quotes and escapes.
type literal struct {
	start, end int
	text       string
}

// literals of a query, in order, up to the first thing that is not PromQL. What
// comes after is found by Check.
func literals(query string) []literal {
	var found []literal
	lexer := parser.Lex(query)
	for {
		var item parser.Item
		lexer.NextItem(&item)
		switch item.Typ {
		case parser.EOF, parser.ERROR:
			return found
		case parser.STRING:
			text, err := strutil.Unquote(item.Val)
			if err != nil {
				return found
			}
			start := int(item.Pos)
			found = append(found, literal{start: start, end: start + len(item.Val), text: text})
		}
	}
}
