package split

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	jsonpatchapply "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

var (
	update = flag.Bool("update", false, "write the golden files anew")
	seed   = flag.Uint64("seed", 0, "repeat the random tests of this seed; 0: a new one")
)

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
	raw, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return fromYAML(t, string(raw))
}

// fromYAML reads an object as a client would, with numbers as int64.
func fromYAML(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
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
	for range maxWrites {
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

// golden compares the text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// render patches for people: one operation a line, one blank line between two.
func render(t *testing.T, patches [][]jsonpatch.Operation) string {
	t.Helper()
	var b strings.Builder
	for i, ops := range patches {
		if i > 0 {
			b.WriteString("\n")
		}
		for _, op := range ops {
			line, err := json.Marshal(&op)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\n", line)
		}
	}
	return b.String()
}
