package workload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

// writes records the writes that reach the API server.
type writes struct {
	client.WithWatch
	requests []string
}

// record wraps an API server.
func record(api client.WithWatch) *writes {
	w := &writes{}
	w.WithWatch = interceptor.NewClient(api, interceptor.Funcs{
		Patch: func(ctx context.Context, api client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			data, err := patch.Data(obj)
			if err != nil {
				return err
			}
			w.requests = append(w.requests, fmt.Sprintf("patch %s %s", obj.GetName(), data))
			return api.Patch(ctx, obj, patch, opts...)
		},
		Create: func(ctx context.Context, api client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			w.requests = append(w.requests, "create "+obj.GetName())
			return api.Create(ctx, obj, opts...)
		},
		Update: func(ctx context.Context, api client.WithWatch, obj client.Object, opts ...client.UpdateOption) error {
			w.requests = append(w.requests, "update "+obj.GetName())
			return api.Update(ctx, obj, opts...)
		},
		Delete: func(ctx context.Context, api client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			o := (&client.DeleteOptions{}).ApplyOptions(opts)
			if o.Preconditions == nil || o.Preconditions.UID == nil || o.Preconditions.ResourceVersion == nil {
				return errors.New("a deletion needs preconditions on UID and resourceVersion")
			}
			w.requests = append(w.requests, fmt.Sprintf("delete %s %s", obj.GetName(), *o.PropagationPolicy))
			o.Preconditions = nil // The fake API server does not know them.
			return api.Delete(ctx, obj, &client.DeleteOptions{PropagationPolicy: o.PropagationPolicy})
		},
	})
	return w
}

// routesAre answers for the routes.
func routesAre(o providers.Observation) func(context.Context) (providers.Observation, error) {
	return func(context.Context) (providers.Observation, error) { return o, nil }
}

var (
	usersOwn = providers.Observation{Accepted: true, Processed: true}
	split    = providers.Observation{Split: true, Weight: 500, LowestWeight: 500, Accepted: true, Processed: true}
	zero     = providers.Observation{Split: true, Accepted: true, Processed: true}
)

// effectCase is one effect on one state of the world.
type effectCase struct {
	reason  string
	rollout *v1alpha1.Rollout
	objs    []client.Object
	routes  *providers.Observation
	effect  decide.Effect
	// want are the writes; with err there must be none.
	want []string
	err  error
}

// run performs the effect, and then again: what is in place is not written
// twice, unless again says so.
func (tc effectCase) run(t *testing.T) {
	t.Helper()
	r := tc.rollout
	if r == nil {
		r = rollout()
	}
	c, api := newTestClient(t, append(tc.objs, r)...)
	w := record(api)
	c.writer = w
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatal(err)
	}
	pass := Pass{Rollout: r, Services: []string{"web"}}
	if tc.routes != nil {
		pass.Routes = routesAre(*tc.routes)
	}
	err := c.Apply(t.Context(), pass, tc.effect)
	if !errors.Is(err, tc.err) {
		t.Fatalf("%s\nerror = %v, want %v", tc.reason, err, tc.err)
	}
	if diff := cmp.Diff(tc.want, w.requests); diff != "" {
		t.Errorf("%s (-want +got):\n%s\nerror: %v", tc.reason, diff, err)
	}
}

func TestEffectsAreComplete(t *testing.T) {
	others := []decide.EffectKind{decide.EffectAddFinalizer, decide.EffectRemoveFinalizer, decide.EffectSetWeight, decide.EffectRestoreRoute}
	for _, kind := range others {
		if Handles(kind) {
			t.Errorf("effect %s is on routes or the Rollout: others perform it", kind)
		}
		c, _ := newTestClient(t, rollout())
		if err := c.Apply(t.Context(), Pass{Rollout: rollout()}, decide.Effect{Kind: kind}); err == nil {
			t.Errorf("effect %s must be refused rather than ignored", kind)
		}
	}
	if !Handles(decide.EffectAdopt) || !slices.Contains([]bool{Handles(decide.EffectPin)}, true) {
		t.Error("effects on the workload and its Services are performed here")
	}
}

func TestRaise(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	up := decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 3, Raise: true}
	pinnedAndSeen := []client.Object{service(pinned(stableHash)), slice("web", stableHash)}
	world := func(objs ...client.Object) []client.Object {
		return append(append([]client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2)}, pinnedAndSeen...), objs...)
	}
	cases := map[string]effectCase{
		"Up": {
			reason: "The canary grows while every Service is narrowed.",
			objs:   world(), routes: &zero, effect: up,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"replicas":3}}`},
		},
		"NotPinned": {
			reason: "Callers beside the routes must not meet the canary.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2), service(), slice("web", "")},
			routes: &zero, effect: up, err: ErrPrecondition,
		},
		"PinNotSeen": {
			reason: "Narrowing is not in force before the endpoint controller has acted on it.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2), service(pinned(stableHash)), slice("web", "")},
			routes: &zero, effect: up, err: ErrPrecondition,
		},
		"Shared": {
			reason:  "With otherCallers Shared nothing is narrowed.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Spec.Traffic.OtherCallers = v1alpha1.OtherCallersShared }),
			objs:    []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2), service(), slice("web", "")},
			routes:  &zero, effect: up,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"replicas":3}}`},
		},
		"Adopting": {
			reason:  "While adopting, Services are wide by design.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Status.Release.Stage = v1alpha1.StageAdopting }),
			objs:    []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2), service(), slice("web", "")},
			routes:  &usersOwn, effect: up,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"replicas":3}}`},
		},
		"NewTemplate": {
			reason: "The workload has a template that is not the canary's any more.",
			objs: append([]client.Object{
				deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") }), owned(stableHash, "v1", 4), canarySet(2),
			}, pinnedAndSeen...),
			routes: &zero, effect: up, err: ErrPrecondition,
		},
		"Deleting": {
			reason: "Nothing is raised for a Rollout that is being deleted.",
			rollout: rollout(func(r *v1alpha1.Rollout) {
				r.DeletionTimestamp = &metav1.Time{Time: epoch}
				r.Finalizers = []string{v1alpha1.Finalizer}
			}),
			objs: world(), routes: &zero, effect: up, err: ErrPrecondition,
		},
		"EarlierTerm": {
			reason:  "A set that this controller has not stamped yet may be written by its predecessor.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Status.Record.TermSeq = 9 }),
			objs:    world(), routes: &zero, effect: up, err: ErrPrecondition,
		},
		"Fenced": {
			reason:  "A set with a newer stamp is another controller's.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Status.Record.Seq, r.Status.Record.TermSeq = 7, 0 }),
			objs:    world(), routes: &zero, effect: up, err: ErrFenced,
		},
		"Adopted": {
			reason: "A set that the workload owns is its controller's to scale.",
			objs: append([]client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.OwnerReferences[0].Controller = new(bool)
				*rs.OwnerReferences[0].Controller = true
			})}, pinnedAndSeen...),
			routes: &zero, effect: up, err: ErrPrecondition,
		},
		"Gone": {
			reason: "A set that is gone must be decided about anew.",
			objs:   append([]client.Object{deployment(), owned(stableHash, "v1", 4)}, pinnedAndSeen...),
			routes: &zero, effect: up, err: ErrPrecondition,
		},
		"NotARaise": {
			reason: "An effect that was not checked as a raise must not raise.",
			objs:   world(), routes: &zero, err: ErrPrecondition,
			effect: decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 3},
		},
		"Down": {
			reason: "The canary shrinks without further conditions.",
			objs:   []client.Object{deployment(), canarySet(2)},
			effect: decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 1},
			want:   []string{`patch web-` + v2 + ` {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"replicas":1}}`},
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

// TestRecordMovedOn: nothing is written on a record that is not the newest.
func TestRecordMovedOn(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	objs := []client.Object{
		rollout(), deployment(), owned(stableHash, "v1", 4), owned("6b5c4d8f9", "v0", 0), canarySet(2), service(), slice("web", ""), twin(),
	}
	pass := Pass{
		Rollout: rollout(func(r *v1alpha1.Rollout) {
			r.ResourceVersion = "6"
			r.Spec.Traffic.OtherCallers = v1alpha1.OtherCallersShared
		}),
		Services: []string{"web"},
		Routes:   routesAre(usersOwn),
	}
	cases := map[string]struct{ effect decide.Effect }{
		"Label":         {effect: decide.Effect{Kind: decide.EffectLabel}},
		"Unpause":       {effect: decide.Effect{Kind: decide.EffectUnpause, Revision: v2, Size: -1}},
		"Pin":           {effect: decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: stableHash}},
		"EnsureBackend": {effect: decide.Effect{Kind: decide.EffectEnsureBackend, Name: "web-canary", Revision: v2}},
		"DeleteBackend": {effect: decide.Effect{Kind: decide.EffectDeleteBackend, Name: "web-canary"}},
		"CreateCanary":  {effect: decide.Effect{Kind: decide.EffectCreateCanary, Revision: v2, Size: 1}},
		"ScaleCanary":   {effect: decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 3, Raise: true}},
		"Shrink":        {effect: decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 1}},
		"DeleteCanary":  {effect: decide.Effect{Kind: decide.EffectDeleteCanary, Name: "web-" + v2}},
		"DeleteTwin":    {effect: decide.Effect{Kind: decide.EffectDeleteTwin, Name: "web-6b5c4d8f9"}},
		"SealCanary":    {effect: decide.Effect{Kind: decide.EffectSealCanary, Name: "web-" + v2}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, api := newTestClient(t, objs...)
			w := record(api)
			c.writer = w
			err := c.Apply(t.Context(), pass, tc.effect)
			if !errors.Is(err, ErrPrecondition) || len(w.requests) > 0 {
				t.Errorf("%s on an old record: error %v, writes %v", tc.effect.Kind, err, w.requests)
			}
		})
	}
}

// TestConfirmOrder: whatever happens after the read of the object that is to be
// written makes the write fail, be it to the object or to the record.
func TestConfirmOrder(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	r := rollout(func(r *v1alpha1.Rollout) { r.Spec.Traffic.OtherCallers = v1alpha1.OtherCallersShared })
	c, api := newTestClient(t, r, deployment(), owned(stableHash, "v1", 4), canarySet(2))
	if err := api.Get(t.Context(), client.ObjectKeyFromObject(r), r); err != nil {
		t.Fatal(err)
	}
	var order []string
	c.live = interceptor.NewClient(api, interceptor.Funcs{
		Get: func(ctx context.Context, api client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			switch obj.(type) {
			case *appsv1.ReplicaSet:
				order = append(order, "read set")
			case *metav1.PartialObjectMetadata:
				order = append(order, "read Rollout")
			}
			return api.Get(ctx, key, obj, opts...)
		},
	})
	c.writer = interceptor.NewClient(api, interceptor.Funcs{
		Patch: func(ctx context.Context, api client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			order = append(order, "write set")
			return api.Patch(ctx, obj, patch, opts...)
		},
	})
	effect := decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Size: 3, Raise: true}
	if err := c.Apply(t.Context(), Pass{Rollout: r}, effect); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"read set", "read Rollout", "write set"}, order); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
}
