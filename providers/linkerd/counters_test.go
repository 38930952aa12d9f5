package linkerd

import (
	"testing"

	"github.com/weir-dev/weir/providers/internal/counterstest"
)

// TestCountersOfRoutes: which requests by routes of Gateway API failed.
func TestCountersOfRoutes(t *testing.T) {
	counterstest.Run(t, counters()[controllerName], map[string]string{
		"__name__": "outbound_http_route_backend_response_statuses_total", "http_status": "200",
		"backend_kind": "Service", "backend_name": "web-canary", "backend_namespace": "shop",
	}, map[string]counterstest.Case{
		"Answered":    {Reason: "an answer is no failure", Counted: true},
		"NotFound":    {Reason: "nor is a mistake of the caller", Labels: "http_status=404", Counted: true},
		"ServerError": {Reason: "5xx is the server's", Labels: "http_status=500", Counted: true, Failed: true},
		"FailFast":    {Reason: "without an endpoint there is no status", Labels: "http_status= error=FAIL_FAST", Counted: true, Failed: true},
		"CallerLeft":  {Reason: "a caller that went away is no failure", Labels: "http_status= error=CANCEL", Counted: true},
		"GRPC":        {Reason: "calls by a GRPCRoute", Labels: "__name__=outbound_grpc_route_backend_response_statuses_total grpc_status=UNAVAILABLE", Counted: true, Failed: true},
		"GRPCOK":      {Reason: "a call that went well", Labels: "__name__=outbound_grpc_route_backend_response_statuses_total grpc_status=OK", Counted: true},
		"GRPCCaller":  {Reason: "NOT_FOUND is the caller's mistake", Labels: "__name__=outbound_grpc_route_backend_response_statuses_total grpc_status=NOT_FOUND", Counted: true},
		"GRPCTimeout": {Reason: "what had no answer is UNKNOWN, with an error", Labels: "__name__=outbound_grpc_route_backend_response_statuses_total grpc_status=UNKNOWN error=REQUEST_TIMEOUT", Counted: true, Failed: true},
		"GRPCLeft":    {Reason: "so is a call that the caller cancelled", Labels: "__name__=outbound_grpc_route_backend_response_statuses_total grpc_status=UNKNOWN error=CANCEL", Counted: true},
		"Route":       {Reason: "series without a backend say nothing of versions", Labels: "__name__=outbound_http_route_request_statuses_total"},
	})
}

// TestCountersOfProfiles: which requests by ServiceProfiles failed.
func TestCountersOfProfiles(t *testing.T) {
	counterstest.Run(t, counters()[destinationController], map[string]string{
		"__name__": "response_total", "direction": "outbound", "classification": "success", "dst_service": "web-canary", "dst_namespace": "shop",
	}, map[string]counterstest.Case{
		"Answered": {Reason: "the proxy says what a success is", Counted: true},
		"Failed":   {Reason: "and what a failure is", Labels: "classification=failure", Counted: true, Failed: true},
		"Inbound":  {Reason: "the pods' own proxies count the same requests once more", Labels: "direction=inbound classification=failure"},
	})
}
