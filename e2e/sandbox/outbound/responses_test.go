package outbound

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// counts are the values of response_total, by some of its labels.
func counts(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "response_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			found[fmt.Sprintf("%s %s/%s %s", labels["direction"], labels["dst_namespace"], labels["dst_service"], labels["classification"])] += m.GetCounter().GetValue()
		}
	}
	return found
}

func TestClassification(t *testing.T) {
	sent := proxy.Endpoint{Address: netip.MustParseAddrPort("10.0.0.9:80")}
	const success, failure = "outbound shop/web success", "outbound shop/web failure"
	cases := map[string]struct {
		reason  string
		outcome proxy.Outcome
		want    string
	}{
		"Answer":       {"an answer", proxy.Outcome{Endpoint: sent, Code: 200}, success},
		"NotFound":     {"what the caller got wrong is no failure", proxy.Outcome{Endpoint: sent, Code: 404}, success},
		"Error":        {"5xx is one", proxy.Outcome{Endpoint: sent, Code: 500}, failure},
		"Cut":          {"so is an answer that was cut short", proxy.Outcome{Endpoint: sent}, failure},
		"GRPC":         {"a call tells by its status", proxy.Outcome{Endpoint: sent, Code: 200, GRPC: true, GRPCStatus: "13"}, failure},
		"GRPCNotFound": {"which may be the caller's mistake", proxy.Outcome{Endpoint: sent, Code: 200, GRPC: true, GRPCStatus: "5"}, success},
		"CallerLeft":   {"nobody was there for an answer", proxy.Outcome{Endpoint: sent, Code: 499}, ""},
		"NoEndpoint":   {"what went to no endpoint is not counted", proxy.Outcome{Code: 503}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			registry := prometheus.NewRegistry()
			tc.outcome.Service = web
			newResponses(registry).count(tc.outcome)
			want := map[string]float64{}
			if tc.want != "" {
				want[tc.want] = 1
			}
			if diff := cmp.Diff(want, counts(t, registry)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestResponses: what is counted of requests is by the target that was drawn, and
// nothing of those that could not be connected.
func TestResponses(t *testing.T) {
	r := newRig(t, 50*time.Millisecond)
	r.locate(canary, serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })))
	r.split(0, 10000)
	for range 3 {
		if code, _ := r.ask(t, web, false); code != http.StatusBadGateway {
			t.Fatalf("answer %d, want that of the canary", code)
		}
	}
	closed := says(t, "stable")
	closed.Close()
	channel(r.source, r.endpoints, stable) <- []destination.Endpoint{{Address: netip.MustParseAddrPort(closed.Listener.Addr().String())}}
	r.split(10000, 0)
	for end := time.Now().Add(10 * time.Second); ; {
		code, body := r.ask(t, web, false)
		if code == http.StatusBadGateway && body != "" {
			break // The proxy's own answer has a body.
		}
		if time.Now().After(end) {
			t.Fatalf("answer %d, want one of the proxy", code)
		}
	}
	got := counts(t, r.registry)
	if len(got) != 1 || got["outbound shop/canary failure"] < 3 {
		t.Errorf("got %v, want the failures of the canary alone", got)
	}
}
