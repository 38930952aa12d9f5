package split

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"testing"

	jsonpatchapply "github.com/evanphx/json-patch/v5"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

var seed = flag.Uint64("seed", 0, "repeat the random tests of this seed; 0: a new one")

// newRandom gives the numbers of a random test, and says how to repeat it.
func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	t.Logf("repeat with: go test ./providers/split -run '^%s$' -seed=%d", t.Name(), *seed)
	return rand.New(rand.NewPCG(*seed, 0))
}

// cart and web are two Rollouts that share testdata/shop.yaml.
var (
	cart = providers.Target{
		Namespace: "shop", Owner: "cart",
		Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop"}},
		Pairs:  []providers.Pair{{Stable: "cart", Canary: "cart-canary"}},
	}
	web = providers.Target{
		Namespace: "shop", Owner: "web",
		Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop"}},
		Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
	}
)

// shop is the route of testdata/shop.yaml.
func shop(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	return routetest.Object(t, "shop")
}

// patched is the object after the patch, with the next resourceVersion.
func patched(t *testing.T, u *unstructured.Unstructured, ops []jsonpatch.Operation) *unstructured.Unstructured {
	t.Helper()
	body, err := json.Marshal(ops)
	if err != nil {
		t.Fatal(err)
	}
	patch, err := jsonpatchapply.DecodePatch(body)
	if err != nil {
		t.Fatal(err)
	}
	before, err := u.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	after, err := patch.Apply(before)
	if err != nil {
		t.Fatalf("cannot apply %s: %v", body, err)
	}
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON(after); err != nil {
		t.Fatal(err)
	}
	// The API server drops empty maps.
	if len(out.GetAnnotations()) == 0 {
		out.SetAnnotations(nil)
	}
	if len(out.GetLabels()) == 0 {
		out.SetLabels(nil)
	}
	return out
}

// object of a kind, empty.
func object(d Dialect) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(d.Kind().GroupVersionKind)
	return u
}

// plan is what a call does to one route: one patch at a time until none is left.
type plan func(*route) ([]jsonpatch.Operation, error)

func lowering(weight int32, stamp int64) plan {
	return func(r *route) ([]jsonpatch.Operation, error) { return r.lower(weight, atMost(weight), stamp) }
}

func raising(weight int32, stamp int64) plan {
	return func(r *route) ([]jsonpatch.Operation, error) { return r.raise(weight, stamp) }
}

func restoring(stamp int64) plan {
	return func(r *route) ([]jsonpatch.Operation, error) { return r.restore(stamp) }
}

// run the plan to its end. Gives the patches and every version of the object.
func run(t *testing.T, u *unstructured.Unstructured, target providers.Target, p plan) ([][]jsonpatch.Operation, []*unstructured.Unstructured) {
	t.Helper()
	var patches [][]jsonpatch.Operation
	versions := []*unstructured.Unstructured{u}
	for range minWrites {
		ops, err := p(newRoute(plain("HTTPRoute"), u, target.Routes[0], target))
		if err != nil {
			t.Fatal(err)
		}
		if len(ops) == 0 {
			return patches, versions
		}
		u = patched(t, u, ops)
		patches = append(patches, ops)
		versions = append(versions, u)
	}
	t.Fatal("the plan does not come to an end")
	return nil, nil
}

// last of the versions.
func last(versions []*unstructured.Unstructured) *unstructured.Unstructured {
	return versions[len(versions)-1]
}
