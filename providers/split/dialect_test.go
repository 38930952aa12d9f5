package split

import (
	"context"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// plain is a kind of route of which nothing is special, in the form of HTTPRoute.
// What it sends its traffic to is accepted at once.
type plain string

var _ Dialect = plain("")

// entriesOf the rules.
var entriesOf = Entries{Service: "/name", Name: func(_ map[string]any, service string) string { return service }}

func (k plain) Kind() Kind {
	return Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: string(k)},
		Matches:          "matches",
		Cookies:          k == "HTTPRoute",
		MaxBackends:      16,
		Install:          "install its CRD",
	}
}

func (plain) Rules(object *unstructured.Unstructured) []Rule {
	spec, _ := object.Object["spec"].(map[string]any)
	list, _ := spec["rules"].([]any)
	var rules []Rule
	for i, item := range list {
		raw, _ := item.(map[string]any)
		name, _ := raw["name"].(string)
		r := Rule{Name: name, List: "spec.rules", Place: i, Entries: "backendRefs", Mirroring: "filters", Raw: raw}
		refs, _ := raw["backendRefs"].([]any)
		for _, ref := range refs {
			entry, _ := ref.(map[string]any)
			b := Backend{Raw: entry}
			b.Weight, _ = entry["weight"].(int64)
			if entry["namespace"] == nil || entry["namespace"] == object.GetNamespace() {
				b.Service, _ = entry["name"].(string)
			}
			r.Backends = append(r.Backends, b)
		}
		filters, _ := raw["filters"].([]any)
		for place, filter := range filters {
			entry, _ := filter.(map[string]any)
			if to, ok := entry["mirror"].(string); ok {
				r.Mirrors = append(r.Mirrors, Mirror{Place: place, Length: len(filters), Service: to, Raw: entry})
			}
		}
		rules = append(rules, r)
	}
	return rules
}

func (plain) Operations(rule Rule, change Change) []jsonpatch.Operation {
	return entriesOf.ListOperations(rule, change)
}

func (plain) Refuse(_ *unstructured.Unstructured, rules []Rule) *Refusal {
	for _, r := range rules {
		if r.Raw["refused"] != nil {
			return &Refusal{Field: RulePath(r, "refused"), Problem: "is there", Remedy: "take it out"}
		}
	}
	return nil
}

func (plain) Status(context.Context, *unstructured.Unstructured, bool) Status {
	return Status{Accepted: true, Processed: true}
}

// newSplitter of the two kinds that the tests have.
func newSplitter(c client.Client, live client.Reader) *Splitter {
	return New(c, live, Part{Dialects: []Dialect{plain("HTTPRoute"), plain("GRPCRoute")}})
}

func (plain) Matched(rule Rule, name string, entries []Twin, extras *v1alpha1.Extras) (map[string]any, *Refusal) {
	if extras.Fault != nil {
		return nil, &Refusal{Field: RulePath(rule, "fault"), Problem: "is no field", Remedy: "take the fault out of the step"}
	}
	raw := runtime.DeepCopyJSON(rule.Raw)
	raw["name"] = name
	matches, _ := MatchBoth(rule, "matches", extras, func(base map[string]any, m v1alpha1.Match) (map[string]any, *Refusal) {
		out := runtime.DeepCopyJSON(base)
		var headers []any
		for _, h := range Headers(m) {
			headers = append(headers, map[string]any{"name": h.Name, "value": h.Value})
		}
		out["headers"] = headers
		return out, nil
	})
	raw["matches"] = matches
	var refs []any
	for _, t := range entries {
		twin := entriesOf.Twin(rule, t)
		if t.Cookie != "" {
			twin["cookie"] = t.Cookie
		}
		refs = append(refs, twin)
	}
	raw["backendRefs"] = refs
	return raw, nil
}

func (plain) Mirrored(_ Rule, twin Twin, weight int32) (map[string]any, *Refusal) {
	return map[string]any{"mirror": twin.Service, "percent": int64(weight)}, nil
}
