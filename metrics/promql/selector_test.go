package promql

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseSelector(t *testing.T) {
	cases := map[string]struct {
		reason string
		text   string
		want   string
		err    string
	}{
		"Name":         {reason: "a name alone selects all its series", text: `jobs_total`, want: `jobs_total`},
		"Matchers":     {reason: "all four operators are kept", text: `r{a="1",b!="2",c=~"5..",d!~"x|y"}`, want: `r{a="1",b!="2",c=~"5..",d!~"x|y"}`},
		"Quotes":       {reason: "every kind of literal means its text", text: "r{a='it\\'s',b=`a\\b`}", want: `r{a="it's",b="a\\b"}`},
		"Braces":       {reason: "braces in a value are part of it", text: `r{path=~"/a{2,3}"}`, want: `r{path=~"/a{2,3}"}`},
		"Spaces":       {reason: "space and a trailing comma mean nothing", text: ` r { a = "1" , } `, want: `r{a="1"}`},
		"NameAsLabel":  {reason: "the name may be written as a label", text: `{__name__="r",a="1"}`, want: `r{a="1"}`},
		"UTF8Name":     {reason: "a name beyond the old alphabet stays quoted", text: `{"http.requests",a="1"}`, want: `{"http.requests",a="1"}`},
		"Empty":        {reason: "no text, no selector", text: ``, err: "is not of the form"},
		"NoName":       {reason: "all series of a pod are no counter", text: `{a="1"}`, err: "must begin with the name"},
		"NamePattern":  {reason: "several metrics are no counter", text: `{__name__=~"r.*"}`, err: "exactly one metric"},
		"TwoNames":     {reason: "one metric, not two", text: `{__name__="r",__name__="s"}`, err: "exactly one metric"},
		"Range":        {reason: "the range is Weir's to add", text: `r[5m]`, err: "is not of the form"},
		"Function":     {reason: "a function has no raw samples", text: `rate(r[5m])`, err: "is not of the form"},
		"Two":          {reason: "an expression is no selector", text: `r or s`, err: "is not of the form"},
		"OpenLiteral":  {reason: "a literal that does not end", text: `r{a="1}`, err: "is not of the form"},
		"BadPattern":   {reason: "a pattern that does not compile", text: `r{a=~"("}`, err: "is not of the form"},
		"Splice":       {reason: "nothing can be smuggled in behind the braces", text: `r{a="1"} or vector(0)`, err: "is not of the form"},
		"NotPromQL":    {reason: "something else altogether", text: `SELECT 1`, err: "is not of the form"},
		"Placeholder":  {reason: "selectors have no placeholders", text: `r{{args.x}}`, err: "is not of the form"},
		"OffsetBefore": {reason: "samples of another time are no evidence", text: `r offset 5m`, err: "is not of the form"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseSelector(tc.text)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("%s: ParseSelector(%q) = %v, want an error with %q", tc.reason, tc.text, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: ParseSelector(%q): %v", tc.reason, tc.text, err)
			}
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestWith(t *testing.T) {
	base, err := ParseSelector(`r{a="1"}`)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		reason string
		values []string
		want   string
	}{
		"One":     {reason: "one value is compared, not matched", values: []string{"web-1"}, want: `r{a="1",pod="web-1"}`},
		"Several": {reason: "dots are dots", values: []string{"a.b", "c"}, want: `r{a="1",pod=~"a\\.b|c"}`},
		"Hostile": {reason: "a value stays one value", values: []string{`x"} or up{a="`}, want: `r{a="1",pod="x\"} or up{a=\""}`},
		"None":    {reason: "no value selects nothing, above all not series without the label", want: `r{a="1",pod=~"-"}`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := base.With("pod", tc.values...)
			if diff := cmp.Diff(tc.want, got.String()); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			for _, v := range tc.values {
				if !got.Matches(map[string]string{"__name__": "r", "a": "1", "pod": v}) {
					t.Errorf("%s: %s does not match pod %q", tc.reason, got, v)
				}
			}
			for _, other := range []string{"", "web", "axb", "other"} {
				if got.Matches(map[string]string{"__name__": "r", "a": "1", "pod": other}) {
					t.Errorf("%s: %s matches pod %q", tc.reason, got, other)
				}
			}
			if base.String() != `r{a="1"}` {
				t.Errorf("the selector that was narrowed has changed: %s", base)
			}
		})
	}
	if got, want := base.Range(90*time.Second), `r{a="1"}[90000ms]`; got != want {
		t.Errorf("Range: got %s, want %s", got, want)
	}
}

func TestWithin(t *testing.T) {
	cases := map[string]struct {
		reason       string
		narrow, wide string
		want         bool
	}{
		"Bare":       {reason: "any condition narrows a bare name", narrow: `r{code=~"5.."}`, wide: `r`, want: true},
		"Same":       {reason: "a selector is within itself", narrow: `r{a="1"}`, wide: `r{a="1"}`, want: true},
		"More":       {reason: "more conditions select less", narrow: `r{b="2",a="1"}`, wide: `r{a="1"}`, want: true},
		"Fewer":      {reason: "fewer conditions select more", narrow: `r`, wide: `r{a="1"}`, want: false},
		"Other":      {reason: "another metric is never within", narrow: `e`, wide: `r`, want: false},
		"Disjoint":   {reason: "a total that leaves the bad events out", narrow: `r{code=~"5.."}`, wide: `r{code!~"5.."}`, want: false},
		"OtherValue": {reason: "another value is another condition", narrow: `r{a="1"}`, wide: `r{a="2"}`, want: false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			narrow, err := ParseSelector(tc.narrow)
			if err != nil {
				t.Fatal(err)
			}
			wide, err := ParseSelector(tc.wide)
			if err != nil {
				t.Fatal(err)
			}
			if got := narrow.Within(wide); got != tc.want {
				t.Errorf("%s: %s within %s: got %t", tc.reason, narrow, wide, got)
			}
		})
	}
}

// FuzzParseSelector: what is accepted prints as PromQL that means the same, and
// narrowing it by any pod selects no other pod.
func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{`r`, `r{a="1",b!~"x|y"}`, "r{a=`\\`}", `{"a.b",c='"'}`, `r{a="\x00\u2028"}`, `r{`, `r{a="1"} or r`} {
		f.Add(s, "web-1")
	}
	f.Fuzz(func(t *testing.T, text, pod string) {
		s, err := ParseSelector(text)
		if err != nil {
			return
		}
		narrowed := s.With("pod", pod, "other")
		again, err := ParseSelector(narrowed.String())
		if err != nil {
			t.Fatalf("%q was read, its own text %q is not: %v", text, narrowed, err)
		}
		if diff := cmp.Diff(narrowed.String(), again.String()); diff != "" {
			t.Errorf("%q changes when it is read again:\n%s", text, diff)
		}
		if again.Name() != s.Name() || !again.Within(s) {
			t.Errorf("%q narrowed to %q is not within itself", text, again)
		}
	})
}
