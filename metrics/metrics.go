// Package metrics is the vocabulary between a release and its evidence.
//
// A Source answers queries. An evaluation (package evaluate) turns the metrics
// of a release's analysis templates into one Verdict, from raw samples that it
// can read again after a restart: it keeps no state that a verdict rests on.
//
// One rule holds in every package below this one: missing data never pass and
// never fail. Whatever a source could not say is an Error or a Missing value,
// and ends in the verdict NoData, which holds the release.
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

// Series is one time series of raw samples, oldest first.
type Series struct {
	// Owner is the name of the pod or Service that the series belongs to.
	Owner string
	// Labels of the series, its name among them as __name__.
	Labels  map[string]string
	Samples []Sample
}

// Value is what a query gave at one time: one number, or the reason why there
// is none.
type Value struct {
	Time  time.Time
	Value float64
	// Missing says why there is no value; empty when there is one.
	Missing Failure
}

// Looks are the times at which a query is asked: Count of them, the first at
// Start, Step apart.
type Looks struct {
	Start time.Time
	Step  time.Duration
	Count int
}

// Owners are the objects whose series are asked for.
type Owners struct {
	Namespace string
	// Names of the objects: of pods, or of Services where Label is set.
	Names []string
	// Label and NamespaceLabel are the labels of series that name the object and its
	// namespace. Empty: those by which the source names pods.
	Label, NamespaceLabel string
}

// RequestCounters are the series in which what carries the traffic counts requests,
// by the Service to which it sent each.
type RequestCounters struct {
	// Total select all requests, Failed those of them that failed: a series that any of
	// these selects.
	Total, Failed []v1alpha1.Selector
	// ServiceLabel and NamespaceLabel are the labels that name the Service and its
	// namespace.
	ServiceLabel, NamespaceLabel string
}

// Source answers queries. It bounds their number, time and size. Methods may be
// called from several goroutines. An error, always an *Error, means that there
// are no data, never that there is nothing wrong.
type Source interface {
	// Values are what a PromQL query gives at each look, in order. More or fewer
	// than one value, one that is not a number, or one that rests on samples of
	// long ago, is Missing. The namespace is the one on whose behalf is asked.
	Values(ctx context.Context, namespace, query string, looks Looks) ([]Value, error)
	// Counters are the raw samples, from start (exclusive) to end, of a counter
	// for the given owners. Those without samples have no series.
	Counters(ctx context.Context, selector v1alpha1.Selector, owners Owners, start, end time.Time) ([]Series, error)
	// RequestsByService are the raw samples, from start (exclusive) to end, of
	// the counter of requests that each of the given Services served, as the
	// source's requestsByService says. ok is false where it says nothing.
	RequestsByService(ctx context.Context, namespace string, services []string, start, end time.Time) (series []Series, ok bool, err error)
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
	// StableServices and CanaryServices are the Services of each version. Empty where
	// no Service tells them apart.
	StableServices, CanaryServices []string
	// Requests are the counters of what carries the traffic, for metrics that name a
	// signal. Nil while they are not known, or where there are none.
	Requests *RequestCounters
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
	// WindowStart and WindowEnd bound the data. MissingSince is since when data
	// have been missing, for NoData: the time of the look where the data cannot
	// say so themselves.
	WindowStart, WindowEnd, MissingSince time.Time
	Metrics                              []v1alpha1.MetricStatus
	// NextLook is when another look can say more.
	NextLook time.Time
}
