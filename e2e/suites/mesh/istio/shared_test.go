package istio

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// example of a Rollout that shares a VirtualService.
const example = "../../../../docs/examples/02-shared-virtualservice.yaml"

// sharedService is a VirtualService of several teams: cart and cart-admin are rules of
// one workload, shop is of another, and legacy and search are of people who have
// nothing to do with Weir. Its loads say by a header which rule they mean.
const sharedService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop, annotations: {team: platform}}
spec:
  hosts: [shop]
  http:
  - name: legacy
    match: [{uri: {prefix: /legacy}, ignoreUriCase: true}]
    rewrite: {uri: /}
    route:
    - {destination: {host: legacy-blue}, weight: 70}
    - {destination: {host: legacy-green}, weight: 30, headers: {response: {set: {x-colour: green}}}}
  - name: cart-admin
    match: [{headers: {x-area: {exact: cart-admin}}}]
    retries: {attempts: 0}
    route: [{destination: {host: cart}}]
  - name: search
    match: [{uri: {prefix: /search}}]
    fault: {delay: {percentage: {value: 1}, fixedDelay: 1s}}
    route: [{destination: {host: search, port: {number: 80}}}]
  - name: cart
    match: [{headers: {x-area: {exact: cart}}}]
    retries: {attempts: 0}
    timeout: 5s
    route: [{destination: {host: cart}}]
  - name: shop
    retries: {attempts: 0}
    route: [{destination: {host: shop}}]
`

// rules of the teams.
var (
	cartRules = []string{"cart-admin", "cart"}
	shopRules = []string{"shop"}
)

// TestSharedVirtualService: two workloads are released at the same time by rules of one
// VirtualService, one of them by the example in the docs. Each moves its own rules and no
// other: what others wrote stays as it is, byte for byte, in every version of the object.
func TestSharedVirtualService(t *testing.T) {
	t.Parallel()
	m := open(t, "shared", sharedService)
	written := m.Live(m.object(sharedService))
	m.apply(m.cart("v1"))
	m.kubectl("", "rollout", "status", "deployment/cart", "--timeout=60s")
	m.call("shop")
	m.call("cart", "x-area=cart")
	m.call("cart-admin", "x-area=cart-admin")
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "VirtualService", Name: stage.Name, RuleNames: shopRules}}},
		Steps:   []v1alpha1.Step{stage.Hold(20, "6s"), stage.Hold(100, "3s")},
	}))
	text, err := os.ReadFile(filepath.Clean(example))
	m.Must(err)
	m.apply(strings.ReplaceAll(string(text), "hold: 10m", "hold: 5s"))
	m.status("cart")
	versions := m.versions(written)

	m.apply(m.cart("v2"))
	m.Must(m.Release(t.Context(), "v2", nil))
	from, to := m.During(0, 4*time.Second)
	m.ShareIs("shop", "v2", 0.2, from, to)
	m.AwaitState("the promotion", stage.Promoted(1))
	m.status("cart")
	m.GivenBack(written)
	m.NoneFailed()
	m.keptOthers(written, versions())
	for _, name := range []string{"cart", "cart-admin"} {
		log, err := m.Loads[name].Log(t.Context())
		m.Must(err)
		if all := log.All(); all.Of("v1").Total() == 0 || all.Of("v2").Total() == 0 {
			t.Errorf("%s did not go from v1 to v2: %+v", name, all)
		}
	}
}

// keptOthers checks every version of the VirtualService.
func (m *mesh) keptOthers(written *unstructured.Unstructured, versions []*unstructured.Unstructured) {
	m.T.Helper()
	before := rulesByName(m.T, written)
	both := 0
	for _, version := range versions {
		now := rulesByName(m.T, version)
		split := func(names []string) bool {
			return slices.ContainsFunc(names, func(name string) bool { return now[name] != before[name] })
		}
		for _, name := range []string{"legacy", "search"} {
			if now[name] != before[name] {
				m.T.Errorf("at resourceVersion %s rule %s is\n%s\nand was written as\n%s", version.GetResourceVersion(), name, now[name], before[name])
			}
		}
		if split(cartRules) && split(shopRules) {
			both++
		}
		if diff := cmp.Diff(withoutBackends(m.T, written), withoutBackends(m.T, version)); diff != "" {
			m.T.Errorf("at resourceVersion %s something other than backends was changed:\n%s", version.GetResourceVersion(), diff)
		}
	}
	if both == 0 {
		m.T.Errorf("in none of %d versions both releases were under way", len(versions))
	}
	m.T.Logf("%d versions of the VirtualService, in %d of them both releases were under way", len(versions), both)
}

// rulesByName are the http rules of a VirtualService as JSON.
func rulesByName(t testing.TB, of *unstructured.Unstructured) map[string]string {
	t.Helper()
	rules, _, err := unstructured.NestedSlice(of.Object, "spec", "http")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, rule := range rules {
		fields, ok := rule.(map[string]any)
		if !ok {
			t.Fatalf("a rule is %v", rule)
		}
		name, _ := fields["name"].(string)
		text, err := json.Marshal(rule)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(text)
	}
	return out
}

// withoutBackends is the spec of a VirtualService, its rules without their backends.
func withoutBackends(t testing.TB, of *unstructured.Unstructured) any {
	t.Helper()
	of = of.DeepCopy()
	rules, _, err := unstructured.NestedSlice(of.Object, "spec", "http")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		if fields, ok := rule.(map[string]any); ok {
			delete(fields, "route")
		}
	}
	if err := unstructured.SetNestedSlice(of.Object, rules, "spec", "http"); err != nil {
		t.Fatal(err)
	}
	return of.Object["spec"]
}

// versions notes each version of a VirtualService, until the function that it gives is
// called for them.
func (m *mesh) versions(of *unstructured.Unstructured) func() []*unstructured.Unstructured {
	m.T.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(of.GroupVersionKind())
	list.SetKind(of.GetKind() + "List")
	events, err := m.Admin.Watch(m.T.Context(), list, client.InNamespace(m.Namespace))
	m.Must(err)
	seen := make(chan []*unstructured.Unstructured)
	go func() {
		var all []*unstructured.Unstructured
		for event := range events.ResultChan() {
			if u, ok := event.Object.(*unstructured.Unstructured); ok {
				all = append(all, u)
			}
		}
		seen <- all
	}()
	return func() []*unstructured.Unstructured {
		events.Stop()
		return <-seen
	}
}

// cart is a second workload beside the shop, of the same program, at a version.
func (m *mesh) cart(version string) string {
	m.T.Helper()
	text, err := m.Manifests(version, false)
	m.Must(err)
	return strings.NewReplacer(": "+stage.Name+"\n", ": cart\n", "replicas: 4\n", "replicas: 2\n").Replace(text)
}

func (m *mesh) apply(manifests string) { m.kubectl(manifests, "apply", "-f", "-") }

// kubectl runs kubectl in the shop's namespace.
func (m *mesh) kubectl(stdin string, args ...string) {
	m.T.Helper()
	_, _, err := m.Kubectl(m.T.Context(), harness.Admin, stdin, append(args, "-n", m.Namespace)...)
	m.Must(err)
}

// status waits until a workload runs what it should.
func (m *mesh) status(workload string) {
	m.T.Helper()
	out, code, err := m.CLI(m.T.Context(), harness.Admin, "status", workload, "--wait", "--timeout=90s")
	m.Must(err)
	if code != 0 {
		m.T.Fatalf("status left with %d: %s", code, out)
	}
}
