package match

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// Entry says that requests to Host that satisfy Match are for Rule.
type Entry[R any] struct {
	// Host is a hostname, a wildcard such as *.example.com, or empty for any.
	Host  string
	Match Match
	Rule  R
}

// Table finds rules. It never changes, so it is safe for concurrent use.
type Table[R any] struct {
	hosts map[string][]Entry[R]
}

// NewTable returns a table of entries, which are in order of their routes' age
// and, within a route, as it lists them: that order decides between matches
// that are equally specific.
func NewTable[R any](entries []Entry[R]) *Table[R] {
	t := &Table[R]{hosts: map[string][]Entry[R]{}}
	for _, e := range entries {
		host := strings.ToLower(e.Host)
		t.hosts[host] = append(t.hosts[host], e)
	}
	for _, list := range t.hosts {
		slices.SortStableFunc(list, func(a, b Entry[R]) int { return a.Match.compare(b.Match) })
	}
	return t
}

// Find returns the rule for a request. Only the rules of the most specific
// hostname are considered: if none of them matches, none of a less specific
// hostname is tried, as in proxies that have virtual hosts.
func (t *Table[R]) Find(r *http.Request) (rule R, ok bool) {
	if len(t.hosts) == 0 {
		return rule, false
	}
	query := r.URL.Query()
	for _, e := range t.entries(hostname(r.Host)) {
		if e.Match.holds(r, query) {
			return e.Rule, true
		}
	}
	return rule, false
}

// entries returns the entries of the most specific host that has any.
func (t *Table[R]) entries(host string) []Entry[R] {
	if list, ok := t.hosts[host]; ok {
		return list
	}
	// The longest wildcard is the one that replaces the fewest labels.
	for rest := host; ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		if list, ok := t.hosts["*"+rest[dot:]]; ok {
			return list
		}
		rest = rest[dot+1:]
	}
	return t.hosts[""]
}

// All yields the entries host by host, in the order in which they are tried.
func (t *Table[R]) All(yield func(Entry[R]) bool) {
	hosts := make([]string, 0, len(t.hosts))
	for host := range t.hosts {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	for _, host := range hosts {
		for _, e := range t.hosts[host] {
			if !yield(e) {
				return
			}
		}
	}
}

// hostname returns the host of a Host header, without port, in lower case.
func hostname(hostPort string) string {
	host, _, err := net.SplitHostPort(hostPort)
	if err != nil {
		host = hostPort // it has no port
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// Intersect returns the most specific hostname that both a and b cover, which
// is one of the two, and false when there is none. The empty hostname covers
// all.
func Intersect(a, b string) (string, bool) {
	a, b = strings.ToLower(a), strings.ToLower(b)
	switch {
	case a == b, covers(b, a):
		return a, true
	case covers(a, b):
		return b, true
	}
	return "", false
}

// covers reports whether every host that narrow stands for is one of wide.
func covers(wide, narrow string) bool {
	if wide == "" {
		return true
	}
	suffix, wildcard := strings.CutPrefix(wide, "*")
	// The suffix begins with a dot, so *.example.com does not cover
	// example.com; it does cover *.a.example.com.
	return wildcard && strings.HasSuffix(strings.TrimPrefix(narrow, "*"), suffix) && len(narrow) > len(suffix)
}
