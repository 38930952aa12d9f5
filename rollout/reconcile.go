package rollout

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/telemetry"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/analysis"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/pods"
	"github.com/weir-dev/weir/rollout/workload"
)

// maxAttempts bounds the passes that follow each other at once when somebody
// else writes at the same time. After that the queue's back-off takes over.
const maxAttempts = 5

// minWake keeps a timer that has just run out from making a busy loop.
const minWake = 10 * time.Millisecond

// Workload reads and writes the workload of a Rollout and all that belongs to
// it: its ReplicaSets, and the Services of both versions.
type Workload interface {
	// Observe reads; live asks the API server. services are the user's Services
	// that the provider found behind the routes.
	Observe(ctx context.Context, rollout *v1alpha1.Rollout, services []string, live bool) (workload.Facts, error)
	// Apply performs one effect on its object as it is now, or fails with
	// workload.ErrPrecondition, providers.ErrFenced or a conflict of the API.
	Apply(ctx context.Context, pass workload.Pass, effect decide.Effect) error
	// Confirm says that nobody has recorded anything since the pass did.
	// ConfirmRaise and CheckExposure are what must be true in addition, beside
	// the routes, before an effect raises the canary's weight.
	Confirm(ctx context.Context, pass workload.Pass) error
	ConfirmRaise(ctx context.Context, pass workload.Pass) error
	CheckExposure(ctx context.Context, pass workload.Pass, effect decide.Effect) error
}

// Splits finds routes that are split for a Rollout, which may be gone.
type Splits interface {
	Splits(ctx context.Context, namespace, rollout string) (bool, error)
}

// Cleaner removes what is left of a Rollout that is gone, when no route is split
// for it. It is false as long as something is still going, the end of which it
// waits for before it removes the rest.
type Cleaner interface {
	Forget(ctx context.Context, namespace, rollout string) (bool, error)
}

// Warner finds what makes a release less safe than it looks.
type Warner interface {
	Warnings(ctx context.Context, rollout *v1alpha1.Rollout, facts workload.Facts) ([]string, error)
}

// Templates finds the analysis templates of a Rollout, and what is wrong with
// them.
type Templates interface {
	Resolve(ctx context.Context, rollout *v1alpha1.Rollout) ([]metrics.Template, []decide.Problem, error)
}

// Analyses holds the newest answer of the metrics about each release that it
// follows.
type Analyses interface {
	Follow(rollout types.NamespacedName, subject metrics.Request)
	Forget(rollout types.NamespacedName)
	Answer(rollout types.NamespacedName) (analysis.Answer, bool)
}

// Pods follows the pods of releases.
type Pods interface {
	Follow(rollout types.NamespacedName, release pods.Release)
	Forget(rollout types.NamespacedName)
	// Trouble tells, once, whether a pod of the canary got into trouble.
	// TellAgain takes that back.
	Trouble(rollout types.NamespacedName) bool
	TellAgain(rollout types.NamespacedName)
}

// Telemetry counts what happens.
type Telemetry interface {
	Pass(outcome string, took time.Duration)
	Effect(kind string, err error)
	ReleaseEnded(namespace string, result v1alpha1.ReleaseResult)
	Set(rollout types.NamespacedName, state telemetry.State)
	Forget(rollout types.NamespacedName)
}

// Reconciler makes passes over Rollouts. All fields are required.
type Reconciler struct {
	// Decide is decide.Decide.
	Decide func(decide.Input) decide.Decision
	// Cached reads from informers, Live from the API server. Writer writes the
	// Rollout and the Approvals.
	Cached, Live client.Reader
	Writer       client.Client
	Workload     Workload
	Warner       Warner
	// Routes splits routes of every kind.
	Routes    providers.Router
	Splits    Splits
	Cleaner   Cleaner
	Templates Templates
	Analyses  Analyses
	Pods      Pods
	Events    Recorder
	Telemetry Telemetry
	// Hold says how the cluster holds new templates.
	Hold v1alpha1.HoldMode
	// Term is the identity of this process, new at each start.
	Term string
	// Now is the clock.
	Now func() time.Time

	written written
}

// Reconcile makes a pass over one Rollout, and further ones at once while
// others write at the same time.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	began := r.Now()
	live := r.Pods.Trouble(request.NamespacedName)
	for attempt := 1; ; attempt++ {
		d, err := r.pass(ctx, request.NamespacedName, live, attempt > 1)
		switch {
		case errors.Is(err, errGone):
			return r.forget(ctx, request.NamespacedName)
		case retriable(err) && attempt < maxAttempts:
			log.FromContext(ctx).V(1).Info("Somebody else wrote first, reading again", "cause", err.Error())
			live = true
		case err != nil:
			if live {
				r.Pods.TellAgain(request.NamespacedName)
			}
			r.Telemetry.Pass(telemetry.OutcomeError, r.Now().Sub(began))
			return reconcile.Result{}, err
		default:
			r.Telemetry.Pass(outcome(d), r.Now().Sub(began))
			return reconcile.Result{RequeueAfter: r.until(d.WakeAt)}, nil
		}
	}
}

// pass observes, decides, records and acts once. With live it does not begin
// with the caches; again says that one has just come to nothing, so that the
// Rollout itself may be outdated there.
func (r *Reconciler) pass(ctx context.Context, name types.NamespacedName, live, again bool) (decide.Decision, error) {
	rollout, err := r.read(ctx, name, again)
	if err != nil {
		return decide.Decision{}, err
	}
	o, err := r.observe(ctx, rollout, live)
	if err != nil {
		return decide.Decision{}, err
	}
	d := r.Decide(o.input)
	if d.ReadLive && !live {
		if o, err = r.observe(ctx, rollout, true); err != nil {
			return decide.Decision{}, err
		}
		d = r.Decide(o.input)
	}
	before := o.rollout.Status
	if err := r.record(ctx, o, d); err != nil {
		return d, err
	}
	err = r.act(ctx, o, d.Effects)
	// What was recorded is told and followed even where an effect of it failed:
	// the next pass finds it recorded, and has nothing more to say about it.
	r.tell(ctx, o, before, d)
	r.follow(o)
	return d, err
}

// retriable tells whether an error means that the world moved on since it was
// read, so that reading and deciding again is the answer.
func retriable(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		errors.Is(err, workload.ErrPrecondition) || errors.Is(err, providers.ErrFenced)
}

// outcome of a pass, for counting.
func outcome(d decide.Decision) string {
	if d.Status != nil || len(d.Effects) > 0 {
		return telemetry.OutcomeActed
	}
	return telemetry.OutcomeIdle
}

// until the time at which a decision can change by time alone; 0 for never.
func (r *Reconciler) until(wake time.Time) time.Duration {
	if wake.IsZero() {
		return 0
	}
	return max(wake.Sub(r.Now()), minWake)
}
