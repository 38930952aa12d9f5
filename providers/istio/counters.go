package istio

import (
	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// controllerName is how Istio signs what it reports on routes of Gateway API, whether
// a gateway, sidecars or a waypoint carry them. VirtualServices are carried by the
// same proxies.
const controllerName = "istio.io/gateway-controller"

// counters of the proxy that splits: a caller's sidecar and a gateway say that they
// are the source, a waypoint has a name of its own. It is the one that knows to which
// Service it sent a request, and counts each request once. It also sees what never
// reached a pod: refused connections, ejected endpoints. The sidecars of the pods see
// none of that, and name the Service that the caller meant.
//
// Copies of mirrored requests are in none of these series. Requests that a fault of
// the route aborts are left out: the canary was not asked.
func counters() map[string]providers.RequestCounters {
	series := func(conditions string) v1alpha1.Selector {
		return v1alpha1.Selector(`istio_requests_total{reporter=~"source|waypoint",response_flags!~"(.+,)?FI(,.+)?"` + conditions + `}`)
	}
	return map[string]providers.RequestCounters{controllerName: {
		Total: []v1alpha1.Selector{series("")},
		Failed: []v1alpha1.Selector{
			series(`,response_code=~"5.."`),
			// The statuses that say that the server is at fault: unknown, deadline
			// exceeded, resource exhausted, unimplemented, internal, unavailable, data loss.
			series(`,request_protocol="grpc",grpc_response_status=~"2|4|8|12|13|14|15"`),
			// Not connected, no healthy endpoint, overflow, retries exceeded, no cluster,
			// no route. The code that the caller got may be any, or 0.
			series(`,response_flags=~"(.+,)?(UF|UH|UO|URX|NC|NR)(,.+)?"`),
		},
		ServiceLabel: "destination_service_name", NamespaceLabel: "destination_service_namespace",
	}}
}
