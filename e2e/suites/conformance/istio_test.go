package conformance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/istio"
)

// virtualServiceKind is the kind of provider istio.
const virtualServiceKind = "VirtualService"

// TestIstio is the suite with the split policy.
func TestIstio(t *testing.T) { runIstio(t, sandbox, true) }

// TestIstioWithoutPolicy is the suite on a cluster that has no
// MutatingAdmissionPolicy, so that GitOps tools undo every split.
func TestIstioWithoutPolicy(t *testing.T) { runIstio(t, withoutPolicies(t), false) }

// runIstio runs the suite for rules of HTTP, which may have names, and for rules
// of all protocols in one VirtualService.
func runIstio(t *testing.T, s *harness.Sandbox, policy bool) {
	t.Helper()
	cases := map[string]virtualServices{
		"HTTP":      {lists: []string{"http"}},
		"Protocols": {lists: []string{"http", "tls", "tcp"}},
	}
	for name, dialect := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, s)
			h.New = func(c client.Client) providers.Provider { return istio.New(c, c) }
			h.Dialect = dialect
			var protocols map[string]conformance.Capability
			if len(dialect.lists) > 1 {
				protocols = map[string]conformance.Capability{virtualServiceKind: conformance.TLSAndTCP}
			}
			h.Shown = showing("", protocols)
			h.Capabilities = conformance.Capabilities{
				Kinds:        []string{virtualServiceKind},
				RuleNames:    len(dialect.lists) == 1,
				SharedRoutes: true,
				MixedRules:   true,
				Matches:      len(dialect.lists) == 1,
				Mirror:       len(dialect.lists) == 1,
				Fault:        len(dialect.lists) == 1,
				QueryParams:  []string{virtualServiceKind},
				SplitPolicy:  policy,
			}
			if len(dialect.lists) == 1 {
				h.Capabilities.Sticky = []string{virtualServiceKind}
			}
			conformance.Run(t, h)
		})
	}
}

// virtualServices is the dialect of VirtualService. The rules of a route are dealt
// out to lists in their order: one to each, and all others to the last.
type virtualServices struct{ lists []string }

var _ conformance.Dialect = virtualServices{}

// Manifest in which every second host is a full name, some destinations have a
// subset, and some weights that need not be written are not.
func (d virtualServices) Manifest(r conformance.Route) *unstructured.Unstructured {
	spec := map[string]any{"hosts": []any{"shop.example.com"}, "gateways": []any{gatewayName}}
	for i, rule := range r.Rules {
		list := d.lists[min(i, len(d.lists)-1)]
		items, _ := spec[list].([]any)
		spec[list] = append(items, virtualRule(r.Namespace, list, i, rule))
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(istioKind(virtualServiceKind))
	u.SetNamespace(r.Namespace)
	u.SetName(r.Name)
	return u
}

// istioKind is a kind of Istio's traffic API.
func istioKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: istio.Group, Version: "v1", Kind: kind}
}

// virtualRule is rule i of a route. Rules of TLS and TCP have no name: a label
// that their clients must have tells them apart.
func virtualRule(namespace, list string, i int, rule conformance.Rule) map[string]any {
	match := map[string]any{"sourceLabels": map[string]any{"rule": rule.Name}}
	out := map[string]any{"match": []any{match}}
	switch list {
	case "http":
		out["name"] = rule.Name
	case "tls":
		match["sniHosts"] = []any{"shop.example.com"}
	}
	var entries []any
	for n, b := range rule.Backends {
		destination := map[string]any{"host": b.Service, "port": map[string]any{"number": int64(80)}}
		if (i+n)%2 == 1 {
			destination["host"] = b.Service + "." + namespace + ".svc.cluster.local"
		}
		if (i+n)%3 == 0 {
			destination["subset"] = "v1"
		}
		entry := map[string]any{"destination": destination, "weight": b.Weight}
		if len(rule.Backends) == 1 && b.Weight == 1 && i != 1 {
			delete(entry, "weight")
		}
		if list == "http" {
			entry["headers"] = map[string]any{"request": map[string]any{"set": map[string]any{"x-backend": b.Service}}}
		}
		entries = append(entries, entry)
	}
	out["route"] = entries
	return out
}

// Rules of a VirtualService as the API server stored it.
func (virtualServices) Rules(u *unstructured.Unstructured) []conformance.Rule {
	var out []conformance.Rule
	for _, rule := range virtualRules(u) {
		r := conformance.Rule{Name: virtualRuleName(rule), Rest: without(rule, "route")}
		entries, _ := rule["route"].([]any)
		for _, item := range entries {
			entry, _ := item.(map[string]any)
			b := conformance.Backend{}
			b.Service, b.Rest = virtualBackend(entry)
			weight, written := entry["weight"].(int64)
			b.Weight = weight
			if !written && len(entries) == 1 {
				b.Weight = 1
			}
			r.Backends = append(r.Backends, b)
		}
		out = append(out, r)
	}
	return out
}

// virtualBackend is the Service of a destination, and all else but its weight: the
// rest of the host, too.
func virtualBackend(entry map[string]any) (service, rest string) {
	destination, _ := entry["destination"].(map[string]any)
	host, _ := destination["host"].(string)
	service, domain, _ := strings.Cut(host, ".")
	return service, fmt.Sprintf("%s %s %s", domain, without(destination, "host"), without(entry, "destination", "weight"))
}

// TwinRest is all but the subset: the canary's Service selects nothing else.
func (virtualServices) TwinRest(rest string) string {
	parts := strings.SplitN(rest, " ", 3)
	var destination map[string]any
	if err := json.Unmarshal([]byte(parts[1]), &destination); err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s %s %s", parts[0], without(destination, "subset"), parts[2])
}

// Annotate changes the timeout of a rule of HTTP; any other asks for one more label.
func (virtualServices) Annotate(u *unstructured.Unstructured, name string, n int) {
	for _, rule := range virtualRules(u) {
		switch {
		case virtualRuleName(rule) != name:
		case rule["name"] != nil:
			rule["timeout"] = fmt.Sprintf("%ds", n)
		default:
			sourceLabels(rule)["change"] = fmt.Sprint(n)
		}
	}
}

// Accept is not possible: Istio says nothing.
func (virtualServices) Accept(*unstructured.Unstructured) {}

// virtualRules of an object, not copied.
func virtualRules(u *unstructured.Unstructured) []map[string]any {
	spec, _ := u.Object["spec"].(map[string]any)
	var out []map[string]any
	for _, list := range []string{"http", "tls", "tcp"} {
		items, _ := spec[list].([]any)
		for _, item := range items {
			if rule, ok := item.(map[string]any); ok {
				out = append(out, rule)
			}
		}
	}
	return out
}

// virtualRuleName is what tells a rule apart, of any protocol.
func virtualRuleName(rule map[string]any) string {
	if name, ok := rule["name"].(string); ok {
		return name
	}
	name, _ := sourceLabels(rule)["rule"].(string)
	return name
}

// sourceLabels that a rule's first match asks for, not copied.
func sourceLabels(rule map[string]any) map[string]any {
	matches, _ := rule["match"].([]any)
	if len(matches) == 0 {
		return nil
	}
	match, _ := matches[0].(map[string]any)
	labels, _ := match["sourceLabels"].(map[string]any)
	return labels
}
