package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers/conformance"
)

// gatewayName is the parent of every route. There is no such Gateway: the suite
// stands in for it.
const gatewayName = "edge"

// dialect of HTTPRoute and GRPCRoute.
type dialect struct{}

var _ conformance.Dialect = dialect{}

// Manifest with a filter on every backend, so that it can be seen whether the
// canary's entry has it, too.
func (dialect) Manifest(r conformance.Route) *unstructured.Unstructured {
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
	u := &unstructured.Unstructured{Object: map[string]any{
		"spec": map[string]any{
			"parentRefs": []any{map[string]any{"name": gatewayName}},
			"hostnames":  []any{"shop.example.com"},
			"rules":      rules,
		},
	}}
	u.SetGroupVersionKind(gatewayKind(r.Kind))
	u.SetNamespace(r.Namespace)
	u.SetName(r.Name)
	return u
}

// gatewayKind is a kind of Gateway API.
func gatewayKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: "v1", Kind: kind}
}

// header is a filter that sets one.
func header(name, value string) map[string]any {
	return map[string]any{
		"type":                  "RequestHeaderModifier",
		"requestHeaderModifier": map[string]any{"set": []any{map[string]any{"name": name, "value": value}}},
	}
}

// Rules of a route as the API server stored it.
func (dialect) Rules(u *unstructured.Unstructured) []conformance.Rule {
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

// Annotate sets a header in the rule.
func (dialect) Annotate(u *unstructured.Unstructured, name string, n int) {
	for _, rule := range rulesOf(u) {
		if rule["name"] == name {
			rule["filters"] = []any{header("x-change", fmt.Sprint(n))}
		}
	}
}

// Accept by the one parent.
func (dialect) Accept(u *unstructured.Unstructured) {
	condition := func(kind gatewayv1.RouteConditionType) any {
		return map[string]any{
			"type": string(kind), "status": "True", "reason": string(kind), "message": "",
			"observedGeneration": u.GetGeneration(), "lastTransitionTime": "2026-01-01T00:00:00Z",
		}
	}
	u.Object["status"] = map[string]any{"parents": []any{map[string]any{
		"controllerName": "weir.dev/conformance",
		"parentRef":      map[string]any{"group": gatewayv1.GroupName, "kind": "Gateway", "name": gatewayName},
		"conditions":     []any{condition(gatewayv1.RouteConditionAccepted), condition(gatewayv1.RouteConditionResolvedRefs)},
	}}}
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

// awaitRights waits until the GitOps tool's rights in the namespace are in force.
func awaitRights(t *testing.T, s *harness.Sandbox, namespace string) {
	t.Helper()
	c, err := s.Client(harness.GitOps, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, "the rights of "+string(harness.GitOps), func(ctx context.Context) error {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: "watch", Group: gatewayv1.GroupName, Resource: "grpcroutes",
			},
		}}
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			return errors.New("not in force")
		}
		return nil
	})
}

// awaitSplit waits until the split policy is in force. An API server takes some
// seconds to apply policies to kinds that come from CRDs.
func awaitSplit(ctx context.Context, s *harness.Sandbox) error {
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	for _, kind := range []string{"HTTPRoute", "GRPCRoute"} {
		u := dialect{}.Manifest(conformance.Route{
			Kind: kind, Namespace: "default", Name: "await-split",
			Rules: []conformance.Rule{{Name: "web", Backends: []conformance.Backend{{Service: "web", Weight: 1}}}},
		})
		u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "active"})
		u.SetAnnotations(map[string]string{v1alpha1.SplitAnnotation: "web web web-canary 500 *"})
		if err := admin.Create(ctx, u); err != nil {
			return err
		}
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			written := u.DeepCopy()
			if err := admin.Update(ctx, written, client.DryRunAll); err != nil {
				return false, nil //nolint:nilerr // Refusals are what is waited out.
			}
			return len(dialect{}.Rules(written)[0].Backends) == 2, nil
		})
		if err != nil {
			return fmt.Errorf("the split policy is not in force for %s: %w", kind, err)
		}
		if err := admin.Delete(ctx, u); err != nil {
			return err
		}
	}
	return nil
}
