package linkerd

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// name of the profile in the tests.
const name = "web.shop.svc.cluster.local"

// target is the workload web, split in its profile.
func target() providers.Target {
	return providers.Target{
		Namespace: "shop", Owner: "web",
		Routes: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: name}},
		Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
	}
}

// object from YAML, as a client reads it.
func object(t *testing.T, text string) *unstructured.Unstructured {
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

// profileWith a spec.
func profileWith(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	return object(t, "{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: "+name+", namespace: shop}, spec: "+spec+"}")
}

// spec of the profile as it is now.
func spec(t *testing.T, c client.Client) any {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(profileKind())
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, u); err != nil {
		t.Fatal(err)
	}
	return u.Object["spec"]
}

// TestLife: what a profile says in the life of a split, and that it is given back as
// it was.
func TestLife(t *testing.T) {
	const routes = "routes: [{name: buy, condition: {pathRegex: /buy}, timeout: 2s}]"
	const stable, canary = "{authority: " + name + ", weight: ", "{authority: web-canary.shop.svc.cluster.local, weight: "
	cases := map[string]struct {
		reason, spec string
		// five and all are the overrides at 5 and at 100 percent.
		five, all string
	}{
		"Plain": {
			"without overrides the Service stands for itself", "{" + routes + "}",
			stable + "95m}, " + canary + "5m}", stable + "'0'}, " + canary + "1m}",
		},
		"NoSpec": {
			"a profile need not say anything", "{}",
			stable + "95m}, " + canary + "5m}", stable + "'0'}, " + canary + "1m}",
		},
		"Mixed": {
			"a user's weights keep their ratio", "{" + routes + ", dstOverrides: [" + stable + "900m}, {authority: other.shop.svc.cluster.local, weight: 100m}]}",
			stable + "855m}, {authority: other.shop.svc.cluster.local, weight: 100m}, " + canary + "45m}",
			stable + "'0'}, {authority: other.shop.svc.cluster.local, weight: 100m}, " + canary + "900m}",
		},
		"WithPort": {
			"the port of an authority is kept", "{dstOverrides: [{authority: '" + name + ":8080', weight: '1'}]}",
			"{authority: '" + name + ":8080', weight: 950m}, {authority: 'web-canary.shop.svc.cluster.local:8080', weight: 50m}",
			"{authority: '" + name + ":8080', weight: '0'}, {authority: 'web-canary.shop.svc.cluster.local:8080', weight: '1'}",
		},
	}
	for reason, tc := range cases {
		t.Run(reason, func(t *testing.T) {
			start := profileWith(t, tc.spec)
			c := fake.NewClientBuilder().WithObjects(start.DeepCopy()).Build()
			p := New(c, c)
			step := func(call string, err error, overrides string) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", call, err)
				}
				want := start.DeepCopy()
				if overrides != "" {
					list, _ := object(t, "{apiVersion: v1, kind: List, items: ["+overrides+"]}").Object["items"].([]any)
					if err := unstructured.SetNestedSlice(want.Object, list, "spec", "dstOverrides"); err != nil {
						t.Fatal(err)
					}
				}
				if diff := cmp.Diff(want.Object["spec"], spec(t, c)); diff != "" {
					t.Errorf("%s: %s (-want +got):\n%s", tc.reason, call, diff)
				}
			}
			step("raise to 5 %", p.Raise(t.Context(), target(), 500, 1, nil), tc.five)
			step("raise to 100 %", p.Raise(t.Context(), target(), 10000, 2, nil), tc.all)
			step("lower to 5 %", p.Lower(t.Context(), target(), 500, 3), tc.five)
			seen, err := p.Observe(t.Context(), target(), true)
			if err != nil || seen.Weight != 500 || seen.LowestWeight != 500 || !seen.Split || seen.Stamp != 3 {
				t.Errorf("observation: %+v, error %v", seen, err)
			}
			step("restore", p.Restore(t.Context(), target(), 4, nil), "")
		})
	}
}

// TestRefused: profiles that cannot carry a split, or could not be given back.
func TestRefused(t *testing.T) {
	mirrored, matched := &v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 10}},
		&v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x", Value: "b"}}}}}
	cases := map[string]struct {
		reason, spec string
		planned      *v1alpha1.Extras
		want         string
	}{
		"Other":   {"nothing goes to the workload", "{dstOverrides: [{authority: pay.shop.svc.cluster.local, weight: '1'}]}", nil, "spec.dstOverrides"},
		"Empty":   {"an empty list would come back as none", "{dstOverrides: []}", nil, "spec.dstOverrides"},
		"Number":  {"a number would come back as a text", "{dstOverrides: [{authority: " + name + ", weight: 1}]}", nil, "spec.dstOverrides[].weight"},
		"Decimal": {"so would a fraction in another form", "{dstOverrides: [{authority: " + name + ", weight: '0.5'}]}", nil, "spec.dstOverrides[].weight"},
		"Mirror":  {"Linkerd mirrors nothing", "{}", mirrored, "spec.dstOverrides"},
		"Matches": {"a profile is for all requests", "{}", matched, "spec.dstOverrides"},
	}
	for reason, tc := range cases {
		t.Run(reason, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(profileWith(t, tc.spec)).Build()
			to := target()
			if tc.planned != nil {
				to.Planned = []*v1alpha1.Extras{tc.planned}
			}
			_, err := New(c, c).Observe(t.Context(), to, true)
			var unsupported *providers.UnsupportedError
			if !errors.As(err, &unsupported) || unsupported.Field != tc.want || unsupported.Remedy == "" {
				t.Errorf("%s: error is %v, want one about %s", tc.reason, err, tc.want)
			}
		})
	}
}

func TestServiceOf(t *testing.T) {
	for authority, want := range map[string]string{
		name: "web", name + ":80": "web", "web.shop.svc.example.org": "web",
		"web": "", "web.other.svc.cluster.local": "", "www.example.com": "", "": "",
	} {
		if got := serviceOf(authority, "shop"); got != want {
			t.Errorf("%q: got %q, want %q", authority, got, want)
		}
	}
}
