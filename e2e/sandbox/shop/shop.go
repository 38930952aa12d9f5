// Package shop is the sandbox's demo app: one small HTTP server whose version,
// error rate and latency come from its environment, so that a "bad release" is
// a change of environment in a Deployment.
//
// Every path answers JSON with version, pod and revision, and the same in the
// headers X-Version and X-Pod. /healthz is its readiness and /metrics its
// Prometheus metrics (http_requests_total by code and
// http_request_duration_seconds); neither counts as a request. Requests with
// content type application/grpc are answered as a unary gRPC call would be,
// with the version in the metadata, so that GRPCRoutes can be tried without
// code generated for a service.
package shop

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// VersionHeader and PodHeader are set on every answer of the shop, and as
	// gRPC metadata: they tell who served a request.
	VersionHeader = "X-Version"
	// PodHeader names the pod that answered.
	PodHeader = "X-Pod"
)

// App is the HTTP handler of the demo app. It is safe for concurrent use.
type App struct {
	cfg      Config
	started  time.Time
	draining atomic.Bool
	mux      *http.ServeMux
	requests *prometheus.CounterVec
	duration prometheus.Histogram
}

// New returns the app that cfg describes; its start delay counts from now.
func New(cfg Config) *App {
	a := &App{
		cfg:     cfg,
		started: time.Now(),
		mux:     http.NewServeMux(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total",
			Help: "Requests answered, by HTTP status code.",
		}, []string{"code"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "http_request_duration_seconds",
			Help:    "Time from the arrival of a request to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	// A counter that appears only with the first error has no rate before it:
	// both codes exist from the start.
	a.requests.WithLabelValues("200")
	a.requests.WithLabelValues("500")
	registry := prometheus.NewRegistry()
	registry.MustRegister(a.requests, a.duration)
	a.mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	a.mux.HandleFunc("/healthz", a.health)
	a.mux.HandleFunc("/", a.answer)
	return a
}

// ServeHTTP answers one request.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// In HTTP/2 the header would make net/http refuse the calls that are on
	// their way on the same connection, so there connections stay open.
	if a.draining.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	a.mux.ServeHTTP(w, r)
}

// drain makes the app close each connection after its next answer.
func (a *App) drain() { a.draining.Store(true) }

func (a *App) health(w http.ResponseWriter, _ *http.Request) {
	switch {
	case a.cfg.NeverReady:
		http.Error(w, "not ready: READY is false", http.StatusServiceUnavailable)
	case time.Since(a.started) < a.cfg.StartDelay:
		http.Error(w, "not ready: starting", http.StatusServiceUnavailable)
	default:
		_, _ = w.Write([]byte("ok\n"))
	}
}

// answer is every other path. An error keeps the same delay, headers and body
// as a success: nothing but the code tells them apart.
func (a *App) answer(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	code := http.StatusOK
	if a.cfg.ErrorRate > 0 && rand.Float64() < a.cfg.ErrorRate { //nolint:gosec // a draw is no secret
		code = http.StatusInternalServerError
	}
	if !wait(r, a.delay()) {
		return // the caller is gone: there is no answer to count
	}
	w.Header().Set(VersionHeader, a.cfg.Version)
	w.Header().Set(PodHeader, a.cfg.Pod)
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc") {
		a.answerGRPC(w, r, code)
	} else {
		a.answerJSON(w, code)
	}
	a.duration.Observe(time.Since(start).Seconds())
	a.requests.WithLabelValues(strconv.Itoa(code)).Inc()
}

// body is the JSON answer of every path.
type body struct {
	Version  string `json:"version"`
	Pod      string `json:"pod"`
	Revision string `json:"revision,omitempty"`
}

func (a *App) answerJSON(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// An error here means that the caller has gone; nothing can be told it.
	_ = json.NewEncoder(w).Encode(body{Version: a.cfg.Version, Pod: a.cfg.Pod, Revision: a.cfg.Revision})
}

// delay draws the time this answer takes.
func (a *App) delay() time.Duration {
	if a.cfg.Jitter <= 0 {
		return a.cfg.Latency
	}
	return a.cfg.Latency - a.cfg.Jitter + rand.N(2*a.cfg.Jitter+1) //nolint:gosec // a draw is no secret
}

// wait sleeps for d and reports whether the caller is still there.
func wait(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}
