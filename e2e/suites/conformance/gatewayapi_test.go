package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/gatewayapi"
	"github.com/weir-dev/weir/providers/linkerd"
	"github.com/weir-dev/weir/providers/split"
)

// gatewayName is the parent of every route. There is no such Gateway: the suite
// stands in for it.
const gatewayName = "edge"

// gatewayRouteKinds are the kinds of provider gatewayapi.
func gatewayRouteKinds() []string { return []string{"HTTPRoute", "GRPCRoute"} }

// grpcRoutes are for one protocol alone.
func grpcRoutes() map[string]conformance.Capability {
	return map[string]conformance.Capability{"GRPCRoute": conformance.GRPC}
}

// TestGatewayAPI is the suite with the split policy.
func TestGatewayAPI(t *testing.T) {
	conformance.Run(t, gatewayAPI(t, sandbox, true))
}

// TestGatewayAPIWithoutPolicy is the suite on a cluster that has no
// MutatingAdmissionPolicy, so that GitOps tools undo every split.
func TestGatewayAPIWithoutPolicy(t *testing.T) {
	conformance.Run(t, gatewayAPI(t, withoutPolicies(t), false))
}

// gatewayAPI is the harness of provider gatewayapi.
func gatewayAPI(t *testing.T, s *harness.Sandbox, policy bool) conformance.Harness {
	t.Helper()
	h := newHarness(t, s)
	h.New = func(c client.Client) providers.Provider { return gatewayapi.New(c, c) }
	h.Dialect = gatewayRoutes{}
	h.Shown = showing("", grpcRoutes())
	h.Capabilities = conformance.Capabilities{
		Kinds:        gatewayRouteKinds(),
		RuleNames:    true,
		SharedRoutes: true,
		MixedRules:   true,
		Matches:      true,
		Mirror:       true,
		QueryParams:  []string{"HTTPRoute"},
		Sticky:       []string{"HTTPRoute"},
		Acceptance:   true,
		SplitPolicy:  policy,
	}
	return h
}

// TestServiceRoutes is the suite for routes with the Service as their parent, on which
// Linkerd has reported, and with Linkerd's knowledge of such routes. It never says of
// which generation it speaks, so that acceptance tells nothing of weights.
func TestServiceRoutes(t *testing.T) { runServiceRoutes(t, sandbox, true) }

// TestServiceRoutesWithoutPolicy is that suite where GitOps tools undo every split.
func TestServiceRoutesWithoutPolicy(t *testing.T) { runServiceRoutes(t, withoutPolicies(t), false) }

func runServiceRoutes(t *testing.T, s *harness.Sandbox, policy bool) {
	t.Helper()
	h := gatewayAPI(t, s, policy)
	h.New = func(c client.Client) providers.Provider {
		return gatewayapi.Provider{Splitter: split.New(c, c, gatewayapi.Part(c), linkerd.Part(c, nil))}
	}
	h.Dialect = gatewayRoutes{mesh: true}
	h.Shown = showing(" in Linkerd", grpcRoutes())
	h.Capabilities.Mirror, h.Capabilities.Acceptance, h.Capabilities.Reported = false, false, true
	conformance.Run(t, h)
}

// gatewayRoutes is the dialect of HTTPRoute and GRPCRoute. Their parent is a Gateway,
// or the workload's Service in a mesh of Linkerd. Older clusters serve them in the
// versions before v1.
type gatewayRoutes struct{ mesh, older bool }

var _ conformance.Dialect = gatewayRoutes{}

// Manifest with a filter on every backend, so that it can be seen whether the
// canary's entry has it, too.
func (d gatewayRoutes) Manifest(r conformance.Route) *unstructured.Unstructured {
	rules := []any{}
	for i, rule := range r.Rules {
		var backends []any
		for _, b := range rule.Backends {
			backends = append(backends, map[string]any{
				"name": b.Service, "port": int64(80), "weight": b.Weight,
				"filters": []any{header("x-backend", b.Service)},
			})
		}
		rules = append(rules, map[string]any{
			"name":        rule.Name,
			"matches":     []any{map[string]any{"headers": []any{map[string]any{"name": "x-rule", "value": fmt.Sprint(i)}}}},
			"backendRefs": backends,
		})
	}
	spec := map[string]any{"parentRefs": []any{map[string]any{"name": gatewayName}}, "hostnames": []any{"shop.example.com"}, "rules": rules}
	if d.mesh { // Where hostnames count for nothing.
		spec = map[string]any{"parentRefs": []any{map[string]any{"group": "", "kind": "Service", "name": "web", "port": int64(80)}}, "rules": rules}
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(d.groupVersionKind(r.Kind))
	u.SetNamespace(r.Namespace)
	u.SetName(r.Name)
	return u
}

// groupVersionKind of a kind of Gateway API.
func (d gatewayRoutes) groupVersionKind(kind string) schema.GroupVersionKind {
	version := "v1"
	if d.older {
		version = map[string]string{"HTTPRoute": "v1beta1", "GRPCRoute": "v1alpha2"}[kind]
	}
	return schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: version, Kind: kind}
}

// header is a filter that sets one.
func header(name, value string) map[string]any {
	return map[string]any{
		"type":                  "RequestHeaderModifier",
		"requestHeaderModifier": map[string]any{"set": []any{map[string]any{"name": name, "value": value}}},
	}
}

// Rules of a route as the API server stored it.
func (gatewayRoutes) Rules(u *unstructured.Unstructured) []conformance.Rule {
	var out []conformance.Rule
	for _, rule := range rulesOf(u) {
		r := conformance.Rule{Rest: without(rule, "name", "backendRefs")}
		r.Name, _ = rule["name"].(string)
		refs, _ := rule["backendRefs"].([]any)
		for _, entry := range refs {
			b, _ := entry.(map[string]any)
			service, _ := b["name"].(string)
			weight, _ := b["weight"].(int64)
			r.Backends = append(r.Backends, conformance.Backend{Service: service, Weight: weight, Rest: without(b, "name", "weight")})
		}
		out = append(out, r)
	}
	return out
}

// TwinRest is all.
func (gatewayRoutes) TwinRest(rest string) string { return rest }

// Annotate sets a header in the rule.
func (gatewayRoutes) Annotate(u *unstructured.Unstructured, name string, n int) {
	for _, rule := range rulesOf(u) {
		if rule["name"] == name {
			rule["filters"] = []any{header("x-change", fmt.Sprint(n))}
		}
	}
}

// Accept by the one parent, as it signs and writes that. Linkerd names the group of
// Services, the namespace, and no generation.
func (d gatewayRoutes) Accept(u *unstructured.Unstructured) {
	condition := func(kind gatewayv1.RouteConditionType) any {
		c := map[string]any{
			"type": string(kind), "status": "True", "reason": string(kind), "message": "",
			"observedGeneration": u.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z",
		}
		if d.mesh {
			delete(c, "observedGeneration")
		}
		return c
	}
	parent := map[string]any{
		"controllerName": "weir.dev/conformance",
		"parentRef":      map[string]any{"group": gatewayv1.GroupName, "kind": "Gateway", "name": gatewayName},
		"conditions":     []any{condition(gatewayv1.RouteConditionAccepted), condition(gatewayv1.RouteConditionResolvedRefs)},
	}
	if d.mesh {
		parent["controllerName"] = "linkerd.io/policy-controller"
		parent["parentRef"] = map[string]any{"group": "core", "kind": "Service", "namespace": u.GetNamespace(), "name": "web", "port": int64(80)}
	}
	u.Object["status"] = map[string]any{"parents": []any{parent}}
}

// rulesOf an object, not copied.
func rulesOf(u *unstructured.Unstructured) []map[string]any {
	spec, _ := u.Object["spec"].(map[string]any)
	list, _ := spec["rules"].([]any)
	var out []map[string]any
	for _, item := range list {
		if rule, ok := item.(map[string]any); ok {
			out = append(out, rule)
		}
	}
	return out
}

// without some keys, as canonical text.
func without(m map[string]any, keys ...string) string {
	rest := maps.Clone(m)
	for _, k := range keys {
		delete(rest, k)
	}
	text, err := json.Marshal(rest)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
