package served

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers/istio"
)

// served are the routes of one route configuration, by the VirtualService that they
// come from.
type served map[client.ObjectKey][]istio.ServedRoute

// read what VirtualServices say in a route configuration. All of its virtual hosts are
// of one Service.
func read(config *routev3.RouteConfiguration) served {
	out := served{}
	for _, host := range config.GetVirtualHosts() {
		for _, r := range host.GetRoutes() {
			if key, ok := origin(r.GetMetadata()); ok {
				out[key] = append(out[key], readRoute(r))
			}
		}
	}
	return out
}

// origin is the VirtualService that istiod made a route from: it writes its path
// /apis/networking.istio.io/VERSION/namespaces/NAMESPACE/virtual-service/NAME.
func origin(m *corev3.Metadata) (client.ObjectKey, bool) {
	path := m.GetFilterMetadata()["istio"].GetFields()["config"].GetStringValue()
	parts := strings.Split(path, "/")
	if len(parts) != 8 || parts[2] != istio.Group || parts[6] != "virtual-service" {
		return client.ObjectKey{}, false
	}
	return client.ObjectKey{Namespace: parts[5], Name: parts[7]}, true
}

// readRoute reads one route. One that redirects or answers by itself has no weights.
func readRoute(r *routev3.Route) istio.ServedRoute {
	out := istio.ServedRoute{
		Name: r.GetName(), Last: takesAll(r.GetMatch()), Conditions: conditions(r.GetMatch()), Weights: map[string]uint32{},
	}
	action := r.GetRoute()
	if cluster := action.GetCluster(); cluster != "" {
		out.Weights[destination(cluster)] = 1
	}
	for _, c := range action.GetWeightedClusters().GetClusters() {
		out.Weights[destination(c.GetName())] += c.GetWeight().GetValue()
	}
	istio.Reduce(out.Weights)
	for _, m := range action.GetRequestMirrorPolicies() {
		out.Mirrors = append(out.Mirrors, istio.ServedMirror{
			Destination: destination(m.GetCluster()), Millionths: millionths(m.GetRuntimeFraction().GetDefaultValue()),
		})
	}
	return out
}

// destination of a cluster: istiod names it outbound|PORT|SUBSET|HOST.
func destination(cluster string) string {
	parts := strings.Split(cluster, "|")
	if len(parts) != 4 {
		return cluster
	}
	return istio.Destination(parts[3], parts[2])
}

// millionths of a share.
func millionths(p *typev3.FractionalPercent) uint32 {
	switch p.GetDenominator() {
	case typev3.FractionalPercent_HUNDRED:
		return p.GetNumerator() * 10_000
	case typev3.FractionalPercent_TEN_THOUSAND:
		return p.GetNumerator() * 100
	default:
		return p.GetNumerator()
	}
}

// takesAll tells whether a route takes whatever comes to it, as istiod decides that,
// which leaves out all that come after.
func takesAll(m *routev3.RouteMatch) bool {
	all := m.GetPrefix() == "/" || m.GetPathSeparatedPrefix() == "/" || m.GetSafeRegex().GetRegex() == ".*"
	return all && len(m.GetHeaders()) == 0 && len(m.GetQueryParameters()) == 0 && len(m.GetDynamicMetadata()) == 0
}

// conditions of a match that Weir may have written. Headers with a colon stand for
// other fields of a match, and what is inverted for those that requests must not have.
func conditions(m *routev3.RouteMatch) []string {
	var out []string
	add := func(place, name string, v *matcherv3.StringMatcher) {
		switch v.GetMatchPattern().(type) {
		case *matcherv3.StringMatcher_Exact:
			out = append(out, istio.Condition(place, name, istio.Exact, v.GetExact()))
		case *matcherv3.StringMatcher_SafeRegex:
			out = append(out, istio.Condition(place, name, istio.Regular, v.GetSafeRegex().GetRegex()))
		}
	}
	for _, h := range m.GetHeaders() {
		if !h.GetInvertMatch() && !strings.HasPrefix(h.GetName(), ":") {
			add(istio.Header, h.GetName(), h.GetStringMatch())
		}
	}
	for _, q := range m.GetQueryParameters() {
		add(istio.Parameter, q.GetName(), q.GetStringMatch())
	}
	slices.Sort(out)
	return out
}
