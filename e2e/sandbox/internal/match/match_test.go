package match

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func mustRegex(t *testing.T, expr string) Path {
	t.Helper()
	p, err := Regex(expr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustRegexValue(t *testing.T, name, expr string) Value {
	t.Helper()
	v, err := RegexValue(name, expr)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// request makes one from "METHOD URL" and headers.
func request(line string, header ...string) *http.Request {
	method, target, _ := strings.Cut(line, " ")
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestMatchHolds(t *testing.T) {
	cases := map[string]struct {
		reason string
		match  Match
		yes    []*http.Request
		no     []*http.Request
	}{
		"Zero": {
			reason: "no condition holds for everything",
			yes:    []*http.Request{request("GET /"), request("POST /a/b?c=d", "X", "y")},
		},
		"Exact": {
			reason: "an exact path has no other form",
			match:  Match{Path: Exact("/cart")},
			yes:    []*http.Request{request("GET /cart"), request("GET /cart?x=1")},
			no:     []*http.Request{request("GET /cart/"), request("GET /Cart"), request("GET /cart/1")},
		},
		"Prefix": {
			reason: "a prefix ends where an element ends",
			match:  Match{Path: Prefix("/cart/")},
			yes:    []*http.Request{request("GET /cart"), request("GET /cart/"), request("GET /cart/1")},
			no:     []*http.Request{request("GET /carts"), request("GET /"), request("GET /x/cart")},
		},
		"Root": {
			reason: "the prefix / holds for all",
			match:  Match{Path: Prefix("/")},
			yes:    []*http.Request{request("GET /"), request("GET /x")},
		},
		"Regex": {
			reason: "an expression matches the whole path",
			match:  Match{Path: mustRegex(t, "/item/[0-9]+|/all")},
			yes:    []*http.Request{request("GET /item/7"), request("GET /all")},
			no:     []*http.Request{request("GET /item/7/x"), request("GET /x/item/7"), request("GET /alls")},
		},
		"Method": {
			reason: "methods have one case",
			match:  Match{Method: "POST"},
			yes:    []*http.Request{request("POST /")},
			no:     []*http.Request{request("GET /"), request("post /")},
		},
		"Header": {
			reason: "header names have no case, values do",
			match:  Match{Headers: []Value{ExactValue("x-user", "Ann")}},
			yes:    []*http.Request{request("GET /", "X-USER", "Ann")},
			no:     []*http.Request{request("GET /", "X-User", "ann"), request("GET /"), request("GET /", "X-User", "Ann", "X-User", "Bob")},
		},
		"HeaderRegex": {
			reason: "a repeated header is one list",
			match:  Match{Headers: []Value{mustRegexValue(t, "X-User", "Ann(,.*)?")}},
			yes:    []*http.Request{request("GET /", "X-User", "Ann"), request("GET /", "X-User", "Ann", "X-User", "Bob")},
			no:     []*http.Request{request("GET /", "X-User", "Anna"), request("GET /", "X-User", "Bob", "X-User", "Ann")},
		},
		"EmptyValue": {
			reason: "an empty value is not an absent one",
			match:  Match{Query: []Value{mustRegexValue(t, "q", ".*")}},
			yes:    []*http.Request{request("GET /?q="), request("GET /?q")},
			no:     []*http.Request{request("GET /"), request("GET /?Q=1")},
		},
		"Query": {
			reason: "of a repeated parameter the first counts",
			match:  Match{Query: []Value{ExactValue("v", "2")}},
			yes:    []*http.Request{request("GET /?v=2"), request("GET /?v=2&v=1")},
			no:     []*http.Request{request("GET /?v=1&v=2"), request("GET /?v=22")},
		},
		"All": {
			reason: "all conditions must hold",
			match: Match{
				Path: Prefix("/a"), Method: "GET",
				Headers: []Value{ExactValue("H", "1"), ExactValue("I", "2")}, Query: []Value{ExactValue("q", "3")},
			},
			yes: []*http.Request{request("GET /a?q=3", "H", "1", "I", "2")},
			no: []*http.Request{
				request("GET /b?q=3", "H", "1", "I", "2"), request("PUT /a?q=3", "H", "1", "I", "2"),
				request("GET /a?q=3", "H", "1"), request("GET /a?q=4", "H", "1", "I", "2"),
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, r := range tc.yes {
				if !tc.match.holds(r, r.URL.Query()) {
					t.Errorf("%s: does not hold for %s %s %v", tc.reason, r.Method, r.URL, r.Header)
				}
			}
			for _, r := range tc.no {
				if tc.match.holds(r, r.URL.Query()) {
					t.Errorf("%s: holds for %s %s %v", tc.reason, r.Method, r.URL, r.Header)
				}
			}
		})
	}
}

func TestBadExpressionIsRefused(t *testing.T) {
	if _, err := Regex("("); err == nil {
		t.Error("Regex took (")
	}
	if _, err := RegexValue("x", "["); err == nil {
		t.Error("RegexValue took [")
	}
}

func TestFindTakesTheMostSpecificMatch(t *testing.T) {
	header := func(names ...string) (list []Value) {
		for _, n := range names {
			list = append(list, ExactValue(n, "1"))
		}
		return list
	}
	// Each match takes precedence over all after it; all hold for the request.
	ordered := []Match{
		{Path: Exact("/a/b"), Method: "GET"},
		{Path: Exact("/a/b"), Headers: header("A", "B")},
		{Path: Exact("/a/b")},
		{Path: Prefix("/a/b"), Method: "GET", Headers: header("A")},
		{Path: Prefix("/a/b"), Method: "GET", Query: header("q", "r")},
		{Path: Prefix("/a/b"), Method: "GET"},
		{Path: Prefix("/a/b"), Headers: header("A", "B")},
		{Path: Prefix("/a/b"), Headers: header("A"), Query: header("q", "r")},
		{Path: Prefix("/a/b"), Headers: header("A"), Query: header("q")},
		{Path: Prefix("/a/b"), Headers: header("A")},
		{Path: Prefix("/a/b"), Query: header("q")},
		{Path: Prefix("/a/b")},
		{Path: Prefix("/a"), Method: "GET", Headers: header("A", "B")},
		{Path: Prefix("/a")},
		{Path: mustRegex(t, "/.*/.*"), Method: "GET"},
		{Path: mustRegex(t, "/a/very/long/expression|/a/b")},
		{Path: Prefix("/"), Method: "GET"},
		{Path: Prefix("/")},
	}
	r := request("GET /a/b?q=1&r=1", "A", "1", "B", "1")
	for first := range ordered {
		// The order in which they are listed must have no effect.
		var entries []Entry[int]
		for i := len(ordered) - 1; i >= first; i-- {
			entries = append(entries, Entry[int]{Match: ordered[i], Rule: i})
		}
		if got, ok := NewTable(entries).Find(r); !ok || got != first {
			t.Errorf("of the matches from %d on, %d was taken", first, got)
		}
	}
}

func TestFindTakesTheFirstOfEquals(t *testing.T) {
	table := NewTable([]Entry[string]{
		{Match: Match{Path: Prefix("/")}, Rule: "older"},
		{Match: Match{Path: Prefix("/")}, Rule: "newer"},
		{Match: Match{Path: Prefix("/x"), Headers: []Value{ExactValue("A", "1")}}, Rule: "first"},
		{Match: Match{Path: Prefix("/x"), Headers: []Value{ExactValue("B", "1")}}, Rule: "second"},
	})
	if got, _ := table.Find(request("GET /")); got != "older" {
		t.Errorf("%s was taken, want the older", got)
	}
	if got, _ := table.Find(request("GET /x", "A", "1", "B", "1")); got != "first" {
		t.Errorf("%s was taken, want the first", got)
	}
}

func TestFindTakesTheMostSpecificHost(t *testing.T) {
	root := Match{Path: Prefix("/")}
	table := NewTable([]Entry[string]{
		{Host: "", Match: root, Rule: "any"},
		{Host: "*.com", Match: root, Rule: "com"},
		{Host: "*.Example.com", Match: root, Rule: "wild"},
		{Host: "shop.example.com", Match: Match{Path: Prefix("/cart")}, Rule: "shop"},
		{Host: "*.deep.example.com", Match: root, Rule: "deep"},
	})
	cases := map[string]struct{ reason, host, path, want string }{
		"Exact":       {reason: "the very host", host: "shop.example.com", path: "/cart", want: "shop"},
		"Port":        {reason: "the port does not count", host: "shop.example.com:8080", path: "/cart", want: "shop"},
		"Case":        {reason: "nor does case", host: "Shop.EXAMPLE.com", path: "/cart", want: "shop"},
		"FinalDot":    {reason: "nor a final dot", host: "shop.example.com.", path: "/cart", want: "shop"},
		"NoFallback":  {reason: "the most specific host decides alone", host: "shop.example.com", path: "/", want: ""},
		"Wildcard":    {reason: "one label", host: "x.example.com", path: "/", want: "wild"},
		"TwoLabels":   {reason: "several labels", host: "y.x.example.com", path: "/", want: "wild"},
		"Longer":      {reason: "the longer wildcard", host: "x.deep.example.com", path: "/", want: "deep"},
		"NotItself":   {reason: "a wildcard needs a label", host: "deep.example.com", path: "/", want: "wild"},
		"NotItself2":  {reason: "a wildcard needs a label", host: "example.com", path: "/", want: "com"},
		"Any":         {reason: "no host is for all others", host: "example.org", path: "/", want: "any"},
		"Address":     {reason: "an address is a host", host: "10.0.0.3:80", path: "/", want: "any"},
		"IPv6Address": {reason: "an address is a host", host: "[::1]:80", path: "/", want: "any"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := request("GET " + tc.path)
			r.Host = tc.host
			if got, ok := table.Find(r); got != tc.want || ok != (tc.want != "") {
				t.Errorf("%s: found %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

func TestIntersect(t *testing.T) {
	cases := map[string]struct {
		reason, a, b, want string
		none               bool
	}{
		"Any":       {reason: "no host covers all", a: "", b: "x.com", want: "x.com"},
		"AnyWild":   {reason: "no host covers all", a: "", b: "*.com", want: "*.com"},
		"Both":      {reason: "all of all", a: "", b: "", want: ""},
		"Same":      {reason: "the same, whatever the case", a: "X.com", b: "x.com", want: "x.com"},
		"Other":     {reason: "two hosts", a: "x.com", b: "y.com", none: true},
		"Wild":      {reason: "a wildcard and one of its hosts", a: "*.com", b: "x.com", want: "x.com"},
		"WildDeep":  {reason: "a wildcard has any number of labels", a: "*.com", b: "a.x.com", want: "a.x.com"},
		"WildBare":  {reason: "a wildcard has at least one label", a: "*.x.com", b: "x.com", none: true},
		"WildWild":  {reason: "the narrower wildcard", a: "*.com", b: "*.x.com", want: "*.x.com"},
		"WildOther": {reason: "two wildcards apart", a: "*.x.com", b: "*.y.com", none: true},
		"Suffix":    {reason: "labels, not characters", a: "*.x.com", b: "a.xx.com", none: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]string{{tc.a, tc.b}, {tc.b, tc.a}} {
				got, ok := Intersect(pair[0], pair[1])
				if got != tc.want || ok == tc.none {
					t.Errorf("%s: Intersect(%q, %q) = %q, %v; want %q, %v", tc.reason, pair[0], pair[1], got, ok, tc.want, !tc.none)
				}
			}
		})
	}
}
