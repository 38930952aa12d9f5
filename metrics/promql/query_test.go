package promql

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/util/strutil"
)

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason string
		query  string
		err    string
	}{
		"Vector":      {reason: "the usual query", query: `sum(rate(errors_total{pod=~"{{canaryPods}}"}[1m]))`},
		"Scalar":      {reason: "a scalar is a number", query: `1 + 1`},
		"Comment":     {reason: "comments are PromQL", query: "up # {{nonsense}\n"},
		"Empty":       {reason: "nothing is no query", query: ``, err: "no expression found"},
		"Open":        {reason: "the place of the mistake is named", query: `rate(errors_total[5m)`, err: "1:21"},
		"Matrix":      {reason: "raw samples are no number", query: `up[5m]`, err: "a range vector, not a number"},
		"String":      {reason: "a text is no number", query: `"up"`, err: "a string, not a number"},
		"Outside":     {reason: "a placeholder outside a literal says where it may stand", query: `up{namespace={{namespace}}}`, err: "inside string literals"},
		"NoFunction":  {reason: "an unknown function", query: `p99(x)`, err: "unknown function"},
		"WrongArg":    {reason: "types are checked", query: `rate(x)`, err: "expected type range vector"},
		"BadPattern":  {reason: "patterns are compiled", query: `up{a=~"("}`, err: "error parsing regexp"},
		"Experiments": {reason: "what a server understands only with a flag is refused", query: `limitk(1, up)`, err: "experimental"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := Check(tc.query)
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("%s: Check(%q): %v", tc.reason, tc.query, err)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("%s: Check(%q) = %v, want an error with %q", tc.reason, tc.query, err, tc.err)
			}
		})
	}
}

func TestPlaceholders(t *testing.T) {
	query := `sum(x{ns="{{ namespace }}",pod=~"{{canaryPods}}|{{canaryPods}}"}) > scalar(y{a="{{args.a}}"}) # {{comment}}`
	want := []string{"args.a", "canaryPods", "namespace"}
	if diff := cmp.Diff(want, Placeholders(query)); diff != "" {
		t.Errorf("each once, without space, not those of comments: -want, +got:\n%s", diff)
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"namespace": "shop", "canaryPods": `web-1|web\.2`, "args.who": `"} or up{a="`, "args.tick": "`", "args.pattern": "("}
	cases := map[string]struct {
		reason string
		query  string
		want   string
		err    string
	}{
		"None":       {reason: "a query without placeholders stays as it is", query: "up  # all\n", want: "up  # all\n"},
		"Simple":     {reason: "the value stands in its literal", query: `up{namespace="{{namespace}}"}`, want: `up{namespace="shop"}`},
		"Part":       {reason: "the rest of the literal stays", query: `up{pod=~"^({{canaryPods}})$"}`, want: `up{pod=~"^(web-1|web\\.2)$"}`},
		"Hostile":    {reason: "a value cannot end its literal", query: `up{a="{{args.who}}"}`, want: `up{a="\"} or up{a=\""}`},
		"Backtick":   {reason: "nor a raw one", query: "up{a=`{{args.tick}}`}", want: "up{a=\"`\"}"},
		"SingleQ":    {reason: "single quotes are quotes", query: `up{a='{{ namespace }}',b='"'}`, want: `up{a="shop",b='"'}`},
		"Comment":    {reason: "comments are left alone", query: `up{a="{{namespace}}"} # {{unknown}} "`, want: `up{a="shop"} # {{unknown}} "`},
		"Unknown":    {reason: "what has no value is named, and what has one", query: `up{a="{{args.x}}"}`, err: `{{args.x}} has no value: there are args.pattern, args.tick`},
		"BadPattern": {reason: "a value that breaks its pattern is found", query: `up{a=~"{{args.pattern}}"}`, err: "error parsing regexp"},
		"Outside":    {reason: "outside a literal nothing is replaced", query: `up{a={{namespace}}}`, err: "inside string literals"},
		"Function":   {reason: "literals that are arguments of functions too", query: `label_replace(up, "a", "{{namespace}}", "b", ".*")`, want: `label_replace(up, "a", "shop", "b", ".*")`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Expand(tc.query, values)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s: got %q, %v, want an error with %q", tc.reason, got, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// tokens of a query: the kinds, and apart the texts of the string literals.
func tokens(query string) (kinds []parser.ItemType, texts []string) {
	lexer := parser.Lex(query)
	for {
		var item parser.Item
		lexer.NextItem(&item)
		kinds = append(kinds, item.Typ)
		if item.Typ == parser.STRING {
			text, err := strutil.Unquote(item.Val)
			if err != nil {
				text = err.Error()
			}
			texts = append(texts, text)
		}
		if item.Typ == parser.EOF || item.Typ == parser.ERROR {
			return kinds, texts
		}
	}
}

// FuzzExpand: whatever a value holds, the query keeps its structure. Only the
// texts of literals change, and only by the replacement.
func FuzzExpand(f *testing.F) {
	for _, v := range []string{"shop", `"`, `"}`, "`", `\`, "'", "\n", "{{namespace}}", "\x00", "\xff", "#", "😀"} {
		f.Add(`sum(up{a="{{args.x}}",b='{{args.x}}',c=~"y"}) # "`, v)
	}
	f.Add("up{a=`{{args.x}}`} > 1", "`")
	f.Fuzz(func(t *testing.T, query, value string) {
		got, err := Expand(query, map[string]string{"args.x": value})
		if err != nil {
			return
		}
		before, literals := tokens(query)
		after, replaced := tokens(got)
		if diff := cmp.Diff(before, after); diff != "" {
			t.Fatalf("%q with %q became %q, another query:\n%s", query, value, got, diff)
		}
		for i, text := range literals {
			want, err := replace(text, map[string]string{"args.x": value})
			if err != nil {
				t.Fatalf("%q was expanded with an unknown placeholder", query)
			}
			if want != replaced[i] {
				t.Errorf("literal %q became %q, want %q", text, replaced[i], want)
			}
		}
	})
}
