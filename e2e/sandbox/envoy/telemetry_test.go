package envoy

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// TestTelemetry: lines of Envoy's log become Istio's series.
func TestTelemetry(t *testing.T) {
	const shop = "outbound|80||shop-canary.pay.svc.cluster.local"
	to := map[string]string{"destination_service": "shop-canary.pay.svc.cluster.local", "destination_service_name": "shop-canary", "destination_service_namespace": "pay"}
	cases := map[string]struct {
		reason string
		line   string
		want   map[string]string
	}{
		"HTTP": {
			reason: "an answer", line: `{"cluster":"` + shop + `","contentType":null,"code":200,"grpcStatus":null,"flags":"-","milliseconds":3}`,
			want: map[string]string{"request_protocol": "http", "response_code": "200", "grpc_response_status": "", "response_flags": "-"},
		},
		"GRPC": {
			reason: "the status of a call", line: `{"cluster":"` + shop + `","contentType":"application/grpc+proto","code":200,"grpcStatus":13,"flags":"-","milliseconds":3}`,
			want: map[string]string{"request_protocol": "grpc", "response_code": "200", "grpc_response_status": "13", "response_flags": "-"},
		},
		"GRPCOfHTTP": {
			reason: "Envoy translates the code of any answer into a status, which is none", line: `{"cluster":"` + shop + `","code":503,"grpcStatus":14,"flags":"UF","milliseconds":3}`,
			want: map[string]string{"request_protocol": "http", "response_code": "503", "grpc_response_status": "", "response_flags": "UF"},
		},
		"NoRoute": {
			reason: "a request that was sent nowhere", line: `{"cluster":null,"code":404,"flags":"NR","milliseconds":0}`,
			want: map[string]string{
				"request_protocol": "http", "response_code": "404", "grpc_response_status": "", "response_flags": "NR",
				"destination_service": "unknown", "destination_service_name": "unknown", "destination_service_namespace": "unknown",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			source := pod{name: "caller", namespace: "shop", labels: map[string]string{"app": "till"}}
			err := newTelemetry(registry, source).follow(strings.NewReader(tc.line + "\n" + tc.line + "\n"))
			if err == nil {
				t.Error("the end of the log is no error, though Envoy cannot have ended well")
			}
			want := map[string]string{"reporter": "source", "source_workload": "caller", "source_workload_namespace": "shop", "source_app": "till"}
			for _, labels := range []map[string]string{to, tc.want} {
				maps.Copy(want, labels)
			}
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			counts := map[string]float64{}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					got := map[string]string{}
					for _, l := range m.GetLabel() {
						got[l.GetName()] = l.GetValue()
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("%s: labels of %s (-want +got):\n%s", tc.reason, f.GetName(), diff)
					}
					counts[f.GetName()] += m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
				}
			}
			if diff := cmp.Diff(map[string]float64{"istio_requests_total": 2, "istio_request_duration_milliseconds": 2}, counts); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTelemetryOfGarbage(t *testing.T) {
	err := newTelemetry(prometheus.NewRegistry(), pod{}).follow(strings.NewReader("upgrade required\n"))
	if err == nil || !strings.Contains(err.Error(), "upgrade required") {
		t.Errorf("got error %v, want one with what was read", err)
	}
}
