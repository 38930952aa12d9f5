// Package telemetry is what Weir says about itself to Prometheus.
//
// What happens is counted when it happens. What is (how many Rollouts are in
// which state, how long the longest wait has lasted, which share of traffic a
// release has) is computed when it is scraped, from the newest state of each
// Rollout, so that an idle Rollout costs nothing between two scrapes.
package telemetry

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

const namespace = "weir"

// How a pass over a Rollout may end.
const (
	// OutcomeIdle: nothing was to do.
	OutcomeIdle = "idle"
	// OutcomeActed: something was written.
	OutcomeActed = "acted"
	// OutcomeError: the pass failed; it is repeated with back-off.
	OutcomeError = "error"
)

// State is what is known of one Rollout after a pass.
type State struct {
	// Reason of its Ready condition, by which Rollouts are counted.
	Reason string
	// Stage of its release.
	Stage v1alpha1.Stage
	// Weight that the canary may have now, in parts per 10,000.
	Weight int32
	// Waiting is what the release waits for, as a word; empty when it waits for
	// nothing. Since is when that wait began, as far as this process knows.
	Waiting string
	Since   time.Time
}

// Telemetry counts. It is safe for use by several goroutines.
type Telemetry struct {
	passes    *prometheus.HistogramVec
	effects   *prometheus.CounterVec
	releases  *prometheus.CounterVec
	verdicts  *prometheus.CounterVec
	looks     prometheus.Histogram
	lookFails prometheus.Counter

	// Descriptions of what is computed when it is scraped.
	rollouts, stages, waits, weights *prometheus.Desc

	now   func() time.Time
	mutex sync.Mutex
	state map[types.NamespacedName]State
}

// New makes a Telemetry and registers it. now is the clock for the ages of
// waits.
func New(registerer prometheus.Registerer, now func() time.Time) (*Telemetry, error) {
	t := &Telemetry{
		passes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "pass_duration_seconds",
			Help:    "How long a pass over one Rollout took, by how it ended.",
			Buckets: []float64{0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5},
		}, []string{"outcome"}),
		effects: counters("effects_total", "Effects, records and answers, by kind and whether they were performed. One that was in place already wrote nothing.", "effect", "result"),
		releases: counters("releases_total",
			"Releases that ended, by how.", "namespace", "result"),
		verdicts: counters("analysis_verdicts_total", "Looks at the metrics of releases, by verdict.", "verdict"),
		looks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: namespace, Name: "analysis_duration_seconds",
			Help:    "How long a look at the metrics of one release took.",
			Buckets: []float64{0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10},
		}),
		lookFails: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: namespace, Name: "analysis_errors_total",
			Help: "Looks at the metrics of releases that could not be made.",
		}),
		rollouts: prometheus.NewDesc("weir_rollouts",
			"Rollouts by the reason of their Ready condition.", []string{"reason"}, nil),
		stages: prometheus.NewDesc("weir_release_stages",
			"Rollouts by the stage of their release.", []string{"stage"}, nil),
		waits: prometheus.NewDesc("weir_oldest_wait_seconds",
			"How long the longest wait of a release has lasted, by what it waits for.", []string{"waiting_for"}, nil),
		weights: prometheus.NewDesc("weir_release_weight_ratio",
			"Share of the traffic that a release under way may give to its new version.", []string{"namespace", "rollout"}, nil),
		now:   now,
		state: map[types.NamespacedName]State{},
	}
	for _, c := range []prometheus.Collector{t.passes, t.effects, t.releases, t.verdicts, t.looks, t.lookFails, t} {
		if err := registerer.Register(c); err != nil {
			return nil, fmt.Errorf("cannot register a metric: %w", err)
		}
	}
	return t, nil
}

// counters makes a vector of counters.
func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// Pass counts a pass that ended with one of the outcomes.
func (t *Telemetry) Pass(outcome string, took time.Duration) {
	t.passes.WithLabelValues(outcome).Observe(took.Seconds())
}

// Effect counts an effect of the given kind; err tells whether it was performed.
func (t *Telemetry) Effect(effect string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	t.effects.WithLabelValues(effect, result).Inc()
}

// ReleaseEnded counts a release that ended.
func (t *Telemetry) ReleaseEnded(namespace string, result v1alpha1.ReleaseResult) {
	t.releases.WithLabelValues(namespace, string(result)).Inc()
}

// Look counts a look at the metrics of a release. With an error it gave no
// verdict.
func (t *Telemetry) Look(verdict v1alpha1.VerdictValue, took time.Duration, err error) {
	t.looks.Observe(took.Seconds())
	if err != nil {
		t.lookFails.Inc()
		return
	}
	t.verdicts.WithLabelValues(string(verdict)).Inc()
}

// Set remembers the state of a Rollout. A wait for the same thing as before
// keeps its beginning.
func (t *Telemetry) Set(rollout types.NamespacedName, state State) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if old := t.state[rollout]; state.Waiting != "" {
		if state.Since.IsZero() {
			state.Since = t.now()
		}
		if old.Waiting == state.Waiting && old.Since.Before(state.Since) {
			state.Since = old.Since
		}
	}
	t.state[rollout] = state
}

// Forget a Rollout that is gone.
func (t *Telemetry) Forget(rollout types.NamespacedName) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	delete(t.state, rollout)
}

// Describe implements prometheus.Collector.
func (t *Telemetry) Describe(descs chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{t.rollouts, t.stages, t.waits, t.weights} {
		descs <- d
	}
}

// Collect implements prometheus.Collector.
func (t *Telemetry) Collect(metrics chan<- prometheus.Metric) {
	reasons, stages, waits := map[string]int{}, map[string]int{}, map[string]float64{}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}

	t.mutex.Lock()
	defer t.mutex.Unlock()
	now := t.now()
	for rollout, s := range t.state {
		reasons[s.Reason]++
		stages[string(s.Stage)]++
		if s.Waiting != "" {
			waits[s.Waiting] = max(waits[s.Waiting], now.Sub(s.Since).Seconds())
		}
		// A series for each idle Rollout would be most of what a scrape carries.
		if s.Stage.UnderWay() {
			gauge(t.weights, float64(s.Weight)/float64(v1alpha1.FullWeight), rollout.Namespace, rollout.Name)
		}
	}
	for reason, n := range reasons {
		gauge(t.rollouts, float64(n), reason)
	}
	for stage, n := range stages {
		gauge(t.stages, float64(n), stage)
	}
	for waiting, age := range waits {
		gauge(t.waits, age, waiting)
	}
}
