package istio

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers/split"
)

// httpList is the field with the routes of requests; those of the others are of
// connections.
const httpList = "spec.http"

// connections refuses what can be done to requests only.
func connections(rule split.Rule) *split.Refusal {
	if rule.List == httpList {
		return nil
	}
	return &split.Refusal{
		Field:   fmt.Sprintf("%s[%d]", rule.List, rule.Place),
		Problem: "is for connections, and matches, mirrors and sessions are for requests",
		Remedy:  "take them out of the Rollout, or name the http routes in ruleNames of the Rollout",
	}
}

// Matched is a copy of a route for those of its requests that meet one of the matches.
// It has to come before the one that it is made from.
func (dialect) Matched(rule split.Rule, name string, twins []split.Twin, extras *v1alpha1.Extras) (map[string]any, *split.Refusal) {
	if refusal := connections(rule); refusal != nil {
		return nil, refusal
	}
	matches, refusal := split.MatchBoth(rule, "match", extras, func(base map[string]any, m v1alpha1.Match) (map[string]any, *split.Refusal) {
		return both(rule, base, m)
	})
	if refusal != nil {
		return nil, refusal
	}
	raw := runtime.DeepCopyJSON(rule.Raw)
	raw["name"] = name
	if len(matches) > 0 {
		raw["match"] = matches
	}
	routes := make([]any, 0, len(twins))
	for _, t := range twins {
		entry := entries().Twin(rule, t)
		if refusal := setCookie(rule, entry, t.Cookie); refusal != nil {
			return nil, refusal
		}
		routes = append(routes, entry)
	}
	raw["route"] = routes
	if extras.Fault != nil {
		if raw["fault"] != nil {
			return nil, &split.Refusal{
				Field: split.RulePath(rule, "fault"), Problem: "is there already, and a step has a fault, too",
				Remedy: "take one of them away",
			}
		}
		raw["fault"] = fault(extras.Fault)
	}
	return raw, nil
}

// setCookie has answers of an entry set a cookie, if there is one to set. The headers
// that they get are a map, in which a name stands once.
func setCookie(rule split.Rule, entry map[string]any, cookie string) *split.Refusal {
	if cookie == "" {
		return nil
	}
	at := entry
	for _, field := range []string{"headers", "response", "add"} {
		next, ok := at[field].(map[string]any)
		if !ok {
			next = map[string]any{}
			at[field] = next
		}
		at = next
	}
	for name := range at {
		if strings.EqualFold(name, "Set-Cookie") {
			return &split.Refusal{
				Field: split.RulePath(rule, "route[].headers.response.add"), Problem: "has a Set-Cookie header already, beside which a VirtualService takes no other",
			}
		}
	}
	at["Set-Cookie"] = cookie
	return nil
}

// fault as a VirtualService has it.
func fault(f *v1alpha1.Fault) map[string]any {
	share := map[string]any{"value": int64(f.Weight)}
	if f.Type == v1alpha1.FaultDelay {
		// Seconds are what every version of Istio reads.
		wait := strconv.FormatFloat(f.Delay.Duration.Or(0).Seconds(), 'f', -1, 64) + "s"
		return map[string]any{"delay": map[string]any{"fixedDelay": wait, "percentage": share}}
	}
	return map[string]any{"abort": map[string]any{"httpStatus": int64(f.Abort.HTTPStatus), "percentage": share}}
}

// both is met by requests that meet a match of the route and one of a step.
func both(rule split.Rule, base map[string]any, m v1alpha1.Match) (map[string]any, *split.Refusal) {
	out := runtime.DeepCopyJSON(base)
	headers := slices.Clone(split.Headers(m))
	for j := range headers {
		headers[j].Name = strings.ToLower(headers[j].Name) // Istio demands it.
	}
	if refusal := add(rule, out, "headers", headers); refusal != nil {
		return nil, refusal
	}
	return out, add(rule, out, "queryParams", m.QueryParams)
}

// add matches of values to a map of them.
func add(rule split.Rule, match map[string]any, field string, values []v1alpha1.ValueMatch) *split.Refusal {
	fields, _ := match[field].(map[string]any)
	if fields == nil {
		fields = map[string]any{}
	}
	for _, v := range values {
		if _, there := fields[v.Name]; there {
			return &split.Refusal{
				Field:   split.RulePath(rule, "match[]."+field),
				Problem: fmt.Sprintf("has %q already, which Weir has to match, too: a VirtualService takes only one of them", v.Name),
				Remedy:  "match something else in the step",
			}
		}
		fields[v.Name] = stringMatch(v)
	}
	if len(fields) > 0 {
		match[field] = fields
	}
	return nil
}

// stringMatch as a VirtualService has it.
func stringMatch(v v1alpha1.ValueMatch) map[string]any {
	if v.Type == v1alpha1.MatchRegularExpression {
		return map[string]any{"regex": v.Value}
	}
	return map[string]any{"exact": v.Value}
}

// Mirrored is an entry that mirrors a share of the requests.
func (dialect) Mirrored(rule split.Rule, twin split.Twin, weight int32) (map[string]any, *split.Refusal) {
	if refusal := connections(rule); refusal != nil {
		return nil, refusal
	}
	if rule.Raw["mirror"] != nil {
		return nil, &split.Refusal{
			Field: split.RulePath(rule, "mirror"), Problem: "is there, beside which a VirtualService takes no other mirror",
			Remedy: "write it as the first entry of mirrors",
		}
	}
	entry := entries().Twin(rule, twin)
	return map[string]any{"destination": entry["destination"], "percentage": map[string]any{"value": int64(weight)}}, nil
}

// readMirrors finds the entries by which a route mirrors to Services of the
// namespace.
func readMirrors(rule map[string]any, namespace string) []split.Mirror {
	list, _ := rule["mirrors"].([]any)
	var out []split.Mirror
	for i, item := range list {
		raw, _ := item.(map[string]any)
		destination, _ := raw["destination"].(map[string]any)
		host, _ := destination["host"].(string)
		if service := serviceOf(host, namespace); service != "" {
			out = append(out, split.Mirror{Place: i, Length: len(list), Service: service, Raw: raw})
		}
	}
	return out
}
