package istio

import (
	"testing"

	"github.com/weir-dev/weir/providers/internal/counterstest"
)

// TestCounters: which requests are of the canary, and which of them failed.
func TestCounters(t *testing.T) {
	counterstest.Run(t, counters()[controllerName], map[string]string{
		"__name__": "istio_requests_total", "reporter": "source", "request_protocol": "http", "response_code": "200", "response_flags": "-",
		"destination_service_name": "web-canary", "destination_service_namespace": "shop",
	}, map[string]counterstest.Case{
		"Answered":    {Reason: "an answer is no failure", Counted: true},
		"NotFound":    {Reason: "nor is a mistake of the caller", Labels: "response_code=404", Counted: true},
		"ServerError": {Reason: "5xx is the server's", Labels: "response_code=503", Counted: true, Failed: true},
		"Unconnected": {Reason: "a flag counts whatever the code", Labels: "response_code=0 response_flags=UF", Counted: true, Failed: true},
		"Several":     {Reason: "one of several flags suffices", Labels: "response_code=0 response_flags=URX,UF", Counted: true, Failed: true},
		"CallerLeft":  {Reason: "a caller that went away is no failure", Labels: "response_code=0 response_flags=DC", Counted: true},
		"NoSuchFlag":  {Reason: "flags are compared as a whole", Labels: "response_flags=UFX", Counted: true},
		"Injected":    {Reason: "a fault of the route is none of the canary", Labels: "response_code=503 response_flags=FI"},
		"GRPC":        {Reason: "the status is in the trailers, the code is 200", Labels: "request_protocol=grpc grpc_response_status=14", Counted: true, Failed: true},
		"GRPCCaller":  {Reason: "NotFound is the caller's mistake", Labels: "request_protocol=grpc grpc_response_status=5", Counted: true},
		"GRPCOK":      {Reason: "a call that went well", Labels: "request_protocol=grpc grpc_response_status=0", Counted: true},
		"Waypoint":    {Reason: "a waypoint splits in ambient mode", Labels: "reporter=waypoint response_code=500", Counted: true, Failed: true},
		"Server":      {Reason: "the pods' own sidecars count the same requests once more", Labels: "reporter=destination response_code=500"},
		"TCP":         {Reason: "connections are no requests", Labels: "__name__=istio_tcp_connections_opened_total"},
	})
}
