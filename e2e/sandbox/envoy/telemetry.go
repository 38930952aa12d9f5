package envoy

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// unknown is what Istio writes for what it does not know.
const unknown = "unknown"

// telemetry makes Istio's series of requests.
type telemetry struct {
	source   prometheus.Labels
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// newTelemetry makes the series of a pod's requests.
func newTelemetry(registry prometheus.Registerer, source pod) *telemetry {
	t := &telemetry{source: prometheus.Labels{
		"reporter": "source", "source_workload": source.name, "source_workload_namespace": source.namespace,
		"source_app": cmp.Or(source.labels["app"], unknown),
	}}
	labels := []string{
		"reporter", "source_workload", "source_workload_namespace", "source_app",
		"destination_service", "destination_service_name", "destination_service_namespace",
		"request_protocol", "response_code", "grpc_response_status", "response_flags",
	}
	t.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "istio_requests_total", Help: "Requests, by what came of them.",
	}, labels)
	t.duration = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "istio_request_duration_milliseconds", Help: "Time from the arrival of a request to the end of its answer.",
		Buckets: []float64{.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000},
	}, labels)
	registry.MustRegister(t.requests, t.duration)
	return t
}

// request is a line of Envoy's log. What there is none of is null or absent.
type request struct {
	Cluster      string  `json:"cluster"`
	ContentType  string  `json:"contentType"`
	Code         int     `json:"code"`
	GRPCStatus   *int    `json:"grpcStatus"`
	Flags        string  `json:"flags"`
	Milliseconds float64 `json:"milliseconds"`
}

// follow counts requests until the log ends, which is an error: there is none
// without Envoy.
func (t *telemetry) follow(log io.Reader) error {
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return fmt.Errorf("cannot read %q: %w", lines.Text(), err)
		}
		t.count(r)
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("cannot read the log of requests: %w", err)
	}
	return io.ErrUnexpectedEOF
}

// count counts a request.
func (t *telemetry) count(r request) {
	labels := prometheus.Labels{
		"request_protocol": "http", "response_code": strconv.Itoa(r.Code), "grpc_response_status": "", "response_flags": cmp.Or(r.Flags, "-"),
	}
	if strings.HasPrefix(r.ContentType, "application/grpc") {
		labels["request_protocol"] = "grpc"
		if r.GRPCStatus != nil {
			labels["grpc_response_status"] = strconv.Itoa(*r.GRPCStatus)
		}
	}
	labels["destination_service"], labels["destination_service_name"], labels["destination_service_namespace"] = destination(r.Cluster)
	maps.Copy(labels, t.source)
	t.requests.With(labels).Inc()
	t.duration.With(labels).Observe(r.Milliseconds)
}

// destination is the Service that one of istiod's clusters is for: its host, its name
// and its namespace. A cluster has the name DIRECTION|PORT|SUBSET|HOST.
func destination(cluster string) (host, name, namespace string) {
	parts := strings.Split(cluster, "|")
	host = parts[len(parts)-1]
	words := strings.Split(host, ".")
	if len(parts) != 4 || len(words) < 3 || words[2] != "svc" {
		return unknown, unknown, unknown
	}
	return host, words[0], words[1]
}

// metricsHandler serves the series.
func metricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(MetricsPath, promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}
