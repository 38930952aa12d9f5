package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"regexp"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// fromGRPCRoute reads a GRPCRoute. A gRPC call is an HTTP request for the path
// /SERVICE/METHOD, so its matches are matches of paths and headers.
func fromGRPCRoute(r *gwv1.GRPCRoute) *route {
	out := newRoute(kindGRPCRoute, r.ObjectMeta, r.Spec.CommonRouteSpec, r.Spec.Hostnames)
	for i := range r.Spec.Rules {
		rule, err := grpcRule(fmt.Sprintf("spec.rules[%d]", i), i, &r.Spec.Rules[i])
		if err != nil {
			out.unsupported = err
			return out
		}
		out.rules = append(out.rules, rule)
	}
	return out
}

func grpcRule(field string, index int, r *gwv1.GRPCRouteRule) (ruleSpec, error) {
	rule := ruleSpec{name: ruleName(r.Name, index)}
	if r.SessionPersistence != nil {
		return rule, fmt.Errorf("%s.sessionPersistence is not supported: remove it", field)
	}
	f, err := grpcFilters(field+".filters", r.Filters)
	if err != nil {
		return rule, err
	}
	rule.request, rule.response, rule.mirrors = f.request, f.response, f.mirrors
	if rule.matches, err = grpcMatches(field+".matches", r.Matches); err != nil {
		return rule, err
	}
	for i, ref := range r.BackendRefs {
		one := fmt.Sprintf("%s.backendRefs[%d]", field, i)
		f, err := grpcFilters(one+".filters", ref.Filters)
		if err == nil {
			err = f.noMirrors()
		}
		if err != nil {
			return rule, err
		}
		rule.backends = append(rule.backends, backendSpec{
			field: one, ref: ref.BackendObjectReference, weight: weightOf(ref.Weight), request: f.request, response: f.response,
		})
	}
	return rule, nil
}

func grpcFilters(field string, list []gwv1.GRPCRouteFilter) (filters, error) {
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

// grpcMatches returns the matches of a rule; without any, all calls match.
func grpcMatches(field string, list []gwv1.GRPCRouteMatch) ([]match.Match, error) {
	if len(list) == 0 {
		return []match.Match{{Path: match.Prefix("/")}}, nil
	}
	var matches []match.Match
	for i, m := range list {
		one := fmt.Sprintf("%s[%d]", field, i)
		path, err := grpcPath(one+".method", m.Method)
		if err != nil {
			return nil, err
		}
		headers := make([]valueMatch, len(m.Headers))
		for i, h := range m.Headers {
			headers[i] = valueMatch{deref(h.Type, ""), string(h.Name), h.Value}
		}
		values, err := newValues(one+".headers", headers, http.CanonicalHeaderKey)
		if err != nil {
			return nil, err
		}
		matches = append(matches, match.Match{Path: path, Headers: values})
	}
	return matches, nil
}

// grpcPath returns the path of a method. The precedence of paths is that of
// methods: a service with a method before a service alone before a method of
// any service.
func grpcPath(field string, m *gwv1.GRPCMethodMatch) (match.Path, error) {
	if m == nil {
		return match.Prefix("/"), nil
	}
	service, method := deref(m.Service, ""), deref(m.Method, "")
	regex := deref(m.Type, "") == string(gwv1.GRPCMethodMatchRegularExpression)
	switch {
	case !regex && service != "" && method != "":
		return match.Exact("/" + service + "/" + method), nil
	case !regex && service != "":
		return match.Prefix("/" + service), nil
	case !regex:
		method = regexp.QuoteMeta(method)
	}
	const any = "[^/]+"
	path, err := match.Regex("/(?:" + cmp.Or(service, any) + ")/(?:" + cmp.Or(method, any) + ")")
	if err != nil {
		return path, fmt.Errorf("%s is no regular expression: %w", field, err)
	}
	return path, nil
}
