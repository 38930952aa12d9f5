package proxy

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of the data plane.
type metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	grpc     *prometheus.CounterVec
	mirrors  *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer, name string) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name + "_requests_total",
			Help: "Requests by route, rule, service drawn, pod sent to and the code the caller got. " +
				"Code 499 means that the caller went away, code 0 that the answer was cut short.",
		}, []string{"namespace", "route", "rule", "service", "code", "pod"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    name + "_request_duration_seconds",
			Help:    "Time from the arrival of a request to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"namespace", "route", "service"}),
		grpc: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name + "_grpc_calls_total",
			Help: "gRPC calls by route, rule, service drawn, pod sent to and gRPC status.",
		}, []string{"namespace", "route", "rule", "service", "status", "pod"}),
		mirrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name + "_mirrored_requests_total",
			Help: `Copies of requests by route, rule, service, pod sent to and the code of the answer, ` +
				`"error" when there was none, or "dropped" when it was not sent.`,
		}, []string{"namespace", "route", "rule", "service", "code", "pod"}),
	}
	registry.MustRegister(m.requests, m.duration, m.grpc, m.mirrors)
	return m
}

// answered counts a request whose answer has ended.
func (m *metrics) answered(x *exchange) {
	ns, route, rule, service := x.rule.Namespace, x.rule.Route, x.rule.Name, x.service()
	m.requests.WithLabelValues(ns, route, rule, service, strconv.Itoa(x.code), x.endpoint.Pod).Inc()
	m.duration.WithLabelValues(ns, route, service).Observe(time.Since(x.start).Seconds())
	if x.grpc {
		m.grpc.WithLabelValues(ns, route, rule, service, x.grpcStatus(), x.endpoint.Pod).Inc()
	}
}

func (m *metrics) mirrored(r *Rule, to *Mirror, e Endpoint, code string) {
	m.mirrors.WithLabelValues(r.Namespace, r.Route, r.Name, to.Service, code, e.Pod).Inc()
}
