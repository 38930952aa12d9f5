package gatewayapi

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers/split"
)

// grpcRoute is the kind of route whose requests have no URL.
const grpcRoute = "GRPCRoute"

// Matched is a rule for those requests of a rule that meet one of the matches. It
// says more than the rule that it is made from, and so counts before it.
func (d dialect) Matched(rule split.Rule, name string, twins []split.Twin, extras *v1alpha1.Extras) (map[string]any, *split.Refusal) {
	if extras.Fault != nil {
		return nil, &split.Refusal{
			Field: split.RulePath(rule, "fault"), Problem: "is no field of Gateway API",
			Remedy: "take the fault out of the steps, or use a VirtualService",
		}
	}
	matches, refusal := split.MatchBoth(rule, "matches", extras, func(base map[string]any, m v1alpha1.Match) (map[string]any, *split.Refusal) {
		return d.both(rule, base, m)
	})
	if refusal != nil {
		return nil, refusal
	}
	if len(matches) > maxMatches {
		return nil, &split.Refusal{
			Field:   split.RulePath(rule, "matches"),
			Problem: fmt.Sprintf("come to %d with those of a step: a rule has at most %d", len(matches), maxMatches),
			Remedy:  "take matches out of the step, or divide the rule",
		}
	}
	raw := runtime.DeepCopyJSON(rule.Raw)
	raw["name"], raw["matches"] = name, matches
	refs := make([]any, 0, len(twins))
	for _, t := range twins {
		refs = append(refs, entries().Twin(rule, t))
	}
	raw["backendRefs"] = refs
	return raw, nil
}

// both is met by requests that meet a match of the rule and one of a step.
func (d dialect) both(rule split.Rule, base map[string]any, m v1alpha1.Match) (map[string]any, *split.Refusal) {
	out := runtime.DeepCopyJSON(base)
	if len(m.QueryParams) > 0 && d.kind == grpcRoute {
		return nil, &split.Refusal{
			Field: split.RulePath(rule, "matches[].queryParams"), Problem: "is no field of GRPCRoute",
			Remedy: "match headers in the steps",
		}
	}
	if refusal := add(rule, out, "headers", split.Headers(m), strings.EqualFold); refusal != nil {
		return nil, refusal
	}
	return out, add(rule, out, "queryParams", m.QueryParams, func(a, b string) bool { return a == b })
}

// add matches of values to a list of them. Of two of one name Gateway API takes only
// one.
func add(rule split.Rule, match map[string]any, field string, values []v1alpha1.ValueMatch, same func(a, b string) bool) *split.Refusal {
	list, _ := match[field].([]any)
	for _, v := range values {
		for _, item := range list {
			other, _ := item.(map[string]any)
			if name, _ := other["name"].(string); same(name, v.Name) {
				return &split.Refusal{
					Field:   split.RulePath(rule, "matches[]."+field),
					Problem: fmt.Sprintf("has %q already, which a step matches, too: Gateway API takes only one of them", v.Name),
					Remedy:  "match something else in the step",
				}
			}
		}
		list = append(list, map[string]any{"type": orExact(v.Type), "name": v.Name, "value": v.Value})
	}
	if len(list) > 0 {
		match[field] = list
	}
	return nil
}

// orExact is the type of a match, Exact where none is said.
func orExact(t v1alpha1.MatchType) string {
	if t == "" {
		return string(v1alpha1.MatchExact)
	}
	return string(t)
}

// Mirrored is a filter that mirrors a share of the requests.
func (d dialect) Mirrored(rule split.Rule, twin split.Twin, weight int32) (map[string]any, *split.Refusal) {
	to := map[string]any{"group": "", "kind": "Service", "name": twin.Service}
	if port, ok := rule.Backends[twin.From].Raw["port"]; ok {
		to["port"] = port
	}
	filter := map[string]any{"backendRef": to}
	if weight < 100 {
		filter["percent"] = int64(weight)
	}
	return map[string]any{"type": string(gatewayv1.HTTPRouteFilterRequestMirror), "requestMirror": filter}, nil
}

// readMirrors finds the filters of a rule that mirror to Services of the namespace.
func readMirrors(rule map[string]any, namespace string) []split.Mirror {
	list, _ := rule["filters"].([]any)
	var out []split.Mirror
	for i, item := range list {
		filter, _ := item.(map[string]any)
		mirror, _ := filter["requestMirror"].(map[string]any)
		to, _ := mirror["backendRef"].(map[string]any)
		if b := readBackend(to, namespace); to != nil && b.Service != "" {
			out = append(out, split.Mirror{Place: i, Length: len(list), Service: b.Service, Raw: filter})
		}
	}
	return out
}
