package conformance

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

const (
	// patience bounds every wait for the API server or for another writer.
	patience = 30 * time.Second
	// poll is how often a wait looks.
	poll = 20 * time.Millisecond
)

// shopRules are the rules of the route that most tests use: one that is only
// the workload's, one of somebody else, and another of the workload's. A kind whose
// objects are one rule has the first.
func shopRules() []Rule {
	return []Rule{
		{Name: "web", Backends: []Backend{{Service: "web", Weight: 1}}},
		{Name: "pay", Backends: []Backend{{Service: "pay", Weight: 1}}},
		{Name: "web-too", Backends: []Backend{{Service: "web", Weight: 1}}},
	}
}

// fixture is one namespace with routes, and a witness who sees every version of
// them.
type fixture struct {
	Harness
	kind      string
	namespace string
	provider  providers.Provider
	witness   *witness
}

func newFixture(t *testing.T, h Harness, kind string) *fixture {
	t.Helper()
	f := &fixture{Harness: h, kind: kind, namespace: h.Namespace(t), provider: h.New(h.Weir)}
	f.witness = newWitness(t, f)
	return f
}

// route is the manifest of a route of the fixture's kind.
func (f *fixture) route(name string, rules ...Rule) *unstructured.Unstructured {
	if f.Capabilities.OneRule && len(rules) > 1 {
		rules = rules[:1]
	}
	return f.Dialect.Manifest(Route{Kind: f.kind, Namespace: f.namespace, Name: name, Rules: rules})
}

// create the object as the user, and give it back as the API server stored it.
func (f *fixture) create(t *testing.T, manifest *unstructured.Unstructured) *unstructured.Unstructured {
	t.Helper()
	stored := manifest.DeepCopy()
	if err := f.User.Create(t.Context(), stored); err != nil {
		t.Fatalf("cannot create %s: %v", manifest.GetName(), err)
	}
	if f.Capabilities.Reported {
		f.accept(t, stored)
	}
	f.witness.caughtUp(t, stored) // A short test would be over before its watch had begun.
	return stored
}

// accept the object as it is, in its status.
func (f *fixture) accept(t *testing.T, object *unstructured.Unstructured) {
	t.Helper()
	f.Dialect.Accept(object)
	if err := f.User.Status().Update(t.Context(), object); err != nil {
		t.Fatalf("cannot write the status of %s: %v", object.GetName(), err)
	}
}

// get the object live.
func (f *fixture) get(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	u := f.route(name)
	if err := f.User.Get(t.Context(), client.ObjectKeyFromObject(u), u); err != nil {
		t.Fatalf("cannot read %s: %v", name, err)
	}
	return u
}

// target of the workload web on the routes.
func (f *fixture) target(routes ...string) providers.Target { return f.targetOf("web", routes...) }

// targetOf a workload of this name, with one Service of the same name.
func (f *fixture) targetOf(workload string, routes ...string) providers.Target {
	t := providers.Target{
		Namespace: f.namespace, Owner: workload,
		Pairs:          []providers.Pair{{Stable: workload, Canary: workload + "-canary"}},
		StableRevision: "old", CanaryRevision: "new",
	}
	for _, name := range routes {
		t.Routes = append(t.Routes, v1alpha1.RouteReference{Kind: f.kind, Name: f.route(name).GetName()})
	}
	return t
}

// raise, lower and restore that must succeed.

func (f *fixture) raise(t *testing.T, target providers.Target, weight int32, stamp int64) {
	t.Helper()
	if err := f.provider.Raise(t.Context(), target, weight, stamp, nil); err != nil {
		t.Fatalf("cannot raise to %d: %v", weight, err)
	}
}

func (f *fixture) lower(t *testing.T, target providers.Target, weight int32, stamp int64) {
	t.Helper()
	if err := f.provider.Lower(t.Context(), target, weight, stamp); err != nil {
		t.Fatalf("cannot lower to %d: %v", weight, err)
	}
}

func (f *fixture) restore(t *testing.T, target providers.Target, stamp int64) {
	t.Helper()
	if err := f.provider.Restore(t.Context(), target, stamp, nil); err != nil {
		t.Fatalf("cannot restore: %v", err)
	}
}

// observe the target live.
func (f *fixture) observe(t *testing.T, target providers.Target) providers.Observation {
	t.Helper()
	o, err := f.provider.Observe(t.Context(), target, true)
	if err != nil {
		t.Fatalf("cannot observe: %v", err)
	}
	return o
}

// mustCarry checks that the target's rules carry exactly this.
func (f *fixture) mustCarry(t *testing.T, target providers.Target, weight int32, stamp int64) {
	t.Helper()
	o := f.observe(t, target)
	got := []any{o.Split, o.LowestWeight, o.Weight, o.Stamp, o.HighestStamp}
	want := []any{true, weight, weight, stamp, stamp}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("split, lowest and highest weight, lowest and highest stamp (-want +got):\n%s", diff)
	}
}

// mustBe checks that the object is what it was, with everything that users write.
func mustBe(t *testing.T, want, got *unstructured.Unstructured) {
	t.Helper()
	if diff := cmp.Diff(written(want), written(got)); diff != "" {
		t.Fatalf("%s is not as the user wrote it (-want +got):\n%s", want.GetName(), diff)
	}
}

// written is what users write of an object.
func written(u *unstructured.Unstructured) map[string]any {
	annotations := u.GetAnnotations()
	delete(annotations, lastApplied)
	return map[string]any{"spec": u.Object["spec"], "labels": u.GetLabels(), "annotations": orEmpty(annotations)}
}

// orEmpty makes nothing and an empty map the same.
func orEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

// eventually waits until the question is answered without an error.
func eventually(t *testing.T, what string, ask func(context.Context) error) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), poll, patience, true, func(ctx context.Context) (bool, error) {
		last = ask(ctx)
		return last == nil, nil
	})
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, patience, last)
	}
}

// overtaken makes a client whose first write is preceded by somebody else's.
func overtaken(c client.WithWatch, by func()) client.Client {
	var once sync.Once
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			once.Do(by)
			return inner.Patch(ctx, o, p, opts...)
		},
	})
}

// errCrash is what a provider meets whose process ends.
var errCrash = errors.New("the process ended")

// crashing makes a client that ends with its n-th write: that write is done, and
// nothing after it. Its writes are counted.
func crashing(c client.WithWatch, n int) (client.Client, *int) {
	var lock sync.Mutex
	writes := 0
	return interceptor.NewClient(c, interceptor.Funcs{
		Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			lock.Lock()
			defer lock.Unlock()
			if writes >= n {
				return errCrash
			}
			if err := inner.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			if writes++; writes >= n {
				return fmt.Errorf("after write %d: %w", writes, errCrash)
			}
			return nil
		},
	}), &writes
}
