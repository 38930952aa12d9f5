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

// Matched is a copy of a rule for those of its requests that meet one of the matches.
// With matches it says more than the rule that it is made from, and so counts before
// it.
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
	raw["name"] = name
	if len(matches) > 0 {
		raw["matches"] = matches
	}
	refs := make([]any, 0, len(twins))
	for _, t := range twins {
		entry := entries().Twin(rule, t)
		if refusal := setCookie(rule, entry, t.Cookie); refusal != nil {
			return nil, refusal
		}
		refs = append(refs, entry)
	}
	raw["backendRefs"] = refs
	return raw, nil
}

// setCookie has answers of an entry set a cookie, if there is one to set. An entry has
// at most one filter that changes headers of answers, in which a name stands once.
func setCookie(rule split.Rule, entry map[string]any, cookie string) *split.Refusal {
	if cookie == "" {
		return nil
	}
	header := map[string]any{"name": "Set-Cookie", "value": cookie}
	filters, _ := entry["filters"].([]any)
	for _, item := range filters {
		filter, _ := item.(map[string]any)
		modifier, ok := filter["responseHeaderModifier"].(map[string]any)
		if !ok {
			continue
		}
		list, _ := modifier["add"].([]any)
		for _, other := range list {
			if h, _ := other.(map[string]any); isSetCookie(h) {
				return &split.Refusal{
					Field: split.RulePath(rule, "backendRefs[].filters"), Problem: "has a Set-Cookie header already, beside which Gateway API takes no other",
				}
			}
		}
		modifier["add"] = append(list, header)
		return nil
	}
	entry["filters"] = append(filters, map[string]any{
		"type": string(gatewayv1.HTTPRouteFilterResponseHeaderModifier), "responseHeaderModifier": map[string]any{"add": []any{header}},
	})
	return nil
}

// isSetCookie says whether a header of a filter is this one.
func isSetCookie(header map[string]any) bool {
	name, _ := header["name"].(string)
	return strings.EqualFold(name, "Set-Cookie")
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
					Problem: fmt.Sprintf("has %q already, which Weir has to match, too: Gateway API takes only one of them", v.Name),
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
