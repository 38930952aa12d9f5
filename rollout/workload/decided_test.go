package workload

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// countingMutex guards the counts: some reads are made at the same time.
var countingMutex sync.Mutex

// counting counts the reads by kind.
type counting struct {
	client.Reader
	reads map[string]int
}

func (c counting) count(kind string) {
	countingMutex.Lock()
	defer countingMutex.Unlock()
	c.reads[kind]++
}

func (c counting) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	kind := "Deployment"
	switch obj.(type) {
	case *appsv1.ReplicaSet:
		kind = "ReplicaSet"
	case *metav1.PartialObjectMetadata:
		kind = "Rollout"
	}
	c.count(kind)
	return c.Reader.Get(ctx, key, obj, opts...)
}

func (c counting) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.count("list")
	return c.Reader.List(ctx, list, opts...)
}

// TestDecidedOn: what an effect reads again of what its decision rests on.
func TestDecidedOn(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	grow := decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Revision: v2, Size: 4, Raise: true}
	shrink := decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Revision: v2, Size: 1}
	pause := decide.Effect{Kind: decide.EffectPause, Revision: v2}
	begin := decide.Effect{Kind: decide.EffectBeginHandOver, Revision: v2, Size: 2}
	edit := func(t *testing.T, api client.Client, obj client.Object, change func()) {
		t.Helper()
		if err := api.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
			t.Fatal(err)
		}
		change()
		if err := api.Update(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		reason string
		effect decide.Effect
		// age of what was read and of the record, when the effect is performed.
		read, recorded time.Duration
		noRecord       bool
		meanwhile      func(t *testing.T, api client.Client)
		want           map[string]int
		err            func(error) bool
	}{
		"Recorded": {
			reason: "Right after the record nothing is read again: the write itself is on condition.",
			effect: shrink, want: map[string]int{},
		},
		"Raise": {
			reason: "But before a raise, for the Rollout may be deleted and the template another.",
			effect: grow, want: map[string]int{"Rollout": 1, "Deployment": 1},
		},
		"RaiseOfDeleted": {
			reason: "A Rollout that was deleted after the record gets no more pods.",
			effect: grow, want: map[string]int{"Rollout": 1, "Deployment": 1},
			meanwhile: func(t *testing.T, api client.Client) {
				r := rollout()
				edit(t, api, r, func() { r.Finalizers = []string{v1alpha1.Finalizer} })
				if err := api.Delete(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			},
			err: func(err error) bool { return errors.Is(err, ErrPrecondition) },
		},
		"NotRecorded": {
			reason: "Without a record the Rollout is confirmed.",
			effect: shrink, noRecord: true, want: map[string]int{"Rollout": 1},
		},
		"OldRecord": {
			reason: "A process that was stopped after its record confirms it.",
			effect: shrink, recorded: 2 * recordAge, want: map[string]int{"Rollout": 1},
		},
		"OldRead": {
			reason: "What was read too long ago is read again, and the record came before that.",
			effect: shrink, read: 2 * decidedAge, want: map[string]int{"ReplicaSet": 1, "Rollout": 1},
		},
		"HandOver": {
			reason: "The handover cannot be taken back: it reads anew what it hands over.",
			effect: begin, want: map[string]int{"Deployment": 1, "ReplicaSet": 2, "Rollout": 1},
			meanwhile: func(t *testing.T, api client.Client) {
				d := deployment()
				edit(t, api, d, func() { d.Spec.Replicas = new(int32(2)) })
			},
		},
		"HandOverScaled": {
			reason: "So it sees a size that does not fit any more.",
			effect: begin, want: map[string]int{"Deployment": 1, "ReplicaSet": 2},
			meanwhile: func(t *testing.T, api client.Client) {
				d := deployment()
				edit(t, api, d, func() { d.Spec.Replicas = new(int32(3)) })
			},
			err: func(err error) bool { return errors.Is(err, ErrPrecondition) },
		},
		"HandOverReplaced": {
			reason: "And a set of the same name that is another one.",
			effect: begin, want: map[string]int{"Deployment": 1, "ReplicaSet": 2},
			meanwhile: func(t *testing.T, api client.Client) {
				if err := api.Delete(t.Context(), canarySet(2)); err != nil {
					t.Fatal(err)
				}
				if err := api.Create(t.Context(), canarySet(2, func(rs *appsv1.ReplicaSet) { rs.UID = "other" })); err != nil {
					t.Fatal(err)
				}
			},
			err: func(err error) bool { return errors.Is(err, ErrPrecondition) },
		},
		"Changed": {
			reason: "An object that was changed since the decision is not written.",
			effect: shrink, want: map[string]int{},
			meanwhile: func(t *testing.T, api client.Client) {
				rs := canarySet(2)
				edit(t, api, rs, func() { rs.Annotations[v1alpha1.SeqAnnotation] = "9" })
			},
			err: apierrors.IsConflict,
		},
		"TargetChanged": {
			reason: "Be it the workload.",
			effect: pause, want: map[string]int{},
			meanwhile: func(t *testing.T, api client.Client) {
				d := deployment()
				edit(t, api, d, func() { d.Spec.Template = podTemplate("v3") })
			},
			err: apierrors.IsConflict,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, canary := deployment(func(d *appsv1.Deployment) { d.Spec.Paused = tc.effect.Kind != decide.EffectPause }), canarySet(2)
			objs := append(podsOf(canary, 2), rollout(), d, owned(stableHash, "v1", 2), canary)
			c, api := newTestClient(t, objs...)
			r := &v1alpha1.Rollout{}
			if err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web"}, r); err != nil {
				t.Fatal(err)
			}
			facts, err := c.Observe(t.Context(), r, nil, true)
			if err != nil {
				t.Fatal(err)
			}
			if tc.meanwhile != nil {
				tc.meanwhile(t, api)
			}
			reads := map[string]int{}
			c.live = counting{c.live, reads}
			c.now = func() time.Time { return epoch.Add(max(tc.read, tc.recorded)) }
			pass := Pass{Rollout: r, Facts: &facts, Recorded: epoch.Add(max(tc.read, tc.recorded) - tc.recorded)}
			if tc.noRecord {
				pass.Recorded = time.Time{}
			}
			err = c.Apply(t.Context(), pass, tc.effect)
			if tc.err == nil && err != nil || tc.err != nil && !tc.err(err) {
				t.Errorf("%s: got error %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, reads); diff != "" {
				t.Errorf("%s reads (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestDecidedOnOtherTemplate: a raise needs the canary's template also when it is
// the record that confirms it.
func TestDecidedOnOtherTemplate(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	d := deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") })
	c, _ := newTestClient(t, rollout(), d, owned(stableHash, "v1", 2), canarySet(2))
	facts, err := c.Observe(t.Context(), rollout(), nil, true)
	if err != nil {
		t.Fatal(err)
	}
	pass := Pass{Rollout: rollout(), Facts: &facts, Recorded: epoch}
	err = c.Apply(t.Context(), pass, decide.Effect{Kind: decide.EffectScaleCanary, Name: "web-" + v2, Revision: v2, Size: 4, Raise: true})
	if !errors.Is(err, ErrPrecondition) {
		t.Errorf("got error %v", err)
	}
}
