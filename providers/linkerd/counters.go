package linkerd

import (
	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// destinationController carries ServiceProfiles, of which nothing is reported.
const destinationController = "linkerd.io/destination"

// counters of the callers' proxies, which split. The inbound ones name the pod and not
// the Service, and see neither time-outs of the caller nor requests for which there
// was no endpoint.
func counters() map[string]providers.RequestCounters {
	return map[string]providers.RequestCounters{controllerName: ofRoutes(), destinationController: ofProfiles()}
}

// ofRoutes are the series of routes of Gateway API, which count what became of a
// request for a backend. A request that the caller itself cancelled did not fail.
func ofRoutes() providers.RequestCounters {
	const (
		http = "outbound_http_route_backend_response_statuses_total"
		grpc = "outbound_grpc_route_backend_response_statuses_total"
	)
	return providers.RequestCounters{
		Total: []v1alpha1.Selector{http, grpc},
		Failed: []v1alpha1.Selector{
			http + `{http_status=~"5.."}`,
			http + `{error!~"|CANCEL"}`,
			// The statuses that say that the server is at fault. Without an answer it is
			// UNKNOWN, which the error explains.
			grpc + `{grpc_status=~"UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|UNIMPLEMENTED|INTERNAL|UNAVAILABLE|DATA_LOSS",error!="CANCEL"}`,
			grpc + `{error!~"|CANCEL"}`,
		},
		ServiceLabel: "backend_name", NamespaceLabel: "backend_namespace",
	}
}

// ofProfiles are the series of ServiceProfiles, for which proxies count by the
// endpoint that they chose, and say themselves what a failure is.
func ofProfiles() providers.RequestCounters {
	return providers.RequestCounters{
		Total:        []v1alpha1.Selector{`response_total{direction="outbound"}`},
		Failed:       []v1alpha1.Selector{`response_total{direction="outbound",classification="failure"}`},
		ServiceLabel: "dst_service", NamespaceLabel: "dst_namespace",
	}
}
