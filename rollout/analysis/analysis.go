// Package analysis looks at the metrics of releases, beside the reconciler.
//
// A look takes as long as the metrics server takes, so the reconciler never
// makes one: it says what it follows, and reads the newest verdict from memory.
// The runner looks again whenever the last verdict says that another look can
// say more, and calls the reconciler only when the answer has changed. A
// verdict rests on samples that can be read again, so nothing is kept: a
// restarted controller makes the same look and comes to the same verdict.
package analysis

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
)

// Bounds of the pace of looks: an evaluator that asks for less gets the
// minimum, one that asks for more or names no time gets the maximum.
const (
	minPace = time.Second
	maxPace = time.Minute
	// retryPace is for looks that could not be made, sharePace for those that
	// only measure the share of the traffic.
	retryPace = 5 * time.Second
	sharePace = 5 * time.Second
	// lookTimeout bounds one look with all its queries.
	lookTimeout = 30 * time.Second
)

// Evaluator turns metrics into a verdict. It keeps no state between calls.
type Evaluator interface {
	Evaluate(ctx context.Context, request metrics.Request) (metrics.Verdict, error)
}

// Pods names the pods of a release's versions, those that are gone among them.
// ok is false while they are not known yet.
type Pods interface {
	Names(rollout types.NamespacedName) (stable, canary []string, ok bool)
}

// Measurer counts the requests that the Services of each version served between
// two times, as the named MetricSource says. ok is false where it counts none.
type Measurer func(ctx context.Context, source, namespace string, stable, canary []string, start, end time.Time) (share evaluate.Share, ok bool, err error)

// Observer counts looks.
type Observer interface {
	Look(verdict v1alpha1.VerdictValue, took time.Duration, err error)
}

// Answer is the newest that is known of a release.
type Answer struct {
	// Verdict is nil without templates.
	Verdict *metrics.Verdict
	// Share of the requests since StepStart, nil where it is not measured.
	Share *Share
	// StepStart is the beginning of the step that Verdict.Step and Share are
	// about. They say nothing of a step that began at another time.
	StepStart time.Time
}

// Share is a measured share of the traffic.
type Share struct {
	evaluate.Share
	Start, End time.Time
}

// Runner looks at the metrics of the releases that it follows. Its methods may
// be called from several goroutines.
type Runner struct {
	evaluator Evaluator
	measure   Measurer
	pods      Pods
	observer  Observer
	changed   func(rollout types.NamespacedName)

	mutex    sync.Mutex
	ctx      context.Context
	followed map[types.NamespacedName]*followed
}

// followed is one release, guarded by the runner's mutex.
type followed struct {
	subject metrics.Request
	answer  *Answer
	// again wakes the loop when the subject has changed.
	again  chan struct{}
	cancel context.CancelFunc
}

// New makes a Runner. changed is called when the answer about a Rollout has
// changed; it must not block.
func New(evaluator Evaluator, measure Measurer, pods Pods, observer Observer, changed func(rollout types.NamespacedName)) *Runner {
	return &Runner{
		evaluator: evaluator, measure: measure, pods: pods, observer: observer, changed: changed,
		followed: map[types.NamespacedName]*followed{},
	}
}

// Start looks until the context ends. Releases that are followed before are
// looked at from then on.
func (r *Runner) Start(ctx context.Context) error {
	r.mutex.Lock()
	r.ctx = ctx
	for rollout, f := range r.followed {
		r.run(rollout, f)
	}
	r.mutex.Unlock()
	<-ctx.Done()
	return nil
}

// Follow looks at a release from now on: subject is the request to the evaluator, but
// for the pods and the time. Without templates there is no verdict, without Services
// no share. Following the same again costs nothing; a subject that differs is looked at
// anew, at once.
//
// Counters of requests that are known once stay for the release where a later subject
// has none: who carries the routes may be in doubt while someone edits their parents,
// yet what was counted stands, and a failure among it must act.
func (r *Runner) Follow(rollout types.NamespacedName, subject metrics.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	f, ok := r.followed[rollout]
	if !ok {
		f = &followed{subject: subject, again: make(chan struct{}, 1)}
		r.followed[rollout] = f
		if r.ctx != nil {
			r.run(rollout, f)
		}
		return
	}
	same := !other(f.subject, subject)
	if same && subject.Requests == nil {
		subject.Requests = f.subject.Requests
	}
	if reflect.DeepEqual(f.subject, subject) {
		return
	}
	if !same {
		f.answer = nil
	}
	f.subject = subject
	select {
	case f.again <- struct{}{}:
	default: // The loop has been woken already and will see this subject.
	}
}

// other tells whether two subjects are of different releases.
func other(a, b metrics.Request) bool {
	return a.Release != b.Release || a.CanaryRevision != b.CanaryRevision
}

// Forget ends the looks at a Rollout's release.
func (r *Runner) Forget(rollout types.NamespacedName) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if f, ok := r.followed[rollout]; ok {
		if f.cancel != nil {
			f.cancel()
		}
		delete(r.followed, rollout)
	}
}

// Answer is the newest about a Rollout's release; ok is false while there is
// none.
func (r *Runner) Answer(rollout types.NamespacedName) (answer Answer, ok bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	f, found := r.followed[rollout]
	if !found || f.answer == nil {
		return Answer{}, false
	}
	return *f.answer, true
}

// run starts the loop of one release. The caller holds the mutex.
func (r *Runner) run(rollout types.NamespacedName, f *followed) {
	ctx, cancel := context.WithCancel(r.ctx)
	f.cancel = cancel
	go func() {
		defer cancel()
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.again:
			case <-timer.C:
			}
			timer.Reset(r.look(ctx, rollout, f))
		}
	}()
}

// look makes one look, keeps its answer, and says after what time to look again.
func (r *Runner) look(ctx context.Context, rollout types.NamespacedName, f *followed) time.Duration {
	r.mutex.Lock()
	subject := f.subject
	r.mutex.Unlock()
	stable, canary, ok := r.pods.Names(rollout)
	if !ok {
		return minPace
	}
	subject.StablePods, subject.CanaryPods = stable, canary
	subject.Now = time.Now()

	answer := &Answer{StepStart: subject.StepStart}
	pace := sharePace
	if len(subject.Templates) > 0 {
		answer.Verdict, pace = r.evaluate(ctx, subject)
	}
	answer.Share = r.share(ctx, subject)
	if ctx.Err() != nil {
		return maxPace // The loop ends; a look that was cut off says nothing.
	}
	if r.keep(f, subject, answer) {
		r.changed(rollout)
	}
	return pace
}

// evaluate asks the evaluator. A look that cannot be made is missing data: it
// holds the release and fails nothing.
func (r *Runner) evaluate(ctx context.Context, request metrics.Request) (*metrics.Verdict, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	verdict, err := safely(func() (metrics.Verdict, error) { return r.evaluator.Evaluate(ctx, request) })
	r.observer.Look(verdict.Value, time.Since(request.Now), err)
	if err != nil {
		return &metrics.Verdict{
			Release: request.Release, Revision: request.CanaryRevision,
			Value: v1alpha1.VerdictNoData, Step: v1alpha1.VerdictNoData,
			Reason: "EvaluationFailed", Message: err.Error(),
			MissingSince: request.Now,
		}, retryPace
	}
	pace := maxPace
	if !verdict.NextLook.IsZero() {
		pace = min(max(verdict.NextLook.Sub(request.Now), minPace), maxPace)
	}
	return &verdict, pace
}

// safely turns a panic into an error: the answers of a metrics server are input
// from outside, and one release's must not end the looks at all others.
func safely[T any](ask func() (T, error)) (answer T, err error) {
	defer func() {
		if p := recover(); p != nil {
			var none T
			answer, err = none, fmt.Errorf("cannot evaluate the analysis: panic: %v", p)
		}
	}()
	return ask()
}

// share measures the canary's share of the requests of this step, by its Services.
// Where it cannot, it is not known, and nothing waits for it.
func (r *Runner) share(ctx context.Context, subject metrics.Request) *Share {
	if len(subject.CanaryServices) == 0 || subject.StepStart.IsZero() {
		return nil
	}
	source := ""
	if len(subject.Templates) > 0 {
		source = subject.Templates[0].Spec.MetricSourceName
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	share, err := safely(func() (*Share, error) {
		share, ok, err := r.measure(ctx, source, subject.Namespace, subject.StableServices, subject.CanaryServices, subject.StepStart, subject.Now)
		if !ok {
			return nil, err
		}
		return &Share{Share: share, Start: subject.StepStart, End: subject.Now}, err
	})
	if err != nil {
		return nil
	}
	return share
}

// keep stores an answer and tells whether it differs from the last one in what a
// decision may rest on. Counts that grow are no change.
func (r *Runner) keep(f *followed, subject metrics.Request, answer *Answer) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if other(f.subject, subject) {
		return false // The release changed while it was looked at.
	}
	old := f.answer
	if old != nil && missing(old.Verdict) && missing(answer.Verdict) && old.Verdict.MissingSince.Before(answer.Verdict.MissingSince) {
		answer.Verdict.MissingSince = old.Verdict.MissingSince // One gap, seen by two looks.
	}
	f.answer = answer
	return old == nil || gist(old) != gist(answer)
}

// missing tells whether a verdict is that there are no data.
func missing(v *metrics.Verdict) bool { return v != nil && v.Value == v1alpha1.VerdictNoData }

// gist is what a decision may rest on.
func gist(a *Answer) [4]string {
	g := [4]string{3: a.StepStart.String()}
	if v := a.Verdict; v != nil {
		g[0], g[1], g[2] = string(v.Value), string(v.Step), v.Reason
	}
	return g
}
