package istio

import (
	"slices"
	"strings"

	networkingapi "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
)

// hundredth and whole of the requests, in millionths.
const hundredth, whole = 10_000, 1_000_000

// writtenFor are the routes that a VirtualService ought to give a sidecar at a port, as
// istiod's route builder has it: one for each match of a rule.
func writtenFor(vs *networkingv1.VirtualService, port uint32) []ServedRoute {
	var out []ServedRoute
	for _, rule := range vs.Spec.GetHttp() {
		base := ServedRoute{Name: rule.GetName(), Weights: weightsOf(rule, vs.Namespace), Mirrors: mirrorsOf(rule, vs.Namespace)}
		if len(rule.GetMatch()) == 0 {
			return append(out, base) // It takes all the others.
		}
		for _, match := range rule.GetMatch() {
			if !reaches(match, port) {
				continue
			}
			route := base
			if match.GetName() != "" {
				route.Name += "." + match.GetName()
			}
			route.Conditions = conditionsOf(match)
			out = append(out, route)
		}
	}
	return out
}

// reaches tells whether a match is for requests of any sidecar at a port. Those for
// gateways, or for callers with certain labels, are served to these alone.
func reaches(match *networkingapi.HTTPMatchRequest, port uint32) bool {
	if match.GetPort() != 0 && match.GetPort() != port {
		return false
	}
	if len(match.GetGateways()) > 0 {
		return slices.Contains(match.GetGateways(), mesh)
	}
	return len(match.GetSourceLabels()) == 0 && match.GetSourceNamespace() == ""
}

// weightsOf the destinations of a rule. One alone has all.
func weightsOf(rule *networkingapi.HTTPRoute, namespace string) map[string]uint32 {
	out := map[string]uint32{}
	if rule.GetRedirect() != nil || rule.GetDirectResponse() != nil {
		return out
	}
	for _, r := range rule.GetRoute() {
		weight := uint32(r.GetWeight())
		if len(rule.GetRoute()) == 1 {
			weight = 1
		}
		out[destinationOf(r.GetDestination(), namespace)] += weight
	}
	Reduce(out)
	return out
}

// destinationOf a rule in a namespace.
func destinationOf(d *networkingapi.Destination, namespace string) string {
	host := d.GetHost()
	if serviceOf(host, namespace) == host {
		host += "." + namespace + ".svc"
	}
	return Destination(host, d.GetSubset())
}

// mirrorsOf a rule, that of the field with one mirror first. Without a share all is
// mirrored, and with one of 0 nothing.
func mirrorsOf(rule *networkingapi.HTTPRoute, namespace string) []ServedMirror {
	var out []ServedMirror
	add := func(to *networkingapi.Destination, share uint32) {
		if to != nil && share > 0 {
			out = append(out, ServedMirror{Destination: destinationOf(to, namespace), Millionths: share})
		}
	}
	share := uint32(whole)
	switch {
	case rule.GetMirrorPercentage() != nil:
		share = millionths(rule.GetMirrorPercentage())
	case rule.GetMirrorPercent() != nil: //nolint:staticcheck // Users may still write it.
		share = rule.GetMirrorPercent().GetValue() * hundredth //nolint:staticcheck // As above.
	}
	add(rule.GetMirror(), share)
	for _, m := range rule.GetMirrors() {
		share := uint32(whole)
		if m.GetPercentage() != nil {
			share = millionths(m.GetPercentage())
		}
		add(m.GetDestination(), share)
	}
	return out
}

// millionths of a percentage, as istiod rounds it.
func millionths(p *networkingapi.Percent) uint32 { return uint32(p.GetValue() * hundredth) }

// conditionsOf a match. Names that begin with a sign of their own are no headers but
// claims of a token, which Weir does not write, and are not compared.
func conditionsOf(match *networkingapi.HTTPMatchRequest) []string {
	var out []string
	add := func(place string, values map[string]*networkingapi.StringMatch) {
		for name, v := range values {
			if strings.HasPrefix(name, "@") {
				continue
			}
			switch v.GetMatchType().(type) {
			case *networkingapi.StringMatch_Exact:
				out = append(out, Condition(place, name, Exact, v.GetExact()))
			case *networkingapi.StringMatch_Regex:
				if v.GetRegex() != "*" { // That is said as presence.
					out = append(out, Condition(place, name, Regular, v.GetRegex()))
				}
			}
		}
	}
	add(Header, match.GetHeaders())
	add(Parameter, match.GetQueryParams())
	slices.Sort(out)
	return out
}
