package conformance

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/istio"
)

// handwritten is the spec of a VirtualService in namespace %[1]s with every form
// that a destination may have.
const handwritten = `
hosts: [shop.example.com]
gateways: [edge]
http:
- name: api
  match: [{uri: {prefix: /api}}]
  route:
  - destination: {host: web, subset: v1, port: {number: 80}}
    headers: {request: {set: {x-a: b}}}
  retries: {attempts: 3, perTryTimeout: 2s}
  timeout: 6s
  mirror: {host: web}
- name: mixed
  route:
  - {destination: {host: legacy.%[1]s.svc.cluster.local}, weight: 30}
  - {destination: {host: web.%[1]s.svc.cluster.local, subset: v1}, weight: 60}
  - {destination: {host: web.%[1]s.svc, subset: v2}, weight: 10}
  - {destination: {host: idle}}
- {name: gone, redirect: {uri: /}}
- name: others
  route:
  - {destination: {host: web.elsewhere.svc.cluster.local}, weight: 1}
  - {destination: {host: web.%[1]s}, weight: 1}
  - {destination: {host: web.%[1]s.svcs.example.org}, weight: 1}
  - {destination: {host: web.example.com}}
- name: zero
  route:
  - {destination: {host: web}, weight: 0}
- route:
  - {destination: {host: web}, weight: 100}
tls:
- match: [{sniHosts: [shop.example.com]}]
  route:
  - {destination: {host: web.%[1]s.svc.example.org, port: {number: 443}}}
tcp:
- match: [{port: 9000}]
  route:
  - {destination: {host: legacy}, weight: 2000000}
  - {destination: {host: web, subset: v1}, weight: 1000000}
- route:
  - {destination: {host: legacy}, weight: 1}
`

// virtualService is a manifest with a spec.
func virtualService(t *testing.T, namespace, spec string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.ToJSON([]byte(spec))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(fmt.Appendf(nil, `{"apiVersion": "networking.istio.io/v1", "kind": %q, "spec": %s}`, virtualServiceKind, raw)); err != nil {
		t.Fatal(err)
	}
	u.SetNamespace(namespace)
	u.SetName("shop")
	return u
}

// webOn is a target of Rollout web on VirtualService shop.
func webOn(namespace string, rules ...string) providers.Target {
	return providers.Target{
		Namespace: namespace, Owner: "web",
		Routes: []v1alpha1.RouteReference{{Kind: virtualServiceKind, Name: "shop", RuleNames: rules}},
		Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
	}
}

// destinations of a VirtualService by their rule, as "host/subset weight".
func destinations(u *unstructured.Unstructured) map[string][]string {
	out := map[string][]string{}
	spec, _ := u.Object["spec"].(map[string]any)
	for _, list := range []string{"http", "tls", "tcp"} {
		items, _ := spec[list].([]any)
		for i, item := range items {
			rule, _ := item.(map[string]any)
			entries, _ := rule["route"].([]any)
			for _, e := range entries {
				entry, _ := e.(map[string]any)
				destination, _ := entry["destination"].(map[string]any)
				text := fmt.Sprint(destination["host"])
				if subset, ok := destination["subset"]; ok {
					text += fmt.Sprintf("/%s", subset)
				}
				if weight, ok := entry["weight"]; ok {
					text += fmt.Sprintf(" %d", weight)
				}
				key := fmt.Sprintf("%s[%d]", list, i)
				out[key] = append(out[key], text)
			}
		}
	}
	return out
}

// TestVirtualServiceByHand: every form of destination is split, by Weir and by the
// policy alike, so that no tool sees a drift, and comes back as it was written.
func TestVirtualServiceByHand(t *testing.T) {
	ns := newNamespace(t, sandbox)
	manifest := virtualService(t, ns, fmt.Sprintf(handwritten, ns))
	users := user(t, sandbox)
	start := manifest.DeepCopy()
	if err := users.Create(t.Context(), start); err != nil {
		t.Fatal(err)
	}
	c := weir(t, sandbox)
	p := istio.New(c, c)
	live := start.DeepCopy()
	for i, weight := range []int32{10, 500, 777, 3333, 9900, 10000, 0} {
		if err := p.Raise(t.Context(), webOn(ns), weight, int64(i+1), nil); err != nil {
			t.Fatal(err)
		}
		if err := users.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
			t.Fatal(err)
		}
		if weight == 500 {
			if diff := cmp.Diff(byHandAtFivePercent(ns), destinations(live)); diff != "" {
				t.Errorf("at 5 %% (-want +got):\n%s", diff)
			}
		}
		for _, version := range []string{"v1", "v1beta1", "v1alpha3"} {
			mustNotDrift(t, users, manifest, live, version, weight)
		}
	}
	if err := p.Restore(t.Context(), webOn(ns), 9, nil); err != nil {
		t.Fatal(err)
	}
	if err := users.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	for what, u := range map[string]*unstructured.Unstructured{"stored": start, "manifest": manifest} {
		if diff := cmp.Diff(u.Object["spec"], live.Object["spec"]); diff != "" {
			t.Errorf("not given back as %s (-want +got):\n%s", what, diff)
		}
	}
	if len(live.GetAnnotations()) > 0 || len(live.GetLabels()) > 0 {
		t.Errorf("annotations %v and labels %v stay", live.GetAnnotations(), live.GetLabels())
	}
}

// byHandAtFivePercent are the destinations of the handwritten VirtualService then.
func byHandAtFivePercent(ns string) map[string][]string {
	return map[string][]string{
		"http[0]": {"web/v1 95", "web-canary 5"},
		"http[1]": {
			"legacy." + ns + ".svc.cluster.local 3000", "web." + ns + ".svc.cluster.local/v1 5700", "web." + ns + ".svc/v2 950", "idle 0",
			"web-canary." + ns + ".svc.cluster.local 300", "web-canary." + ns + ".svc 50",
		},
		"http[3]": {"web.elsewhere.svc.cluster.local 1", "web." + ns + " 1", "web." + ns + ".svcs.example.org 1", "web.example.com"},
		"http[4]": {"web 95", "web-canary 5"},
		"http[5]": {"web 95", "web-canary 5"},
		"tls[0]":  {"web." + ns + ".svc.example.org 95", "web-canary." + ns + ".svc.example.org 5"},
		"tcp[0]":  {"legacy 2000000", "web/v1 950000", "web-canary 50000"},
		"tcp[1]":  {"legacy 1"},
	}
}

// mustNotDrift checks that what tools would write, in a version of the API, is what
// is there.
func mustNotDrift(t *testing.T, c client.Client, manifest, live *unstructured.Unstructured, version string, weight int32) {
	t.Helper()
	applied := manifest.DeepCopy()
	applied.SetAPIVersion(istio.Group + "/" + version)
	replaced := applied.DeepCopy()
	err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.ForceOwnership, client.FieldOwner("gitops"), client.DryRunAll)
	if err != nil {
		t.Fatal(err)
	}
	replaced.SetResourceVersion(live.GetResourceVersion())
	if err := c.Update(t.Context(), replaced, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	for tool, u := range map[string]*unstructured.Unstructured{"server-side apply": applied, "replace": replaced} {
		if diff := cmp.Diff(live.Object["spec"], u.Object["spec"]); diff != "" {
			t.Errorf("at %d, %s of %s would change (-live +written):\n%s", weight, tool, version, diff)
		}
	}
}

// TestSplitPolicyOfVirtualService is what the policy makes of single writes.
func TestSplitPolicyOfVirtualService(t *testing.T) {
	const written = `
http:
- {name: api, route: [{destination: {host: web}}]}
- {name: page, route: [{destination: {host: web}}]}
tcp:
- route: [{destination: {host: web}}]
`
	route := func(u *unstructured.Unstructured, list string, i int, entries ...any) {
		spec, _ := u.Object["spec"].(map[string]any)
		rules, _ := spec[list].([]any)
		rules[i].(map[string]any)["route"] = entries
	}
	to := func(host string, weight int64) any {
		return map[string]any{"destination": map[string]any{"host": host}, "weight": weight}
	}
	five := []string{"web 95", "web-canary 5"}
	cases := map[string]struct {
		reason string
		rules  []string
		edit   func(u *unstructured.Unstructured)
		want   map[string][]string
	}{
		"CanaryByHand": {
			reason: "a weight that somebody gives the canary by hand is not the release's",
			edit: func(u *unstructured.Unstructured) {
				route(u, "http", 0, to("web", 50), to("web-canary", 50))
				route(u, "tcp", 0, to("web", 10), to("web-canary", 90))
			},
			want: map[string][]string{"http[0]": five, "http[1]": five, "tcp[0]": five},
		},
		"WeightsTakenOut": {
			reason: "what is left without weights is the user's again, from the whole",
			edit: func(u *unstructured.Unstructured) {
				route(u, "http", 0, map[string]any{"destination": map[string]any{"host": "web", "subset": "v2"}})
			},
			want: map[string][]string{"http[0]": {"web/v2 95", "web-canary 5"}, "http[1]": five, "tcp[0]": five},
		},
		"LargeWeights": {
			reason: "of weights beyond what others admit none becomes 0",
			edit: func(u *unstructured.Unstructured) {
				route(u, "http", 0, to("legacy", 2_000_000_000), to("web", 2_000_000))
			},
			want: map[string][]string{"http[0]": {"legacy 2000000000", "web 1900000", "web-canary 100000"}, "http[1]": five, "tcp[0]": five},
		},
		"NamedRule": {
			reason: "rules that were not asked for are let alone, and those without a name cannot be",
			rules:  []string{"page"},
			edit: func(u *unstructured.Unstructured) {
				route(u, "http", 0, to("web", 7))
				route(u, "http", 1, to("web", 1))
				route(u, "tcp", 0, to("web", 7))
			},
			want: map[string][]string{"http[0]": {"web 7"}, "http[1]": five, "tcp[0]": {"web 7"}},
		},
		"NewRule": {
			reason: "a rule that comes during the split is split, of any protocol",
			edit: func(u *unstructured.Unstructured) {
				u.Object["spec"].(map[string]any)["tls"] = []any{map[string]any{
					"match": []any{map[string]any{"sniHosts": []any{"a.example.com"}}}, "route": []any{to("web", 1)},
				}}
			},
			want: map[string][]string{"http[0]": five, "http[1]": five, "tls[0]": five, "tcp[0]": five},
		},
		"NoRules": {
			reason: "a VirtualService may lose its rules",
			edit:   func(u *unstructured.Unstructured) { delete(u.Object, "spec") },
			want:   map[string][]string{},
		},
		"Off": {
			reason: "the label set to off lets every write through",
			edit: func(u *unstructured.Unstructured) {
				u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "off"})
				route(u, "http", 0, to("web", 3))
			},
			want: map[string][]string{"http[0]": {"web 3"}, "http[1]": five, "tcp[0]": five},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ns := newNamespace(t, sandbox)
			u := virtualService(t, ns, written)
			users := user(t, sandbox)
			if err := users.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			c := weir(t, sandbox)
			if err := istio.New(c, c).Raise(t.Context(), webOn(ns, tc.rules...), 500, 1, nil); err != nil {
				t.Fatal(err)
			}
			if err := harness.Edit(t.Context(), users, u, tc.edit); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, destinations(u)); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// manyRules of a VirtualService, half of which are split, and have one of Weir's beside
// them.
const manyRules = 120

// TestSplitPolicyOfManyRules: the policy's cost leaves room for VirtualServices as
// large as an edge of many teams has them.
func TestSplitPolicyOfManyRules(t *testing.T) {
	ns := newNamespace(t, sandbox)
	rules := []any{}
	for i := range manyRules {
		host := fmt.Sprintf("service-%d.%s.svc.cluster.local", i, ns)
		if i%2 == 0 {
			host = "web." + ns + ".svc.cluster.local"
		}
		rules = append(rules, map[string]any{
			"name":  fmt.Sprintf("rule-%d", i),
			"match": []any{map[string]any{"uri": map[string]any{"prefix": fmt.Sprintf("/%d", i)}}},
			"route": []any{
				map[string]any{"destination": map[string]any{"host": host}, "weight": int64(90)},
				map[string]any{"destination": map[string]any{"host": "legacy"}, "weight": int64(10)},
			},
		})
	}
	manifest := virtualService(t, ns, "{}")
	manifest.Object["spec"] = map[string]any{"http": rules}
	users := user(t, sandbox)
	live := manifest.DeepCopy()
	if err := users.Create(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	c := weir(t, sandbox)
	target := webOn(ns)
	target.Extras = &v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: "b"}}}}}
	if err := istio.New(c, c).Raise(t.Context(), target, 777, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := users.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
		t.Fatal(err)
	}
	got := destinations(live)
	if diff := cmp.Diff([]string{"web-canary." + ns + ".svc.cluster.local 6993"}, got["http[1]"][2:]); diff != "" || len(got) != manyRules*3/2 {
		t.Errorf("of %d rules, the canary of the first of the user's -want +got:\n%s", len(got), diff)
	}
	mustNotDrift(t, users, manifest, live, "v1", 777)
}
