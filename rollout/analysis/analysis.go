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
)

// Bounds of the pace of looks: an evaluator that asks for less gets the
// minimum, one that asks for more or names no time gets the maximum.
const (
	minPace = time.Second
	maxPace = time.Minute
	// retryPace is for looks that could not be made.
	retryPace = 5 * time.Second
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

// Observer counts looks.
type Observer interface {
	Look(verdict v1alpha1.VerdictValue, took time.Duration, err error)
}

// Verdict is the newest answer about a release.
type Verdict struct {
	metrics.Verdict
	// StepStart is the beginning of the step that Step is about. A Step verdict
	// says nothing of a step that began at another time.
	StepStart time.Time
}

// Runner looks at the metrics of the releases that it follows. Its methods may
// be called from several goroutines.
type Runner struct {
	evaluator Evaluator
	pods      Pods
	observer  Observer
	changed   func(rollout types.NamespacedName)

	mutex    sync.Mutex
	ctx      context.Context
	followed map[types.NamespacedName]*followed
}

// followed is one release, guarded by the runner's mutex.
type followed struct {
	request metrics.Request
	verdict *Verdict
	// again wakes the loop when the request has changed.
	again  chan struct{}
	cancel context.CancelFunc
}

// New makes a Runner. changed is called when the verdict of a Rollout has
// changed; it must not block.
func New(evaluator Evaluator, pods Pods, observer Observer, changed func(rollout types.NamespacedName)) *Runner {
	return &Runner{
		evaluator: evaluator, pods: pods, observer: observer, changed: changed,
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

// Follow looks at the release that the request describes, from now on; its
// pods and its time are filled in at each look. Following the same again costs
// nothing; a request that differs is looked at anew, at once.
func (r *Runner) Follow(rollout types.NamespacedName, request metrics.Request) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	f, ok := r.followed[rollout]
	if !ok {
		f = &followed{request: request, again: make(chan struct{}, 1)}
		r.followed[rollout] = f
		if r.ctx != nil {
			r.run(rollout, f)
		}
		return
	}
	if reflect.DeepEqual(f.request, request) {
		return
	}
	if f.request.Release != request.Release || f.request.CanaryRevision != request.CanaryRevision {
		f.verdict = nil
	}
	f.request = request
	select {
	case f.again <- struct{}{}:
	default: // The loop has been woken already and will see this request.
	}
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

// Verdict is the newest verdict about a Rollout's release; ok is false while
// there is none.
func (r *Runner) Verdict(rollout types.NamespacedName) (verdict Verdict, ok bool) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	f, found := r.followed[rollout]
	if !found || f.verdict == nil {
		return Verdict{}, false
	}
	return *f.verdict, true
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

// look makes one look, keeps its verdict, and says after what time to look
// again.
func (r *Runner) look(ctx context.Context, rollout types.NamespacedName, f *followed) time.Duration {
	r.mutex.Lock()
	request := f.request
	r.mutex.Unlock()
	stable, canary, ok := r.pods.Names(rollout)
	if !ok {
		return minPace
	}
	request.StablePods, request.CanaryPods = stable, canary
	request.Now = time.Now()

	verdict, pace := r.evaluate(ctx, request)
	if ctx.Err() != nil {
		return maxPace // The loop ends; a look that was cut off says nothing.
	}
	if r.keep(f, request, verdict) {
		r.changed(rollout)
	}
	return pace
}

// evaluate asks the evaluator. A look that cannot be made is missing data: it
// holds the release and fails nothing.
func (r *Runner) evaluate(ctx context.Context, request metrics.Request) (metrics.Verdict, time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	verdict, err := r.safely(ctx, request)
	r.observer.Look(verdict.Value, time.Since(request.Now), err)
	if err != nil {
		return metrics.Verdict{
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
	return verdict, pace
}

// safely turns a panic into an error: the answers of a metrics server are input
// from outside, and one release's must not end the looks at all others.
func (r *Runner) safely(ctx context.Context, request metrics.Request) (verdict metrics.Verdict, err error) {
	defer func() {
		if p := recover(); p != nil {
			verdict, err = metrics.Verdict{}, fmt.Errorf("cannot evaluate the analysis: panic: %v", p)
		}
	}()
	return r.evaluator.Evaluate(ctx, request)
}

// keep stores a verdict and tells whether it differs from the last one in what
// a decision may rest on. Counts that grow are no change.
func (r *Runner) keep(f *followed, request metrics.Request, verdict metrics.Verdict) bool {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if f.request.Release != request.Release || f.request.CanaryRevision != request.CanaryRevision {
		return false // The release changed while it was looked at.
	}
	old := f.verdict
	if old != nil && old.Value == v1alpha1.VerdictNoData && verdict.Value == v1alpha1.VerdictNoData &&
		old.MissingSince.Before(verdict.MissingSince) {
		verdict.MissingSince = old.MissingSince // One gap, seen by two looks.
	}
	f.verdict = &Verdict{Verdict: verdict, StepStart: request.StepStart}
	return old == nil || answer(*old) != answer(*f.verdict)
}

// answer is what a decision may rest on.
func answer(v Verdict) [4]string {
	return [4]string{string(v.Value), string(v.Step), v.Reason, v.StepStart.String()}
}
