package split

import (
	"context"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// plain is a kind of route of which nothing is special, in the form of HTTPRoute.
// What it sends its traffic to is accepted at once.
type plain string

var _ Dialect = plain("")

func (k plain) Kind() Kind {
	return Kind{
		GroupVersionKind: schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: string(k)},
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
		r := Rule{Name: name, List: "spec.rules", Place: i, Entries: "backendRefs", Raw: raw}
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
		rules = append(rules, r)
	}
	return rules
}

func (plain) Operations(rule Rule, change Change) []jsonpatch.Operation {
	return Entries{Service: "/name", Name: func(_ map[string]any, service string) string { return service }}.ListOperations(rule, change)
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
	return New(c, live, nil, plain("HTTPRoute"), plain("GRPCRoute"))
}
