package conformance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// matching are extras that match one value.
func matching(field string, v v1alpha1.ValueMatch) *v1alpha1.Extras {
	var m v1alpha1.Match
	switch field {
	case "cookies":
		m.Cookies = []v1alpha1.ValueMatch{v}
	case "queryParams":
		m.QueryParams = []v1alpha1.ValueMatch{v}
	default:
		m.Headers = []v1alpha1.ValueMatch{v}
	}
	return &v1alpha1.Extras{Matches: []v1alpha1.Match{m}}
}

// possible are extras by what they need, each with whether the provider can do it
// in routes of a kind.
func (c Capabilities) possible(kind string) map[string]struct {
	extras *v1alpha1.Extras
	can    bool
} {
	delay := matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"})
	delay.Fault = &v1alpha1.Fault{Type: v1alpha1.FaultDelay, Delay: &v1alpha1.FaultDelayed{Duration: "1500ms"}, Weight: 50}
	abort := matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"})
	abort.Fault = &v1alpha1.Fault{Type: v1alpha1.FaultAbort, Abort: &v1alpha1.FaultAborted{HTTPStatus: 503}, Weight: 10}
	several := matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"})
	several.Matches = append(several.Matches, v1alpha1.Match{
		Headers: []v1alpha1.ValueMatch{{Name: "X-Team", Value: "qa"}, {Type: v1alpha1.MatchRegularExpression, Name: "x-user", Value: "[a-f].*"}},
		Cookies: []v1alpha1.ValueMatch{{Name: "cohort", Value: "b"}},
	})
	return map[string]struct {
		extras *v1alpha1.Extras
		can    bool
	}{
		"headers":     {matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"}), c.Matches},
		"expressions": {matching("headers", v1alpha1.ValueMatch{Type: v1alpha1.MatchRegularExpression, Name: "x-cohort", Value: "b|c"}), c.Matches},
		"cookies":     {matching("cookies", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}), c.Matches},
		"queryParams": {matching("queryParams", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}), c.Matches && slices.Contains(c.QueryParams, kind)},
		"several":     {several, c.Matches},
		"mirror":      {&v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 20}}, c.Mirror},
		"mirrorAll":   {&v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 100}}, c.Mirror},
		"delay":       {delay, c.Fault},
		"abort":       {abort, c.Fault},
	}
}

// asking is the target with extras.
func asking(target providers.Target, extras *v1alpha1.Extras) providers.Target {
	target.Extras = extras
	target.Planned = []*v1alpha1.Extras{extras}
	return target
}

// mustHave checks that every rule does exactly what the extras say.
func (f *fixture) mustHave(t *testing.T, target providers.Target, weight int32) {
	t.Helper()
	o := f.observe(t, target)
	got := []any{o.Split, o.Extras, o.Whole, o.Stray, o.LowestWeight, o.Weight}
	if diff := cmp.Diff([]any{true, true, true, false, weight, weight}, got); diff != "" {
		t.Fatalf("split, some of the extras, all of them, others, lowest and highest weight (-want +got):\n%s", diff)
	}
}

// testExtras: what a step does beside the weight comes, goes with the first
// lowering, and leaves the user's rules as they were. What the provider cannot do is
// refused by name, and before anything is written.
func testExtras(t *testing.T, f *fixture) {
	for name, tc := range f.Capabilities.possible(f.kind) {
		t.Run(name, func(t *testing.T) {
			start := f.create(t, f.route(strings.ToLower(name), shopRules()...))
			if tc.extras.Mirror == nil { // A mirror is in the user's rule itself.
				f.witness.base(start)
			}
			plain := f.target(start.GetName())
			target := asking(plain, tc.extras)
			if !tc.can {
				f.wantRefused(t, target)
				return
			}
			f.raise(t, target, 0, 1)
			f.mustHave(t, target, 0)
			reached := f.get(t, start.GetName())
			f.raise(t, target, 0, 1)
			f.lower(t, target, 10000, 1)
			if got := f.get(t, start.GetName()); number(got) != number(reached) {
				t.Error("asking for the same again wrote")
			}
			if o := f.observe(t, plain); !o.Stray || !o.Exposes() {
				t.Errorf("extras that nobody asks for any more: %+v", o)
			}
			if tc.extras.Mirror == nil {
				f.raise(t, target, 500, 2)
				f.mustHave(t, target, 500)
			}
			f.lower(t, plain, 0, 3)
			if o := f.observe(t, plain); o.Exposes() {
				t.Errorf("after lowering to nothing: %+v", o)
			}
			f.raise(t, target, 0, 4)
			f.mustHave(t, target, 0)
			f.restore(t, plain, 5)
			mustBe(t, start, f.get(t, start.GetName()))
		})
	}
}

// throughCrashes makes a call, numbered for messages, by processes that each end after
// one write, until one comes to its end.
func (f *fixture) throughCrashes(t *testing.T, number int, call func(providers.Provider) error) {
	t.Helper()
	for n := 0; ; n++ {
		weir, _ := crashing(f.Weir, 1)
		err := call(f.New(weir))
		if err == nil {
			return
		}
		if !errors.Is(err, errCrash) || n == 30 {
			t.Fatalf("call %d in process %d: %v", number, n, err)
		}
	}
}

// testExtrasCrash: extras come and go by the calls of processes that each end after
// one write.
func testExtrasCrash(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	plain := f.target("shop")
	b := asking(plain, matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"}))
	c := asking(plain, matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "c"}))
	for i, call := range []func(providers.Provider) error{
		func(p providers.Provider) error { return p.Raise(t.Context(), b, 500, 1, nil) },
		func(p providers.Provider) error { return p.Raise(t.Context(), c, 500, 2, nil) },
		func(p providers.Provider) error { return p.Lower(t.Context(), plain, 100, 3) },
		func(p providers.Provider) error { return p.Raise(t.Context(), b, 100, 4, nil) },
		func(p providers.Provider) error { return p.Restore(t.Context(), plain, 5, nil) },
	} {
		f.throughCrashes(t, i, call)
		switch i {
		case 0, 3:
			f.mustHave(t, b, []int32{500, 0, 0, 100}[i])
		case 1:
			f.mustHave(t, c, 500)
		}
	}
	mustBe(t, start, f.get(t, "shop"))
}

// testExtrasShared: two Rollouts have extras in rules of one route, and each takes
// away its own.
func testExtrasShared(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	extras := matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"})
	web, pay := asking(f.target("shop"), extras), asking(f.targetOf("pay", "shop"), extras)
	f.raise(t, web, 500, 40)
	f.raise(t, pay, 0, 3)
	f.mustHave(t, web, 500)
	f.mustHave(t, pay, 0)
	f.restore(t, web, 41)
	f.mustHave(t, pay, 0)
	f.restore(t, pay, 4)
	mustBe(t, start, f.get(t, "shop"))
}

// testExtrasUndone: somebody puts the route back as it is in Git, by each kind of tool.
// With the split policy nothing is lost, and no tool sees a drift. Without it what is
// gone is seen, and comes back.
func testExtrasUndone(t *testing.T, f *fixture) {
	possible := f.Capabilities.possible(f.kind)
	for _, name := range []string{"headers", "mirror"} {
		if !possible[name].can {
			continue
		}
		for _, tool := range toolsOf(f.User) {
			t.Run(name+"/"+tool.manager, func(t *testing.T) {
				manifest := f.route(name+"-"+tool.manager, shopRules()...)
				f.create(t, manifest)
				target := asking(f.target(manifest.GetName()), possible[name].extras)
				f.raise(t, target, 0, 1)
				f.undoneBy(t, tool, manifest, target)
			})
		}
	}
}

// undoneBy is what becomes of extras at no weight when a tool writes the manifest.
func (f *fixture) undoneBy(t *testing.T, tool tool, manifest *unstructured.Unstructured, target providers.Target) {
	t.Helper()
	before := f.get(t, manifest.GetName())
	if f.Capabilities.SplitPolicy {
		f.noDrift(t, manifest, "before "+tool.manager)
	}
	insist(t, tool.manager, func(ctx context.Context) error { return tool.write(ctx, manifest.DeepCopy()) })
	if f.Capabilities.SplitPolicy {
		f.mustHave(t, target, 0)
		if diff := cmp.Diff(before.Object["spec"], f.get(t, manifest.GetName()).Object["spec"]); diff != "" {
			t.Errorf("after %s (-before +after):\n%s", tool.manager, diff)
		}
		return
	}
	if o := f.observe(t, target); o.Extras || o.Whole || o.ForeignWriter != tool.manager {
		t.Errorf("after %s undid the extras: %+v", tool.manager, o)
	}
	f.raise(t, target, 0, 1)
	f.mustHave(t, target, 0)
}

// testExtrasOutdated: a user's edit of a rule reaches the rule that was made from it,
// which goes on matching meanwhile.
func testExtrasOutdated(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	target := asking(f.target("shop"), matching("headers", v1alpha1.ValueMatch{Name: "x-cohort", Value: "b"}))
	f.raise(t, target, 0, 1)
	want := start.DeepCopy()
	f.Dialect.Annotate(want, "web", 1)
	f.witness.base(want)
	live := f.get(t, "shop")
	f.Dialect.Annotate(live, "web", 1)
	if err := f.User.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	if o := f.observe(t, target); !o.Extras || o.Whole || o.Stray {
		t.Errorf("after an edit of a rule: %+v", o)
	}
	f.raise(t, target, 0, 2)
	f.mustHave(t, target, 0)
	f.restore(t, target, 3)
	mustBe(t, want, f.get(t, "shop"))
}
