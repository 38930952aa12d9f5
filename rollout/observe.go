package rollout

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// errGone: the Rollout does not exist, as the API server says.
var errGone = errors.New("the Rollout does not exist")

// observation is everything that one pass read.
type observation struct {
	rollout *v1alpha1.Rollout
	facts   workload.Facts
	// provider of the routes, nil without any, and what it is to split.
	provider  providers.Router
	target    providers.Target
	templates []metrics.Template
	// requests are the counters of what carries the routes, nil while they are not known,
	// and where uncounted says why there are none.
	requests  *metrics.RequestCounters
	uncounted string
	input     decide.Input
	// recorded is when the pass began to write the Rollout as it is here, zero if
	// it has not.
	recorded time.Time
	// done says that an effect of the pass was on the workload or its Services.
	done bool
}

// observe reads everything that a decision about a Rollout may rest on; live
// asks the API server. An error is never an observation: an object that cannot
// be read is not one that is not there.
func (r *Reconciler) observe(ctx context.Context, rollout *v1alpha1.Rollout, live bool) (*observation, error) {
	o := &observation{rollout: rollout}
	o.input = decide.Input{
		Term: r.Term, Fresh: live, Rollout: rollout, Provider: specProvider(rollout),
	}
	reads, readCtx := errgroup.WithContext(ctx)
	reads.Go(func() error { return r.observeTraffic(readCtx, o, live) })
	reads.Go(func() (err error) {
		o.input.Approvals, err = r.approvals(readCtx, rollout, live)
		return err
	})
	if err := reads.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // they say what could not be read
	}
	o.observeSpec()
	if err := r.observeOthers(ctx, o); err != nil {
		return nil, err
	}
	if err := r.observeAnalysis(ctx, o); err != nil {
		return nil, err
	}
	// The time is read last: nothing above is younger than it.
	o.input.Now = r.Now()
	return o, nil
}

// read the Rollout. That it is not in a cache means nothing.
//
// A pass that rests on live reads of everything else may have the Rollout from
// the cache: its record is a compare-and-swap on the Rollout as it was read, and
// so is, without a record, the confirmation before each effect. An outdated copy
// costs a pass, and changes nothing; after that the Rollout is read live.
func (r *Reconciler) read(ctx context.Context, key types.NamespacedName, live bool) (*v1alpha1.Rollout, error) {
	rollout := &v1alpha1.Rollout{}
	if !live {
		err := r.Cached.Get(ctx, key, rollout)
		switch {
		case err == nil:
			return r.written.newest(rollout), nil
		case !apierrors.IsNotFound(err):
			return nil, fmt.Errorf("cannot read the Rollout: %w", err)
		}
	}
	switch err := r.Live.Get(ctx, key, rollout); {
	case apierrors.IsNotFound(err):
		return nil, errGone
	case err != nil:
		return nil, fmt.Errorf("cannot read the Rollout: %w", err)
	}
	return rollout, nil
}

// observeTraffic reads the routes, the workload and the Services between them.
func (r *Reconciler) observeTraffic(ctx context.Context, o *observation, live bool) error {
	o.target = providers.Target{
		Namespace: o.rollout.Namespace, Owner: o.rollout.Name,
		Routes: routes(o.rollout), Pairs: pairs(o.rollout.Status.Traffic.Services),
		Extras:         o.rollout.Spec.Extras(o.rollout.Status.Record.DesiredExtras),
		Planned:        planned(o.rollout),
		Session:        session(o.rollout, decide.AllowedWeight(&o.rollout.Status)),
		StableRevision: o.rollout.Status.Stable.Revision, CanaryRevision: o.rollout.Status.Canary.Revision,
	}
	var seen providers.Observation
	var err error
	if len(o.target.Routes) > 0 {
		o.provider = r.Routes
		if seen, err = r.observeRoutes(ctx, o, live); err != nil {
			return err
		}
	}
	if o.facts, err = r.Workload.Observe(ctx, o.rollout, seen.Services, live); err != nil {
		return fmt.Errorf("cannot observe the workload: %w", err)
	}
	// Only now it is known which Services select the workload. Where those are
	// others than thought, the routes mean something else.
	if found := pairs(o.facts.Services()); o.provider != nil && !slices.Equal(found, o.target.Pairs) {
		o.target.Routes, o.target.Pairs = routes(o.rollout), found
		o.input.Problems = nil
		if seen, err = r.observeRoutes(ctx, o, live); err != nil {
			return err
		}
	}
	o.facts.Target.Hold = r.Hold
	o.input.Target, o.input.Sets, o.input.Backends = o.facts.Target, o.facts.Sets, o.facts.Backends
	o.input.Preview = o.facts.Preview
	// A missing workload is said before what is wrong with its routes, and missing
	// routes before what is not found behind them.
	if o.facts.Target.UID == "" {
		o.input.Problems = append(slices.Clone(o.facts.Problems), o.input.Problems...)
	} else {
		o.input.Problems = append(o.input.Problems, o.facts.Problems...)
	}
	if o.provider != nil {
		o.input.Route = route(seen, len(o.target.Routes), o.target.Extras)
	}
	o.counted(seen)
	return nil
}

// observeRoutes reads the routes. What is wrong with them becomes a Problem;
// those that do not exist are left out, since they carry nothing.
func (r *Reconciler) observeRoutes(ctx context.Context, o *observation, live bool) (providers.Observation, error) {
	for {
		seen, err := o.provider.Observe(ctx, o.target, live)
		if err == nil {
			return seen, nil
		}
		left := len(o.target.Routes)
		for _, cause := range causes(err) {
			var missing *providers.NotFoundError
			var unsupported *providers.UnsupportedError
			switch {
			case errors.As(cause, &missing):
				o.dropRoute(missing)
			case errors.As(cause, &unsupported):
				o.problem(v1alpha1.ReasonUnsupported, "spec.traffic.routeRefs", unsupported.Error())
			default:
				return seen, fmt.Errorf("cannot read the routes: %w", err)
			}
		}
		if len(o.target.Routes) == left {
			return seen, nil
		}
		if left = len(o.target.Routes); left == 0 {
			return providers.Observation{}, nil
		}
		o.input.Problems = slices.DeleteFunc(o.input.Problems, func(p decide.Problem) bool {
			return p.Reason == v1alpha1.ReasonUnsupported // They are found again.
		})
	}
}

// dropRoute leaves out a route that does not exist. That is a problem if the
// spec names it.
func (o *observation) dropRoute(missing *providers.NotFoundError) {
	is := func(ref v1alpha1.RouteReference) bool { return ref.Kind == missing.Kind && ref.Name == missing.Name }
	o.target.Routes = slices.DeleteFunc(slices.Clone(o.target.Routes), is)
	if t := o.rollout.Spec.Traffic; t != nil && slices.ContainsFunc(t.RouteRefs, is) {
		o.problem(v1alpha1.ReasonInvalidSpec, "spec.traffic.routeRefs", missing.Error())
	}
}

// problem notes something that keeps the Rollout from working.
func (o *observation) problem(reason, field, message string) {
	o.input.Problems = append(o.input.Problems, decide.Problem{Reason: reason, Field: field, Message: message})
}

// causes are the errors that an error was joined from.
func causes(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// route gives what a provider saw to the core. Over no routes at all the lowest
// stamp is beyond any: there is nothing that could carry an older split.
func route(seen providers.Observation, routes int, extras *v1alpha1.Extras) *decide.Route {
	if routes == 0 {
		return &decide.Route{Accepted: true, Processed: true, Stamp: math.MaxInt64}
	}
	out := &decide.Route{
		Split: seen.Split, Weight: seen.Weight, LowestWeight: seen.LowestWeight,
		Accepted: seen.Accepted, Processed: seen.Processed, Message: seen.Message, Stamp: seen.Stamp, HighestStamp: seen.HighestStamp,
		ForeignWriter: seen.ForeignWriter, Routes: seen.Routes, Unannounced: seen.Unannounced,
		Whole: seen.Whole, Stray: seen.Stray, Loose: seen.Loose,
	}
	if seen.Extras {
		out.Extras = extras.ID()
	}
	return out
}

// planned are the extras of all steps.
func planned(rollout *v1alpha1.Rollout) []*v1alpha1.Extras {
	var out []*v1alpha1.Extras
	for i := range rollout.Spec.Steps {
		if e := &rollout.Spec.Steps[i].Extras; e.ID() != "" {
			out = append(out, e)
		}
	}
	return out
}

// specProvider is the provider that the spec asks for.
func specProvider(rollout *v1alpha1.Rollout) v1alpha1.TrafficProvider {
	t := rollout.Spec.Traffic
	switch {
	case t == nil || len(t.RouteRefs) == 0:
		return v1alpha1.ProviderKubernetes
	case t.RouteRefs[0].Kind == "VirtualService":
		return v1alpha1.ProviderIstio
	case t.RouteRefs[0].Kind == "ServiceProfile":
		return v1alpha1.ProviderLinkerd
	default:
		return v1alpha1.ProviderGatewayAPI
	}
}

// routes are those of the spec and, while a release or its remains are there,
// those that it was split on: a route that was taken out of the spec still has
// to be given back.
func routes(rollout *v1alpha1.Rollout) []v1alpha1.RouteReference {
	var refs []v1alpha1.RouteReference
	if t := rollout.Spec.Traffic; t != nil {
		refs = slices.Clone(t.RouteRefs)
	}
	if stage := rollout.Status.Release.Stage; stage == "" || stage == v1alpha1.StageIdle {
		return refs
	}
	for _, name := range rollout.Status.Traffic.Routes {
		kind, name, ok := strings.Cut(name, "/")
		if ok && !slices.ContainsFunc(refs, func(ref v1alpha1.RouteReference) bool { return ref.Kind == kind && ref.Name == name }) {
			refs = append(refs, v1alpha1.RouteReference{Kind: kind, Name: name})
		}
	}
	return refs
}

// pairs of each of the user's Services with the canary's.
func pairs(services []string) []providers.Pair {
	if len(services) == 0 {
		return nil
	}
	out := make([]providers.Pair, 0, len(services))
	for _, name := range slices.Sorted(slices.Values(services)) {
		out = append(out, providers.Pair{Stable: name, Canary: workload.CanaryServiceName(name)})
	}
	return out
}

// approvals are those of a Rollout, oldest first. They are read live while one
// can end the release, or hold it back. At other stages one more can only start
// what is decided again, so that the cache suffices even for a live pass.
func (r *Reconciler) approvals(ctx context.Context, rollout *v1alpha1.Rollout, live bool) ([]v1alpha1.Approval, error) {
	reader := r.Cached
	if live && measured(rollout) {
		reader = r.Live
	}
	list := &v1alpha1.ApprovalList{}
	if err := reader.List(ctx, list, client.InNamespace(rollout.Namespace)); err != nil {
		return nil, fmt.Errorf("cannot list Approvals: %w", err)
	}
	// The policy weir-approvals has asked RBAC about the name, so that the name
	// counts no less than the UID: the UID alone would be anybody's word.
	mine := slices.DeleteFunc(list.Items, func(a v1alpha1.Approval) bool {
		return a.Spec.TargetRef.UID != rollout.UID || a.Spec.TargetRef.Name != rollout.Name
	})
	slices.SortFunc(mine, func(a, b v1alpha1.Approval) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return mine, nil
}

// observeAnalysis resolves the templates and takes the newest verdict.
func (r *Reconciler) observeAnalysis(ctx context.Context, o *observation) error {
	templates, problems, err := r.Templates.Resolve(ctx, o.rollout)
	if err != nil {
		return fmt.Errorf("cannot read the analysis: %w", err)
	}
	o.templates = templates
	o.input.Problems = append(o.input.Problems, problems...)
	o.observeSignals()
	answer, ok := r.Analyses.Answer(key(o.rollout))
	if !ok {
		return nil
	}
	if v := answer.Verdict; v != nil {
		// NextLook is left out: the runner calls when the answer has changed.
		o.input.Verdict = &decide.Verdict{
			Release: v.Release, Revision: v.Revision, StepStart: answer.StepStart,
			Value: v.Value, Step: v.Step, Reason: v.Reason, Message: v.Message,
			WindowEnd: v.WindowEnd, MissingSince: v.MissingSince, Metrics: v.Metrics,
		}
	}
	if s := answer.Share; s != nil {
		o.input.Measured = &decide.Measured{
			Canary: int64(math.Round(s.Canary)), Total: int64(math.Round(s.Total)), Start: s.Start, End: s.End,
		}
	}
	return nil
}
