package gatewayapi

import (
	"context"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/providers/split"
)

// What a route may have at most: rules, entries of a rule, matches of a rule and of all
// rules.
const maxRules, maxBackends, maxMatches, maxAllMatches = 16, 16, 64, 128

// dialect of HTTPRoute and GRPCRoute. The two kinds are the same in everything
// that is used here.
type dialect struct {
	kind    string
	parents parents
}

var _ split.Dialect = dialect{}

// gatewayKind is a kind of Gateway API in the version that is used here.
func gatewayKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version, Kind: kind}
}

// older versions in which meshes and gateways have installed a kind of route.
func older(kind string) []string {
	if kind == grpcRoute {
		return []string{"v1alpha2"}
	}
	return []string{"v1beta1"}
}

// Kind of the routes.
func (d dialect) Kind() split.Kind {
	return split.Kind{
		GroupVersionKind: gatewayKind(d.kind),
		Older:            older(d.kind),
		Matches:          "matches",
		Cookies:          d.kind != grpcRoute,
		MaxRules:         maxRules,
		MaxMatches:       maxAllMatches,
		MaxBackends:      maxBackends,
		Install:          "install the CRDs of Gateway API",
	}
}

// Rules of a route.
func (dialect) Rules(object *unstructured.Unstructured) []split.Rule {
	spec, _ := object.Object["spec"].(map[string]any)
	list, _ := spec["rules"].([]any)
	rules := make([]split.Rule, 0, len(list))
	for i, item := range list {
		raw, _ := item.(map[string]any)
		name, _ := raw["name"].(string)
		r := split.Rule{Name: name, List: "spec.rules", Place: i, Entries: "backendRefs", Mirroring: "filters", Raw: raw, Mirrors: readMirrors(raw, object.GetNamespace())}
		refs, _ := raw["backendRefs"].([]any)
		for _, b := range refs {
			entry, _ := b.(map[string]any)
			r.Backends = append(r.Backends, readBackend(entry, object.GetNamespace()))
		}
		rules = append(rules, r)
	}
	return rules
}

// readBackend reads one entry, with the API's defaults.
func readBackend(raw map[string]any, namespace string) split.Backend {
	out := split.Backend{Raw: raw, Weight: 1}
	if w, ok := raw["weight"].(int64); ok {
		out.Weight = w
	}
	text := func(key, absent string) string {
		if s, ok := raw[key].(string); ok {
			return s
		}
		return absent
	}
	if text("group", "") == "" && text("kind", "Service") == "Service" && text("namespace", namespace) == namespace {
		out.Service = text("name", "")
	}
	return out
}

// Operations that make a change.
func (dialect) Operations(rule split.Rule, change split.Change) []jsonpatch.Operation {
	return entries().ListOperations(rule, change)
}

// entries of a rule name their Service.
func entries() split.Entries {
	return split.Entries{Service: "/name", Name: func(_ map[string]any, service string) string { return service }}
}

// Refuse routes that nothing serves, and rules whose weights do not move users.
func (dialect) Refuse(object *unstructured.Unstructured, rules []split.Rule) *split.Refusal {
	spec, _ := object.Object["spec"].(map[string]any)
	if refs, _ := spec["parentRefs"].([]any); len(refs) == 0 {
		return &split.Refusal{
			Field: "spec.parentRefs", Problem: "is empty, so nothing serves this route",
			Remedy: "name a Gateway, or a Service of the mesh",
		}
	}
	for _, r := range rules {
		if r.Raw["sessionPersistence"] != nil {
			return &split.Refusal{
				Field: split.RulePath(r, "sessionPersistence"), Problem: "pins sessions to a backend, so that weights do not move them",
				Remedy: "remove it for the time of releases, or leave the rule out of ruleNames of the Rollout",
			}
		}
	}
	return nil
}

// Status as the route's parents report it. Whose a Gateway is that several
// controllers answer for is asked of the API server in any case: it is seldom
// asked, and no event would bring a live read.
func (d dialect) Status(ctx context.Context, object *unstructured.Unstructured, live bool) split.Status {
	r, err := newReport(object)
	if err != nil {
		return split.Status{Message: r.String() + ": " + err.Error()}
	}
	d.parents.settle(ctx, r)
	if live {
		d.parents.find(ctx, r)
	}
	ok, message := r.accepted()
	return split.Status{Accepted: ok, Processed: r.processed(), Message: message, Carriers: r.carriers()}
}
