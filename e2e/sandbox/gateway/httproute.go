package gateway

import (
	"fmt"
	"net/http"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// fromHTTPRoute reads an HTTPRoute.
func fromHTTPRoute(r *gwv1.HTTPRoute) *route {
	out := newRoute(kindHTTPRoute, r.ObjectMeta, r.Spec.CommonRouteSpec, r.Spec.Hostnames)
	for i := range r.Spec.Rules {
		rule, err := httpRule(fmt.Sprintf("spec.rules[%d]", i), i, &r.Spec.Rules[i])
		if err != nil {
			out.unsupported = err
			return out
		}
		out.rules = append(out.rules, rule)
	}
	return out
}

func httpRule(field string, index int, r *gwv1.HTTPRouteRule) (ruleSpec, error) {
	rule := ruleSpec{name: ruleName(r.Name, index)}
	switch {
	case r.Retry != nil:
		return rule, fmt.Errorf("%s.retry is not supported: remove it", field)
	case r.SessionPersistence != nil:
		return rule, fmt.Errorf("%s.sessionPersistence is not supported: remove it", field)
	}
	f, err := httpFilters(field+".filters", r.Filters)
	if err != nil {
		return rule, err
	}
	rule.request, rule.response, rule.mirrors = f.request, f.response, f.mirrors
	if rule.matches, err = httpMatches(field+".matches", r.Matches); err != nil {
		return rule, err
	}
	if rule.backends, err = httpBackends(field+".backendRefs", r.BackendRefs); err != nil {
		return rule, err
	}
	if r.Timeouts != nil {
		// A request is sent to a backend once, so both timeouts cover the same.
		rule.timeout, err = shortest(field+".timeouts", map[string]*gwv1.Duration{
			"request": r.Timeouts.Request, "backendRequest": r.Timeouts.BackendRequest,
		})
	}
	return rule, err
}

func httpFilters(field string, list []gwv1.HTTPRouteFilter) (filters, error) {
	var f filters
	for i, one := range list {
		err := f.add(fmt.Sprintf("%s[%d]", field, i), filter{
			kind: string(one.Type), request: one.RequestHeaderModifier, response: one.ResponseHeaderModifier, mirror: one.RequestMirror,
		})
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

func httpBackends(field string, refs []gwv1.HTTPBackendRef) ([]backendSpec, error) {
	var list []backendSpec
	for i, ref := range refs {
		one := fmt.Sprintf("%s[%d]", field, i)
		f, err := httpFilters(one+".filters", ref.Filters)
		if err == nil {
			err = f.noMirrors()
		}
		if err != nil {
			return nil, err
		}
		list = append(list, backendSpec{
			field: one, ref: ref.BackendObjectReference, weight: weightOf(ref.Weight), request: f.request, response: f.response,
		})
	}
	return list, nil
}

// httpMatches returns the matches of a rule; without any, all requests match.
func httpMatches(field string, list []gwv1.HTTPRouteMatch) ([]match.Match, error) {
	if len(list) == 0 {
		return []match.Match{{Path: match.Prefix("/")}}, nil
	}
	var matches []match.Match
	for i, m := range list {
		one, err := httpMatch(fmt.Sprintf("%s[%d]", field, i), m)
		if err != nil {
			return nil, err
		}
		matches = append(matches, one)
	}
	return matches, nil
}

func httpMatch(field string, m gwv1.HTTPRouteMatch) (out match.Match, err error) {
	if out.Path, err = httpPath(field+".path", m.Path); err != nil {
		return out, err
	}
	out.Method = deref(m.Method, "")
	headers := make([]valueMatch, len(m.Headers))
	for i, h := range m.Headers {
		headers[i] = valueMatch{deref(h.Type, ""), string(h.Name), h.Value}
	}
	if out.Headers, err = newValues(field+".headers", headers, http.CanonicalHeaderKey); err != nil {
		return out, err
	}
	query := make([]valueMatch, len(m.QueryParams))
	for i, q := range m.QueryParams {
		query[i] = valueMatch{deref(q.Type, ""), string(q.Name), q.Value}
	}
	out.Query, err = newValues(field+".queryParams", query, sameName)
	return out, err
}

func httpPath(field string, p *gwv1.HTTPPathMatch) (match.Path, error) {
	if p == nil {
		return match.Prefix("/"), nil
	}
	value := deref(p.Value, "/")
	switch gwv1.PathMatchType(deref(p.Type, string(gwv1.PathMatchPathPrefix))) {
	case gwv1.PathMatchExact:
		return match.Exact(value), nil
	case gwv1.PathMatchRegularExpression:
		path, err := match.Regex(value)
		if err != nil {
			return path, fmt.Errorf("%s.value %q is no regular expression: %w", field, value, err)
		}
		return path, nil
	case gwv1.PathMatchPathPrefix:
		return match.Prefix(value), nil
	}
	return match.Path{}, fmt.Errorf("%s.type %q is not supported: use Exact, PathPrefix or RegularExpression", field, *p.Type)
}
