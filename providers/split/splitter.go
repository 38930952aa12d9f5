package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// maxConflicts is how many times in a row one write may lose to another writer
// before the call gives up. Each time all is decided anew from a live read.
const maxConflicts = 5

// minWrites is how many writes one call to one route has at least, and writesPerRule
// how many for each rule of a large one. Whoever needs more is being undone as fast
// as it writes.
const minWrites, writesPerRule = 32, 4

// Part is what one provider brings to a splitter.
type Part struct {
	// Dialects of the provider's kinds of route.
	Dialects []Dialect
	// Attached is asked about routes of every kind; it may be nil.
	Attached Attached
	// Counters are the series in which a carrier of routes counts requests, by its name:
	// that of a controller, as in the status of routes.
	Counters map[string]providers.RequestCounters
}

// Attached finds what beside a target's routes, which were read live, keeps the twin of
// a user's Service from serving as the Service does, such as a policy that applies to
// the Service alone: an *UnsupportedError names it.
type Attached func(ctx context.Context, target providers.Target, routes []*unstructured.Unstructured) error

// Splitter reads and writes routes of the kinds of one provider or of several. It
// keeps no state.
type Splitter struct {
	cached   client.Client
	live     client.Reader
	dialects []Dialect
	policies []Attached
	counters map[string]providers.RequestCounters
}

// New makes a splitter of the parts of providers, that reads from the cache of c,
// or from live where it must know, and writes through c.
func New(c client.Client, live client.Reader, parts ...Part) *Splitter {
	p := &Splitter{cached: c, live: live, counters: map[string]providers.RequestCounters{}}
	for _, part := range parts {
		p.dialects = append(p.dialects, part.Dialects...)
		if part.Attached != nil {
			p.policies = append(p.policies, part.Attached)
		}
		maps.Copy(p.counters, part.Counters)
	}
	return p
}

// attached asks all who know policies, until one finds one or cannot tell.
func (p *Splitter) attached(ctx context.Context, target providers.Target, routes []*unstructured.Unstructured) error {
	for _, find := range p.policies {
		if err := find(ctx, target, routes); err != nil {
			return err
		}
	}
	return nil
}

// Kinds that the splitter reads, for whoever sets up watches: of unstructured objects,
// so that fields which no Go type knows are seen and copied, in the version in which the
// kind is served. One cache then serves both.
func (p *Splitter) Kinds() []Kind {
	out := make([]Kind, 0, len(p.dialects))
	for _, d := range p.dialects {
		out = append(out, d.Kind())
	}
	return out
}

// dialect of a kind of route, nil where there is none.
func (p *Splitter) dialect(kind string) Dialect {
	for _, d := range p.dialects {
		if d.Kind().Kind == kind {
			return d
		}
	}
	return nil
}

// Observe reads the routes. With a *NotFoundError or an *UnsupportedError the
// observation still says what was found in the routes that are there. Policies
// on the Services are looked at live only: nothing is raised on less.
func (p *Splitter) Observe(ctx context.Context, target providers.Target, live bool) (providers.Observation, error) {
	reader := client.Reader(p.cached)
	if live {
		reader = p.live
	}
	s := summary{counters: p.counters}
	var problems []error
	var routes []*unstructured.Unstructured
	for _, ref := range target.Routes {
		r, err := p.read(ctx, reader, target, ref)
		if err == nil {
			routes = append(routes, r.object)
			s.add(r, r.dialect.Status(ctx, r.object, live))
			err = r.unsupported(0)
		} else {
			s.missing(err)
		}
		if err != nil && !isAbout(err) {
			return providers.Observation{}, err
		}
		problems = append(problems, err)
	}
	if live {
		err := p.attached(ctx, target, routes)
		if err != nil && !isAbout(err) {
			return providers.Observation{}, err
		}
		problems = append(problems, err)
	}
	return s.observation(), errors.Join(problems...)
}

// isAbout is true for errors that say something of the routes, rather than that
// they could not be read.
func isAbout(err error) bool {
	var missing *providers.NotFoundError
	var unsupported *providers.UnsupportedError
	return errors.As(err, &missing) || errors.As(err, &unsupported)
}

// Lower makes the canary's weight at most weight in every rule, and stamps. A
// route that cannot be lowered keeps no other from being lowered.
func (p *Splitter) Lower(ctx context.Context, target providers.Target, weight int32, stamp int64) error {
	var problems []error
	for _, ref := range target.Routes {
		problems = append(problems, p.write(ctx, target, ref, stamp, nil, func(r *route) ([]jsonpatch.Operation, error) {
			return r.lower(weight, atMost(weight), stamp)
		}))
	}
	return errors.Join(problems...)
}

// Raise makes the canary's weight exactly weight in every rule. Nothing is
// written unless every route can carry it, and nothing raised before all that
// have more are lowered.
func (p *Splitter) Raise(ctx context.Context, target providers.Target, weight int32, stamp int64, confirm providers.Confirm) error {
	var problems []error
	var routes []*unstructured.Unstructured
	for _, ref := range target.Routes {
		r, err := p.read(ctx, p.live, target, ref)
		if err == nil {
			routes = append(routes, r.object)
			err = r.unsupported(weight)
		}
		problems = append(problems, err)
	}
	problems = append(problems, p.attached(ctx, target, routes))
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, ref := range target.Routes {
		err := p.write(ctx, target, ref, stamp, confirm, func(r *route) ([]jsonpatch.Operation, error) {
			limit := r.beforeRaise(weight)
			if r.exceeding(limit) == nil && len(r.takeExtras()) == 0 {
				return nil, nil
			}
			return r.lower(weight, limit, stamp)
		})
		if err != nil {
			return err
		}
	}
	for _, ref := range target.Routes {
		err := p.write(ctx, target, ref, stamp, confirm, func(r *route) ([]jsonpatch.Operation, error) {
			if err := r.unsupported(weight); err != nil { // since the first look
				return nil, err
			}
			return r.raise(weight, stamp)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Restore gives every rule back as the user wrote it, and removes stamps. A
// route that is gone needs nothing.
func (p *Splitter) Restore(ctx context.Context, target providers.Target, stamp int64, confirm providers.Confirm) error {
	var problems []error
	for _, ref := range target.Routes {
		err := p.write(ctx, target, ref, stamp, confirm, func(r *route) ([]jsonpatch.Operation, error) {
			return r.restore(stamp)
		})
		var missing *providers.NotFoundError
		if !errors.As(err, &missing) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// Splits tells, live, whether any route of a namespace is split for an owner,
// which may not exist any more. The label only finds the routes: with another
// value than Weir's a route may carry the canary's backend as before.
func (p *Splitter) Splits(ctx context.Context, namespace, owner string) (bool, error) {
	for _, d := range p.dialects {
		list := &unstructured.UnstructuredList{}
		err := p.inServed(d, func(kind schema.GroupVersionKind) error {
			list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
			return p.live.List(ctx, list, client.InNamespace(namespace), client.HasLabels{splitLabel})
		})
		switch {
		case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
			continue // A cluster without the kind has none.
		case err != nil:
			return false, fmt.Errorf("cannot list routes of kind %s: %w", d.Kind().Kind, err)
		}
		for i := range list.Items {
			if splitFor(d, &list.Items[i], owner) {
				return true, nil
			}
		}
	}
	return false, nil
}

// splitFor tells whether a route is split for an owner: its annotation says so.
// Rules that are as the user wrote them do not gainsay it, since the split policy
// splits them again with the next write; but on a route that was taken out of the
// policy's hands they do: whoever did that writes the rules, and need not know of
// the annotation.
func splitFor(d Dialect, object *unstructured.Unstructured, owner string) bool {
	ref := v1alpha1.RouteReference{Kind: object.GetKind(), Name: object.GetName()}
	r := newRoute(d, object, ref, providers.Target{Namespace: object.GetNamespace(), Owner: owner})
	if object.GetLabels()[splitLabel] == splitOff {
		return r.split()
	}
	return slices.ContainsFunc(r.splits, func(s split) bool { return s.Owner == owner })
}

// read one route, and see it as the target's owner does.
func (p *Splitter) read(ctx context.Context, reader client.Reader, target providers.Target, ref v1alpha1.RouteReference) (*route, error) {
	d := p.dialect(ref.Kind)
	if d == nil {
		return nil, unknownKind(ref, "is not a kind that Weir splits", "use "+p.kinds())
	}
	u := &unstructured.Unstructured{}
	err := p.inServed(d, func(kind schema.GroupVersionKind) error {
		u.SetGroupVersionKind(kind)
		return reader.Get(ctx, client.ObjectKey{Namespace: target.Namespace, Name: ref.Name}, u)
	})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &providers.NotFoundError{Kind: ref.Kind, Name: ref.Name, Hint: d.Kind().NotFound}
	case meta.IsNoMatchError(err):
		return nil, unknownKind(ref, "is not a kind that this cluster knows in version "+strings.Join(d.Kind().versions(), " or "), d.Kind().Install)
	case err != nil:
		return nil, fmt.Errorf("cannot read %s %q: %w", ref.Kind, ref.Name, err)
	}
	return newRoute(d, u, ref, target), nil
}

// kinds that the splitter knows, for messages.
func (p *Splitter) kinds() string {
	var kinds []string
	for _, d := range p.dialects {
		kinds = append(kinds, d.Kind().Kind)
	}
	return strings.Join(kinds, " or ")
}

// unknownKind makes the error about a kind.
func unknownKind(ref v1alpha1.RouteReference, problem, remedy string) error {
	return &providers.UnsupportedError{Object: ref.Kind + "/" + ref.Name, Field: "kind", Problem: problem, Remedy: remedy}
}

// write patches a route, one rule at a time, until plan has nothing to do. After
// a conflict the route is read and decided on again: plan never rests on more
// than the object it is given, the stamp is looked at each time, and so is the
// decision, by confirm.
func (p *Splitter) write(ctx context.Context, target providers.Target, ref v1alpha1.RouteReference, stamp int64, confirm providers.Confirm, plan func(*route) ([]jsonpatch.Operation, error)) error {
	r, err := p.read(ctx, p.live, target, ref)
	if err != nil {
		return err
	}
	conflicts := 0
	for n := 0; n < max(minWrites, writesPerRule*len(r.views))+maxConflicts; n++ {
		if r.stamp() > stamp {
			return fmt.Errorf("cannot write %s: %w: %d, not %d", r, providers.ErrFenced, r.stamp(), stamp)
		}
		ops, err := plan(r)
		if err != nil || len(ops) == 0 {
			return err
		}
		if err := confirmed(ctx, confirm); err != nil {
			return err
		}
		next, err := p.patch(ctx, r, ops)
		if err == nil {
			r, conflicts = newRoute(r.dialect, next, ref, target), 0
			continue
		}
		if conflicts++; conflicts == maxConflicts || !mayBeConflict(err) {
			return fmt.Errorf("cannot write %s: %w", r, err)
		}
		if r, err = p.after(ctx, target, r, err); err != nil {
			return err
		}
	}
	return fmt.Errorf("cannot write %s: every write is undone at once: does an admission policy take Weir for someone else", r)
}

// confirmed asks confirm, if there is one.
func confirmed(ctx context.Context, confirm providers.Confirm) error {
	if confirm == nil {
		return nil
	}
	return confirm(ctx)
}

// after reads the route anew once a write of it has failed with cause. If it is
// still the same version, the cause was no conflict.
func (p *Splitter) after(ctx context.Context, target providers.Target, failed *route, cause error) (*route, error) {
	r, err := p.read(ctx, p.live, target, failed.ref)
	if err != nil {
		return nil, err
	}
	if !apierrors.IsConflict(cause) && r.object.GetResourceVersion() == failed.object.GetResourceVersion() {
		return nil, fmt.Errorf("cannot write %s: %w", r, cause)
	}
	return r, nil
}

// mayBeConflict is true for a lost compare-and-swap. A patch whose tests fail,
// or whose paths are gone, is answered with 422, as is an invalid object.
func mayBeConflict(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsConflict(err) || errors.As(err, &status) && status.Status().Code == http.StatusUnprocessableEntity
}

// patch sends the operations and gives the object as it is then.
func (p *Splitter) patch(ctx context.Context, r *route, ops []jsonpatch.Operation) (*unstructured.Unstructured, error) {
	body, err := json.Marshal(ops)
	if err != nil {
		return nil, fmt.Errorf("cannot render the patch: %w", err)
	}
	next := &unstructured.Unstructured{}
	next.SetGroupVersionKind(r.object.GroupVersionKind())
	next.SetNamespace(r.object.GetNamespace())
	next.SetName(r.object.GetName())
	err = p.cached.Patch(ctx, next, client.RawPatch(types.JSONPatchType, body), client.FieldOwner(FieldManager), validation(ops))
	if unknown := r.unknownField(err); unknown != nil {
		return nil, unknown
	}
	if err != nil {
		return nil, fmt.Errorf("cannot change %s %q: %w", r.ref.Kind, next.GetName(), err)
	}
	return next, nil
}
