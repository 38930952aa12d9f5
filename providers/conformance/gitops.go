package conformance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
)

// insist repeats a call that loses races until it is done, as the controller
// does in its next pass.
func insist(t *testing.T, what string, call func(context.Context) error) {
	t.Helper()
	eventually(t, what, func(ctx context.Context) error {
		err := call(ctx)
		if err != nil && !apierrors.IsConflict(err) {
			t.Fatalf("%s: %v", what, err)
		}
		return err
	})
}

// carries waits until a version of the route had exactly this weight, and, with
// the policy, checks that it stays.
func (f *fixture) carries(t *testing.T, g *GitOps, target providers.Target, weight int32) {
	t.Helper()
	if !f.Capabilities.SplitPolicy {
		eventually(t, fmt.Sprintf("a version with %d", weight), func(context.Context) error {
			for _, v := range f.witness.versions() {
				if len(v.rules) > 0 && f.witness.share(v.rules[0]) == weight {
					return nil
				}
			}
			return fmt.Errorf("none among %d", len(f.witness.versions()))
		})
		return
	}
	g.Round(t)
	o := f.observe(t, target)
	if o.Weight != weight || o.LowestWeight != weight || o.ForeignWriter != "" {
		t.Errorf("after every tool wrote: %+v, want weight %d", o, weight)
	}
}

// testUnderGitOps: a whole release while three tools put the manifest back. The
// witness checks that no version of the route is less than whole or exposes more
// than was asked for.
func testUnderGitOps(t *testing.T, f *fixture) {
	manifest := f.route("shop", shopRules()...)
	f.witness.base(f.create(t, manifest))
	f.witness.atMost(0, 0)
	g := StartGitOps(t, f.User, manifest)
	target := f.target("shop")
	g.Round(t)
	stamp := int64(0)
	for _, weight := range []int32{10, 500, 5000, 100, 0, 10000} {
		stamp++
		// In this order: a tool may undo the split between the two reads.
		if before := f.observe(t, target).Weight; before < weight {
			f.witness.atMost(weight, number(f.get(t, "shop")))
		}
		insist(t, fmt.Sprintf("raise to %d", weight), func(ctx context.Context) error {
			return f.provider.Raise(ctx, target, weight, stamp, nil)
		})
		f.witness.atMost(weight, number(f.get(t, "shop")))
		f.carries(t, g, target, weight)
	}
	insist(t, "lower to 0", func(ctx context.Context) error { return f.provider.Lower(ctx, target, 0, stamp+1) })
	f.witness.atMost(0, number(f.get(t, "shop")))
	g.Round(t)
	f.givesBack(t, g, target, stamp+2)
}

// givesBack restores, and checks that the route is what the tools write.
func (f *fixture) givesBack(t *testing.T, g *GitOps, target providers.Target, stamp int64) {
	t.Helper()
	insist(t, "restore", func(ctx context.Context) error { return f.provider.Restore(ctx, target, stamp, nil) })
	g.Round(t)
	g.lock.Lock()
	manifest := g.manifest.DeepCopy()
	g.lock.Unlock()
	want := manifest.DeepCopy()
	want.SetName(manifest.GetName() + "-fresh")
	want = f.create(t, want)
	want.SetName(manifest.GetName())
	mustBe(t, want, f.get(t, manifest.GetName()))
}

// testChangesUnderGitOps: what is committed to Git during the split reaches the
// route, in our rules and in others, and the split stays.
func testChangesUnderGitOps(t *testing.T, f *fixture) {
	manifest := f.route("shop", shopRules()...)
	f.witness.base(f.create(t, manifest))
	g := StartGitOps(t, f.User, manifest)
	target := f.target("shop")
	insist(t, "raise", func(ctx context.Context) error { return f.provider.Raise(ctx, target, 500, 1, nil) })
	for i, rule := range []string{"pay", "web"} {
		next := manifest.DeepCopy()
		f.Dialect.Annotate(next, rule, i+1)
		f.witness.base(f.stored(t, next))
		manifest = g.commit(func(u *unstructured.Unstructured) { f.Dialect.Annotate(u, rule, i+1) })
		g.Round(t)
		want := f.Dialect.Rules(f.stored(t, manifest))
		for n, r := range f.Dialect.Rules(f.get(t, "shop")) {
			if r.Rest != want[n].Rest {
				t.Errorf("rule %s is %s, and Git says %s", r.Name, r.Rest, want[n].Rest)
			}
		}
		if f.Capabilities.SplitPolicy {
			f.carries(t, g, target, 500)
		}
	}
	insist(t, "lower to 0", func(ctx context.Context) error { return f.provider.Lower(ctx, target, 0, 2) })
	f.givesBack(t, g, target, 3)
}

// stored is the manifest as the API server would store it.
func (f *fixture) stored(t *testing.T, manifest *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	u := manifest.DeepCopy()
	u.SetName("")
	u.SetGenerateName("dry-run-")
	if err := f.User.Create(t.Context(), u, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	u.SetName(manifest.GetName())
	return u
}

// testTakesBackUnderGitOps: restoring from the middle of a split, with the tools
// at work between every two writes, still ends.
func testTakesBackUnderGitOps(t *testing.T, f *fixture) {
	manifest := f.route("shop", shopRules()...)
	f.witness.base(f.create(t, manifest))
	g := StartGitOps(t, f.User, manifest)
	target := f.target("shop")
	insist(t, "raise", func(ctx context.Context) error { return f.provider.Raise(ctx, target, 2500, 1, nil) })
	for n := 0; ; n++ {
		weir, _ := crashing(f.Weir, 1)
		err := f.New(weir).Restore(t.Context(), target, 2, nil)
		if err == nil {
			break
		}
		if n == 20 {
			t.Fatalf("not restored in %d processes: %v", n, err)
		}
		g.Round(t)
	}
	f.givesBack(t, g, target, 3)
}

// testNoDrift: with the policy, a tool that compares what it would write with
// what is there finds no difference, whatever rules and weights the user has.
func testNoDrift(t *testing.T, f *fixture) {
	seed := rand.Uint64()                    //nolint:gosec // Nothing secret.
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // It must repeat by its seed.
	for n := range 40 {
		rules := shopRules()
		if n > 0 && f.Capabilities.MixedRules {
			rules = randomRules(random)
		}
		weight := []int32{0, 7, 10, 500, 777, 2500, 3333, 10000}[random.IntN(8)]
		manifest := f.route(fmt.Sprintf("shop-%d", n), rules...)
		f.create(t, manifest)
		target := f.target(manifest.GetName())
		f.raise(t, target, 10, 1) // so that there is a split at 0, too
		f.raise(t, target, weight, 1)
		f.noDrift(t, manifest, fmt.Sprintf("seed %d, route %d at %d", seed, n, weight))
	}
}

// randomRules with weights of the user's, one at least with the workload.
func randomRules(random *rand.Rand) []Rule {
	rules := make([]Rule, 1+random.IntN(5))
	for i := range rules {
		rules[i].Name = fmt.Sprintf("rule-%d", i)
		for range 1 + random.IntN(4) {
			service := []string{"web", "pay", "legacy"}[random.IntN(3)]
			weight := random.Int64N([]int64{2, 10, 101, 1000}[random.IntN(4)]) + 1
			rules[i].Backends = append(rules[i].Backends, Backend{Service: service, Weight: weight})
		}
	}
	rules[0].Backends[0].Service = "web"
	return rules
}

// noDrift checks what tools would make of the object.
func (f *fixture) noDrift(t *testing.T, manifest *unstructured.Unstructured, what string) {
	t.Helper()
	live := f.get(t, manifest.GetName())
	applied := manifest.DeepCopy()
	err := f.User.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.ForceOwnership, client.FieldOwner(reconciler), client.DryRunAll)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	replaced := manifest.DeepCopy()
	replaced.SetResourceVersion(live.GetResourceVersion())
	if err := f.User.Update(t.Context(), replaced, client.FieldOwner(replacer), client.DryRunAll); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	edited := live.DeepCopy()
	edited.SetLabels(map[string]string{"edited": "by-hand"})
	if err := f.User.Update(t.Context(), edited, client.DryRunAll); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	for name, u := range map[string]*unstructured.Unstructured{"server-side apply": applied, "replace": replaced, "an edit": edited} {
		if diff := cmp.Diff(live.Object["spec"], u.Object["spec"]); diff != "" {
			t.Errorf("%s: %s would change (-live +written):\n%s", what, name, diff)
		}
	}
	if diff := cmp.Diff(written(live), written(replaced)); diff != "" {
		t.Errorf("%s: replace would change (-live +written):\n%s", what, diff)
	}
}

// testNamesForeignWriter: without the policy, whoever undoes the split is named, by a manifest or by hand.
func testNamesForeignWriter(t *testing.T, f *fixture) {
	manifest := f.route("shop", shopRules()...)
	f.create(t, manifest)
	target := f.target("shop")
	f.raise(t, target, 500, 1)
	if o := f.observe(t, target); o.ForeignWriter != "" {
		t.Errorf("foreign writer is %q before anyone wrote", o.ForeignWriter)
	}
	writers := map[string]func() error{
		reconciler: func() error { return user{f.User}.reconcile(t.Context(), manifest.DeepCopy()) },
		replacer: func() error {
			live := f.get(t, "shop")
			live.Object["spec"] = manifest.DeepCopy().Object["spec"]
			return f.User.Update(t.Context(), live, client.FieldOwner(replacer))
		},
	}
	names := map[string]string{reconciler: reconciler, replacer: replacer}
	if f.Capabilities.Unwritten {
		names = map[string]string{replacer: ""}
	}
	for writer, name := range names {
		if err := writers[writer](); err != nil {
			t.Fatal(err)
		}
		o := f.observe(t, target)
		if o.ForeignWriter != name || o.Weight != 0 || o.LowestWeight != 0 || o.Stamp != 1 {
			t.Errorf("after %s undid the split: %+v", writer, o)
		}
		f.raise(t, target, 500, 1)
		f.mustCarry(t, target, 500, 1)
		if o := f.observe(t, target); o.ForeignWriter != "" {
			t.Errorf("foreign writer is %q when the split is back", o.ForeignWriter)
		}
	}
}
