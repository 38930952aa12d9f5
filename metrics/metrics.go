// Package metrics is the vocabulary between a release and its evidence.
//
// A Source answers queries. An Evaluator turns the metrics of a release's
// analysis templates into one Verdict, from raw samples that it can read again
// after a restart: it keeps no state that a verdict rests on.
package metrics

import (
	"context"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Sample is one value of one series.
type Sample struct {
	Time  time.Time
	Value float64
}

// Series is one time series of raw samples, oldest first, with the pod it
// belongs to where it has one.
type Series struct {
	Pod     string
	Labels  map[string]string
	Samples []Sample
}

// Source answers queries. It bounds their number, time and size. Methods may be
// called from several goroutines. An error means that there are no data, never
// that there is nothing wrong.
type Source interface {
	// Value is the one value of a PromQL query at a time. More or fewer than one
	// value, or one that is not a number, is an error that says so.
	Value(ctx context.Context, query string, at time.Time) (float64, error)
	// Counters are the raw samples, from start (exclusive) to end, of a counter
	// for the given pods of a namespace.
	Counters(ctx context.Context, selector v1alpha1.Selector, namespace string, pods []string, start, end time.Time) ([]Series, error)
	// RequestsByService is how many requests each of the given Services served
	// from start to end, by the source's requestsByService; ok is false where it
	// has none.
	RequestsByService(ctx context.Context, namespace string, services []string, start, end time.Time) (counts map[string]float64, ok bool, err error)
}

// Template is an analysis template with its source and its arguments.
type Template struct {
	// Ref as "Kind/name", for messages.
	Ref string
	// Spec of the template.
	Spec v1alpha1.AnalysisTemplateSpec
	// Args given by the Rollout.
	Args map[string]string
}

// Request is one look at a release.
type Request struct {
	Namespace, Workload            string
	Release                        int64
	StableRevision, CanaryRevision string
	// StablePods and CanaryPods are the names of the pods of each version,
	// those that are gone among them as long as they served in the window.
	StablePods, CanaryPods []string
	// Start is when the canary was first exposed in this release; StepStart is
	// when the current step's exposure was verified, zero when it is not.
	Start, StepStart time.Time
	// Now is the time of the look.
	Now       time.Time
	Templates []Template
}

// Verdict is what an evaluation says, about one revision in one release.
type Verdict struct {
	Release  int64
	Revision string
	// Step is the verdict since StepStart, which a step's gate needs; Value the
	// one since Start, on which a failure acts.
	Value, Step v1alpha1.VerdictValue
	// Reason is a word, Message explains the verdict to people.
	Reason, Message string
	// WindowStart and WindowEnd bound the data. DataSince is since when data have
	// been missing, for NoData.
	WindowStart, WindowEnd, MissingSince time.Time
	Metrics                              []v1alpha1.MetricStatus
	// NextLook is when another look can say more.
	NextLook time.Time
}
