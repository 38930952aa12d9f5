package istio

import (
	"context"
	"fmt"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers/split"
)

// dialect of VirtualService.
type dialect struct {
	// proxies are asked what istiod serves to them; nil where nobody can be.
	proxies Proxies
	// live reads the ports of Services.
	live client.Reader
}

var _ split.Dialect = dialect{}

// Kind of the routes.
func (dialect) Kind() split.Kind {
	return split.Kind{
		GroupVersionKind: istioKind("VirtualService"),
		FirstWins:        true,
		Matches:          "match",
		Cookies:          true,
		Carrier:          controllerName,
		Install:          "install Istio 1.22 or newer",
		NotFound: "one of another namespace cannot be split, since a Rollout writes in its own only: " +
			"move its rules for this workload to a VirtualService here, to which that one delegates",
	}
}

// lists of routes in a VirtualService.
func lists() []string { return []string{"http", "tls", "tcp"} }

// Rules of a VirtualService: its http, tls and tcp routes. Those that redirect,
// answer by themselves or delegate have no backends.
func (dialect) Rules(object *unstructured.Unstructured) []split.Rule {
	var rules []split.Rule
	spec, _ := object.Object["spec"].(map[string]any)
	for _, list := range lists() {
		items, _ := spec[list].([]any)
		for i, item := range items {
			raw, _ := item.(map[string]any)
			name, _ := raw["name"].(string)
			rules = append(rules, split.Rule{
				Name: name, List: "spec." + list, Place: i, Entries: "route", Mirroring: "mirrors", Raw: raw,
				Backends: readBackends(raw, object.GetNamespace()), Mirrors: readMirrors(raw, object.GetNamespace()),
			})
		}
	}
	return rules
}

// readBackends reads the destinations of one route. A weight that is not written,
// or is 0, is that of the whole where there is one destination, else none.
func readBackends(rule map[string]any, namespace string) []split.Backend {
	entries, _ := rule["route"].([]any)
	out := make([]split.Backend, 0, len(entries))
	for _, item := range entries {
		raw, _ := item.(map[string]any)
		destination, _ := raw["destination"].(map[string]any)
		host, _ := destination["host"].(string)
		weight, written := raw["weight"].(int64)
		b := split.Backend{Service: serviceOf(host, namespace), Weight: weight, Unset: !written, Raw: raw}
		if weight == 0 && len(entries) == 1 {
			b.Weight, b.Zero = 1, written
		}
		out = append(out, b)
	}
	return out
}

// Operations that make a change.
func (dialect) Operations(rule split.Rule, change split.Change) []jsonpatch.Operation {
	return entries().ListOperations(rule, change)
}

// entries of a rule name their Service by the host of their destination.
func entries() split.Entries {
	return split.Entries{
		Service: "/destination/host",
		Name: func(entry map[string]any, service string) string {
			destination, _ := entry["destination"].(map[string]any)
			host, _ := destination["host"].(string)
			return hostOf(host, service)
		},
		Adapt: func(twin map[string]any) {
			destination, _ := twin["destination"].(map[string]any)
			delete(destination, "subset")
		},
	}
}

// Refuse a VirtualService that leaves its rules to another one. If some rules are
// its own, they may be the workload's: which they are need not be known yet.
func (d dialect) Refuse(object *unstructured.Unstructured, rules []split.Rule) *split.Refusal {
	own := func(r split.Rule) bool { return len(r.Backends) > 0 }
	if len(rules) > 0 || slices.ContainsFunc(d.Rules(object), own) {
		return nil
	}
	spec, _ := object.Object["spec"].(map[string]any)
	routes, _ := spec["http"].([]any)
	for i, item := range routes {
		route, _ := item.(map[string]any)
		delegate, ok := route["delegate"].(map[string]any)
		if !ok {
			continue
		}
		name, _ := delegate["name"].(string)
		where := "in spec.traffic.routeRefs of the Rollout"
		if ns, _ := delegate["namespace"].(string); ns != "" && ns != object.GetNamespace() {
			where += fmt.Sprintf(", from a Rollout in its namespace %q", ns)
		}
		return &split.Refusal{
			Field:   fmt.Sprintf("spec.http[%d].delegate", i),
			Problem: fmt.Sprintf("leaves the rules to VirtualService %q", name),
			Remedy:  "name that one " + where,
		}
	}
	return nil
}

// Status as Istio writes it where it was told to, and as istiod serves the object
// where it can be asked. An object at rest is not asked for, but for those who read
// live, since they are about to act on it.
func (d dialect) Status(ctx context.Context, object *unstructured.Unstructured, live bool) split.Status {
	reported := statusOf(object)
	if !reported.Accepted || d.proxies == nil || !live && !split.Stamped(object) {
		return reported
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if problem := d.pending(ctx, object); problem != "" {
		return split.Status{Unannounced: true, Message: "VirtualService/" + object.GetName() + ": " + problem}
	}
	return reported
}
