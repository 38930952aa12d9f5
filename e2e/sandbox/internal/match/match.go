// Package match finds the rule for a request as Gateway API wants it found:
// first the most specific hostname, then, among its rules, the most specific
// match, then the oldest route.
package match

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// Match is a set of conditions that all must hold. The zero Match, with a
// Path of Prefix("/"), holds for every request.
type Match struct {
	Path Path
	// Method is an HTTP method; empty means any.
	Method string
	// Headers and Query are conditions on single values; no two of them have
	// the same name.
	Headers, Query []Value
}

// Path is a condition on the path of a request.
type Path struct {
	exact, prefix string
	regex         *regexp.Regexp
}

// Exact holds for the very path.
func Exact(path string) Path { return Path{exact: path} }

// Prefix holds for paths that begin with the elements of prefix: /a for /a and
// /a/b, not for /ab. A slash at its end has no meaning.
func Prefix(prefix string) Path { return Path{prefix: "/" + strings.Trim(prefix, "/")} }

// Regex holds for paths that the expression matches as a whole.
func Regex(expr string) (Path, error) {
	re, err := compile(expr)
	return Path{regex: re}, err
}

func (p Path) holds(path string) bool {
	switch {
	case p.exact != "":
		return path == p.exact
	case p.regex != nil:
		return p.regex.MatchString(path)
	case p.prefix == "" || p.prefix == "/":
		return true
	}
	rest, ok := strings.CutPrefix(path, p.prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// rank orders paths: exact ones first, then prefixes by length. Gateway API
// leaves regular expressions to the implementation: here they come after every
// prefix but "/".
func (p Path) rank() (exact bool, length int) {
	const regexLength = 3
	switch {
	case p.exact != "":
		return true, 0
	case p.regex != nil:
		return false, regexLength
	}
	return false, 2 * max(len(p.prefix), 1)
}

// Value is a condition on one header or query parameter.
type Value struct {
	name, exact string
	regex       *regexp.Regexp
}

// ExactValue holds when the named value is there and is the given one.
func ExactValue(name, value string) Value { return Value{name: name, exact: value} }

// RegexValue holds when the named value is there and the expression matches it
// as a whole.
func RegexValue(name, expr string) (Value, error) {
	re, err := compile(expr)
	return Value{name: name, regex: re}, err
}

func (v Value) holds(values []string, sep string) bool {
	if len(values) == 0 {
		return false
	}
	value := values[0]
	if sep != "" {
		value = strings.Join(values, sep)
	}
	if v.regex != nil {
		return v.regex.MatchString(value)
	}
	return value == v.exact
}

// compile anchors an expression at both ends.
func compile(expr string) (*regexp.Regexp, error) {
	re, err := regexp.Compile("^(?:" + expr + ")$")
	if err != nil {
		return nil, fmt.Errorf("cannot compile the expression: %w", err)
	}
	return re, nil
}

// holds reports whether the request satisfies all conditions. Repeated headers
// are one, joined by commas; of a repeated query parameter the first counts.
func (m Match) holds(r *http.Request, query url.Values) bool {
	if m.Method != "" && m.Method != r.Method || !m.Path.holds(r.URL.Path) {
		return false
	}
	for _, h := range m.Headers {
		if !h.holds(r.Header.Values(h.name), ",") {
			return false
		}
	}
	for _, q := range m.Query {
		if !q.holds(query[q.name], "") {
			return false
		}
	}
	return true
}

// compare returns a negative number when m takes precedence over o, and 0 when
// the conditions do not tell.
func (m Match) compare(o Match) int {
	mExact, mLength := m.Path.rank()
	oExact, oLength := o.Path.rank()
	return cmp.Or(
		preferTrue(mExact, oExact),
		cmp.Compare(oLength, mLength),
		preferTrue(m.Method != "", o.Method != ""),
		cmp.Compare(len(o.Headers), len(m.Headers)),
		cmp.Compare(len(o.Query), len(m.Query)),
	)
}

func preferTrue(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}
