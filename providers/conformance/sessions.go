package conformance

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// keeping is the target with users who are kept with their version at a weight, after
// they were drawn at another one.
func keeping(target providers.Target, weight, before int32) providers.Target {
	target.Session = &providers.Session{
		Cookie: "weir-" + target.Owner, MaxAge: time.Hour, Release: target.CanaryRevision + "-1", Weight: weight, Before: before,
	}
	return target
}

// mustKeep checks that every rule has exactly the weight, and the sessions.
func (f *fixture) mustKeep(t *testing.T, target providers.Target) {
	t.Helper()
	o := f.observe(t, target)
	got := []any{o.Split, o.Stray, o.Loose, o.LowestWeight, o.Weight}
	if diff := cmp.Diff([]any{true, false, false, target.Session.Weight, target.Session.Weight}, got); diff != "" {
		t.Fatalf("split, others' rules, lack of sessions, lowest and highest weight (-want +got):\n%s", diff)
	}
}

// testSessions: rules that keep users with their version come with the weight, follow
// it without taking anybody's session, and go with it. Where routes have no sessions,
// the kind of route is split by its weights alone, or refused.
func testSessions(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	plain := f.target("shop")
	first, next := keeping(plain, 500, 0), keeping(plain, 2500, 500)
	if !slices.Contains(f.Capabilities.Sticky, f.kind) {
		f.wantNoSessions(t, first, len(f.Dialect.Rules(start)))
		return
	}
	f.raise(t, first, 500, 1)
	f.mustKeep(t, first)
	reached := f.get(t, "shop")
	f.raise(t, first, 500, 1)
	f.lower(t, first, 500, 1)
	if got := f.get(t, "shop"); number(got) != number(reached) {
		t.Error("asking for the same again wrote")
	}
	if o := f.observe(t, next); !o.Loose || o.Stray {
		t.Errorf("before the next step's raise: %+v, want what only lacks the new draw", o)
	}
	f.raise(t, next, 2500, 2)
	f.mustKeep(t, next)
	both := asking(next, matching("cookies", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}))
	f.raise(t, both, 2500, 3)
	f.mustKeep(t, both)
	f.mustHave(t, both, 2500)
	f.raise(t, next, 2500, 4)
	f.mustKeep(t, next)
	full := keeping(plain, v1alpha1.FullWeight, 2500)
	f.raise(t, full, v1alpha1.FullWeight, 5)
	f.mustKeep(t, full)
	if got, most := len(f.Dialect.Rules(f.get(t, "shop"))), len(f.Dialect.Rules(start)); got != most {
		t.Errorf("at the full weight there are %d rules, not %d", got, most)
	}
	f.lower(t, keeping(plain, 0, 0), 0, 6)
	f.raise(t, next, 2500, 7)
	none := keeping(plain, 0, 0)
	if o := f.observe(t, none); !o.Stray || !o.Exposes() {
		t.Errorf("sessions that nobody asks for any more: %+v", o)
	}
	f.lower(t, none, 0, 8)
	if o := f.observe(t, none); o.Exposes() {
		t.Errorf("after a lowering to nothing: %+v", o)
	}
	f.raise(t, next, 2500, 9)
	f.restore(t, plain, 10)
	mustBe(t, start, f.get(t, "shop"))
}

// wantNoSessions checks that a target with sessions is refused, or that its routes
// get no rule for them.
func (f *fixture) wantNoSessions(t *testing.T, target providers.Target, rules int) {
	t.Helper()
	err := f.provider.Raise(t.Context(), target, 500, 1, nil)
	var unsupported *providers.UnsupportedError
	if errors.As(err, &unsupported) {
		if unsupported.Remedy == "" {
			t.Errorf("the refusal has no remedy: %v", err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	f.mustKeep(t, target)
	if got := len(f.Dialect.Rules(f.get(t, "shop"))); got != rules {
		t.Errorf("the route has %d rules, not %d", got, rules)
	}
}

// testSessionsCrash: sessions come and go by the calls of processes that each end
// after one write.
func testSessionsCrash(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	plain := f.target("shop")
	first, next := keeping(plain, 500, 0), keeping(plain, 2500, 500)
	for i, call := range []func(providers.Provider) error{
		func(p providers.Provider) error { return p.Raise(t.Context(), first, 500, 1, nil) },
		func(p providers.Provider) error { return p.Raise(t.Context(), next, 2500, 2, nil) },
		func(p providers.Provider) error { return p.Lower(t.Context(), keeping(plain, 0, 0), 0, 3) },
		func(p providers.Provider) error { return p.Raise(t.Context(), next, 2500, 4, nil) },
		func(p providers.Provider) error { return p.Restore(t.Context(), plain, 5, nil) },
	} {
		f.throughCrashes(t, i, call)
		switch i {
		case 0:
			f.mustKeep(t, first)
		case 1, 3:
			f.mustKeep(t, next)
		}
	}
	mustBe(t, start, f.get(t, "shop"))
}

// testSessionsUndone: a tool of each kind puts the route back as it is in Git. With the
// split policy nothing is lost. Without it what is gone is seen, and comes back.
func testSessionsUndone(t *testing.T, f *fixture) {
	sticky := slices.Contains(f.Capabilities.Sticky, f.kind)
	for _, tool := range toolsOf(f.User) {
		t.Run(tool.manager, func(t *testing.T) {
			manifest := f.route(tool.manager, shopRules()...)
			f.create(t, manifest)
			target := keeping(f.target(tool.manager), 500, 100)
			f.raise(t, target, 500, 1)
			before := f.get(t, tool.manager)
			insist(t, tool.manager, func(ctx context.Context) error { return tool.write(ctx, manifest.DeepCopy()) })
			if f.Capabilities.SplitPolicy {
				if diff := cmp.Diff(before.Object["spec"], f.get(t, tool.manager).Object["spec"]); diff != "" {
					t.Errorf("after %s (-before +after):\n%s", tool.manager, diff)
				}
			} else if o := f.observe(t, target); o.Stray || sticky && o.Split && !o.Loose {
				t.Errorf("after %s: %+v", tool.manager, o)
			}
			insist(t, "raise again", func(ctx context.Context) error { return f.provider.Raise(ctx, target, 500, 1, nil) })
			f.mustKeep(t, target)
			f.touch(t, tool.manager)
			f.mustKeep(t, target)
		})
	}
}

// touch writes the object as it is, but for a label, as an edit of the live object does.
func (f *fixture) touch(t *testing.T, name string) {
	t.Helper()
	eventually(t, "an edit of the live object", func(ctx context.Context) error {
		live := f.get(t, name)
		labels := live.GetLabels()
		labels["touched"] = "true"
		live.SetLabels(labels)
		return f.User.Update(ctx, live)
	})
}
