package conformance

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/providers"
)

// testUntouched: a route that nobody split is as its user wrote it.
func testUntouched(t *testing.T, f *fixture) {
	route := f.create(t, f.route("shop", shopRules()...))
	target := f.target("shop")
	target.Pairs = nil // not discovered yet
	o := f.observe(t, target)
	want := providers.Observation{
		Services: servicesOf(f.Dialect.Rules(route)), Routes: []string{f.kind + "/" + route.GetName()},
		Accepted: o.Accepted, Message: o.Message, ForeignWriter: o.ForeignWriter, // of no matter here
		Requests: o.Requests, Uncounted: o.Uncounted,
		Processed: true, // nobody serves it: what its parents are does not exist, or reports nothing
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("observation (-want +got):\n%s", diff)
	}
	if f.provider.Name() == "" {
		t.Error("the provider has no name")
	}
}

// servicesOf the backends of rules, in the order of their names.
func servicesOf(rules []Rule) []string {
	var out []string
	for _, r := range rules {
		for _, b := range r.Backends {
			out = append(out, b.Service)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// testRaiseAndRestore: every weight is reached exactly, asking twice writes
// nothing, and at the end all is as it was.
func testRaiseAndRestore(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	target := f.target("shop")
	for i, weight := range []int32{10, 100, 1000, 3333, 5000, 10000, 0, 1} {
		stamp := int64(i + 1)
		f.witness.atMost(max(weight, f.observe(t, target).Weight), number(f.get(t, "shop")))
		f.raise(t, target, weight, stamp)
		f.mustCarry(t, target, weight, stamp)
		reached := f.get(t, "shop")
		f.raise(t, target, weight, stamp)
		f.lower(t, target, weight, stamp)
		if got := f.get(t, "shop"); number(got) != number(reached) {
			t.Errorf("asking for %d again wrote version %d", weight, number(got))
		}
	}
	f.restore(t, target, 9)
	end := f.get(t, "shop")
	mustBe(t, start, end)
	f.restore(t, target, 9)
	if got := f.get(t, "shop"); number(got) != number(end) {
		t.Error("restoring again wrote")
	}
	if o := f.observe(t, target); o.Split || o.Weight != 0 || o.HighestStamp != 0 {
		t.Errorf("after restoring: %+v", o)
	}
}

// testLowerIsMonotone: lowering never raises, whatever the caller believed.
func testLowerIsMonotone(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()...)))
	target := f.target("shop")
	f.raise(t, target, 2500, 1)
	f.witness.atMost(2500, number(f.get(t, "shop")))
	f.lower(t, target, 5000, 2)
	f.mustCarry(t, target, 2500, 2)
	f.lower(t, target, 100, 3)
	f.mustCarry(t, target, 100, 3)
	f.lower(t, target, 0, 4)
	f.mustCarry(t, target, 0, 4)
	f.witness.atMost(0, number(f.get(t, "shop")))
	f.lower(t, target, 10000, 5)
	f.mustCarry(t, target, 0, 5)
}

// testLowerOnlyStamps: a route that is as the user wrote it is only stamped.
func testLowerOnlyStamps(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	f.witness.atMost(0, 0)
	target := f.target("shop")
	f.lower(t, target, 500, 7)
	if diff := cmp.Diff(start.Object["spec"], f.get(t, "shop").Object["spec"]); diff != "" {
		t.Errorf("lowering changed the user's route (-want +got):\n%s", diff)
	}
	if o := f.observe(t, target); o.Stamp != 7 || o.Split {
		t.Errorf("observation: %+v, want stamp 7 and no split", o)
	}
}

// testFencing: an object with a newer stamp is not written.
func testFencing(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()...)))
	target := f.target("shop")
	f.raise(t, target, 500, 9)
	reached := f.get(t, "shop")
	calls := map[string]error{
		"Lower":   f.provider.Lower(t.Context(), target, 0, 8),
		"Raise":   f.provider.Raise(t.Context(), target, 5000, 8, nil),
		"Restore": f.provider.Restore(t.Context(), target, 8, nil),
	}
	for name, err := range calls {
		if !errors.Is(err, providers.ErrFenced) {
			t.Errorf("%s with an older stamp: error is %v, want ErrFenced", name, err)
		}
	}
	if got := f.get(t, "shop"); number(got) != number(reached) {
		t.Error("a fenced call wrote")
	}
	f.lower(t, target, 0, 9) // the same stamp may go on
}

// testDeposedLeader: several leaders of the past raise as fast as they can; when
// the present one has lowered, none of them raises any more.
func testDeposedLeader(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()...)))
	target := f.target("shop")
	var leaders sync.WaitGroup
	for i := range int64(4) {
		leaders.Go(func() {
			old := f.New(f.Weir)
			for n := range int32(10) {
				// Conflicts and fences are what is to happen.
				_ = old.Raise(t.Context(), target, 1000+n*int32(i+1), i+1, nil)
			}
		})
	}
	f.lower(t, target, 0, 100)
	f.witness.atMost(0, number(f.get(t, "shop")))
	leaders.Wait()
	if o := f.observe(t, target); o.Weight != 0 || o.Stamp != 100 {
		t.Errorf("observation: %+v, want weight 0 and stamp 100", o)
	}
}

// testOvertakenWrite: what happens between a call's read and its write is not
// overwritten, be it a newer leader's lowering or a user's edit.
func testOvertakenWrite(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	target := f.target("shop")
	f.raise(t, target, 500, 1)
	deposed := f.New(overtaken(f.Weir, func() { f.lower(t, target, 0, 3) }))
	if err := deposed.Raise(t.Context(), target, 5000, 2, nil); !errors.Is(err, providers.ErrFenced) {
		t.Errorf("a raise that a newer leader's lowering overtook: error is %v, want ErrFenced", err)
	}
	f.mustCarry(t, target, 0, 3)
	want := start.DeepCopy()
	f.Dialect.Annotate(want, "web", 1)
	f.witness.base(want)
	edited := f.New(overtaken(f.Weir, func() {
		live := f.get(t, "shop")
		f.Dialect.Annotate(live, "web", 1)
		if err := f.User.Update(t.Context(), live); err != nil {
			t.Error(err)
		}
	}))
	if err := edited.Restore(t.Context(), target, 4, nil); err != nil {
		t.Errorf("a restore that a user's edit overtook: %v", err)
	}
	mustBe(t, want, f.get(t, "shop"))
}

// testConfirm: what does not only lower is confirmed between its read and its
// write, and writes nothing when that is refused. A process that was stopped
// before it read a route, even one that was restored and has no stamp, is found
// out by this alone.
func testConfirm(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()...)))
	target := f.target("shop")
	refused := errors.New("others have decided since")
	before := f.get(t, "shop")
	refuse := func(context.Context) error { return refused }
	calls := map[string]error{"Raise": f.provider.Raise(t.Context(), target, 2500, 1, refuse)}
	if got := f.get(t, "shop"); number(got) != number(before) {
		t.Error("a raise without a confirmation wrote")
	}
	f.raise(t, target, 500, 2)
	before = f.get(t, "shop")
	calls["Restore"] = f.provider.Restore(t.Context(), target, 2, refuse)
	if got := f.get(t, "shop"); number(got) != number(before) {
		t.Error("a restore without a confirmation wrote")
	}
	for name, err := range calls {
		if !errors.Is(err, refused) {
			t.Errorf("%s without a confirmation: error is %v, want %v", name, err, refused)
		}
	}

	// A decision that is made while the confirmation is given is newer than the
	// read, so the write loses.
	f.lower(t, target, 0, 2)
	err := f.provider.Raise(t.Context(), target, 5000, 3, func(context.Context) error {
		if f.observe(t, target).Stamp < 9 {
			f.lower(t, target, 0, 9)
		}
		return nil
	})
	if !errors.Is(err, providers.ErrFenced) {
		t.Errorf("Raise with a lowering between its read and its write: error is %v, want ErrFenced", err)
	}
	f.mustCarry(t, target, 0, 9)
}

// testCrashAnywhere: a call that ends after any of its writes is finished by the
// same call of the next process.
func testCrashAnywhere(t *testing.T, f *fixture) {
	calls := []struct {
		name string
		call func(providers.Provider, providers.Target) error
	}{
		{"Raise", func(p providers.Provider, target providers.Target) error {
			return p.Raise(t.Context(), target, 2500, 2, nil)
		}},
		{"Lower", func(p providers.Provider, target providers.Target) error {
			return p.Lower(t.Context(), target, 0, 3)
		}},
		{"Restore", func(p providers.Provider, target providers.Target) error {
			return p.Restore(t.Context(), target, 4, nil)
		}},
	}
	first, second := f.create(t, f.route("first", shopRules()...)), f.create(t, f.route("second", shopRules()...))
	f.witness.base(first)
	f.witness.base(second)
	f.witness.oneRule()
	target := f.target("first", "second")
	for _, c := range calls {
		for n := 1; ; n++ {
			weir, writes := crashing(f.Weir, 1)
			err := c.call(f.New(weir), target)
			if err == nil {
				if *writes > 0 || n == 1 {
					t.Errorf("%s: %d writes in process %d, and no error", c.name, *writes, n)
				}
				break
			}
			if !errors.Is(err, errCrash) {
				t.Fatalf("%s in process %d: %v", c.name, n, err)
			}
			if n == 20 {
				t.Fatalf("%s is not done in %d processes", c.name, n)
			}
		}
		switch c.name {
		case "Raise":
			f.mustCarry(t, target, 2500, 2)
		case "Lower":
			f.mustCarry(t, target, 0, 3)
		}
	}
	mustBe(t, first, f.get(t, "first"))
	mustBe(t, second, f.get(t, "second"))
}

// testOneRuleAtATime: no write changes two rules, and none changes a rule that
// is not ours.
func testOneRuleAtATime(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	f.witness.oneRule()
	target := f.target("shop")
	f.raise(t, target, 500, 1)
	f.raise(t, target, 2500, 2)
	f.lower(t, target, 100, 3)
	f.restore(t, target, 4)
	f.witness.caughtUp(t, f.get(t, "shop"))
	theirs := f.Dialect.Rules(start)[1]
	for _, v := range f.witness.versions() {
		if diff := cmp.Diff(theirs, v.rules[1]); diff != "" {
			t.Errorf("version %d: somebody else's rule (-want +got):\n%s", v.number, diff)
		}
	}
	mustBe(t, start, f.get(t, "shop"))
}

// testUserEdits: what the user changes during the split is theirs, in a rule
// that is split and in one that is not.
func testUserEdits(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	target := f.target("shop")
	f.raise(t, target, 500, 1)
	want := start.DeepCopy()
	for i, rule := range []string{"pay", "web"} {
		live := f.get(t, "shop")
		f.Dialect.Annotate(live, rule, i+1)
		f.Dialect.Annotate(want, rule, i+1)
		f.witness.base(want)
		if err := f.User.Update(t.Context(), live); err != nil {
			t.Fatalf("cannot edit rule %s: %v", rule, err)
		}
		f.mustCarry(t, target, 500, 1)
	}
	f.raise(t, target, 2500, 2)
	f.mustCarry(t, target, 2500, 2)
	f.restore(t, target, 3)
	mustBe(t, want, f.get(t, "shop"))
}

// testLowersBeforeRaising: of two routes that differ, the higher one is lowered
// before the other is raised.
func testLowersBeforeRaising(t *testing.T, f *fixture) {
	for _, name := range []string{"first", "second"} {
		f.witness.base(f.create(t, f.route(name, shopRules()[:1]...)))
	}
	f.raise(t, f.target("second"), 5000, 1)
	from := number(f.get(t, "second"))
	f.raise(t, f.target("first", "second"), 2500, 2)
	f.witness.caughtUp(t, f.get(t, "first"))
	f.witness.caughtUp(t, f.get(t, "second"))
	var names []string
	for _, v := range f.witness.versions() {
		if v.number > from {
			names = append(names, v.name)
		}
	}
	want := []string{f.route("second").GetName(), f.route("first").GetName()}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("objects written, in their order (-want +got):\n%s", diff)
	}
}

// testTwoOwners: two Rollouts split rules of one route without meeting.
func testTwoOwners(t *testing.T, f *fixture) {
	start := f.create(t, f.route("shop", shopRules()...))
	f.witness.base(start)
	web, pay := f.target("shop"), f.targetOf("pay", "shop")
	f.raise(t, web, 500, 40)
	f.raise(t, pay, 2500, 3) // stamps are each owner's own
	f.mustCarry(t, web, 500, 40)
	f.mustCarry(t, pay, 2500, 3)
	if o := f.observe(t, web); slices.Contains(o.Services, "pay-canary") {
		t.Errorf("Services are %v: pay-canary is Weir's", o.Services)
	}
	f.restore(t, web, 41)
	f.mustCarry(t, pay, 2500, 3)
	f.lower(t, pay, 0, 4)
	f.raise(t, web, 100, 42)
	f.restore(t, pay, 5)
	f.mustCarry(t, web, 100, 42)
	f.restore(t, web, 43)
	mustBe(t, start, f.get(t, "shop"))
}

// testTwoOwnersOfOneRule: a rule that another Rollout splits is refused.
func testTwoOwnersOfOneRule(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()...)))
	f.raise(t, f.target("shop"), 500, 1)
	other := f.target("shop")
	other.Owner = "other"
	f.wantRefused(t, other)
}

// testMixedRules: weights that the user gave several backends keep their ratio,
// at any share, and come back.
func testMixedRules(t *testing.T, f *fixture) {
	rules := []Rule{
		{Name: "mixed", Backends: []Backend{{"legacy", 3, ""}, {"web", 90, ""}, {"other", 7, ""}}},
		{Name: "equal", Backends: []Backend{{"web", 1, ""}, {"legacy", 1, ""}}},
		{Name: "hundred", Backends: []Backend{{"web", 100, ""}}},
	}
	routes := map[string][]Rule{"shop": rules}
	if f.Capabilities.OneRule {
		routes = map[string][]Rule{"mixed": rules[:1], "equal": rules[1:2], "hundred": rules[2:]}
	}
	f.witness.oneRule()
	starts := map[string]*unstructured.Unstructured{}
	for name, rules := range routes {
		starts[name] = f.create(t, f.route(name, rules...))
		f.witness.base(starts[name])
	}
	target := f.target(slices.Sorted(maps.Keys(routes))...)
	for i, weight := range []int32{10, 777, 5000, 10000} {
		f.raise(t, target, weight, int64(i+1))
		f.mustCarry(t, target, weight, int64(i+1))
	}
	f.restore(t, target, 9)
	for name, start := range starts {
		mustBe(t, start, f.get(t, name))
	}
}

// testAcceptance: what the data plane has not taken in its present state is not
// accepted.
func testAcceptance(t *testing.T, f *fixture) {
	f.witness.base(f.create(t, f.route("shop", shopRules()[:1]...)))
	target := f.target("shop")
	accepted := func(want bool, when string) {
		t.Helper()
		o := f.observe(t, target)
		if o.Accepted != want || o.Accepted == (o.Message != "") {
			t.Errorf("%s: accepted is %t, want %t; message %q", when, o.Accepted, want, o.Message)
		}
	}
	accepted(false, "before any status")
	accept := func() {
		t.Helper()
		f.accept(t, f.get(t, "shop"))
	}
	accept()
	accepted(true, "when the status says so")
	f.raise(t, target, 500, 1)
	accepted(false, "after a raise")
	accept()
	accepted(true, "when the status says so of the raised weight")
	f.lower(t, target, 500, 2)
	accepted(true, "after a mere stamp")
}

// testObserverOnly: a provider that has nothing to write writes nothing.
func (h Harness) testObserverOnly(t *testing.T) {
	weir, writes := crashing(h.Weir, 0)
	p := h.New(weir)
	target := providers.Target{Namespace: h.Namespace(t), Owner: "web", StableRevision: "old", CanaryRevision: "new"}
	for call, err := range map[string]error{
		"Lower":   p.Lower(t.Context(), target, 0, 1),
		"Raise":   p.Raise(t.Context(), target, 500, 2, nil),
		"Restore": p.Restore(t.Context(), target, 3, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", call, err)
		}
	}
	o, err := p.Observe(t.Context(), target, true)
	if err != nil || o.Split || o.Weight != 0 {
		t.Errorf("without pods: %+v, error %v", o, err)
	}
	if *writes != 0 {
		t.Errorf("%d writes", *writes)
	}
}
