package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestTargetEffects(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	labelled := func(name string) func(*appsv1.Deployment) {
		return func(d *appsv1.Deployment) { d.Labels = map[string]string{v1alpha1.RolloutLabel: name} }
	}
	running := func(d *appsv1.Deployment) { d.Spec.Paused = false }
	deleting := func(r *v1alpha1.Rollout) {
		r.DeletionTimestamp = &metav1.Time{Time: epoch}
		r.Finalizers = []string{v1alpha1.Finalizer}
	}
	cases := map[string]effectCase{
		"Label": {
			reason: "The label makes the hold policy know the workload.",
			objs:   []client.Object{deployment()}, effect: decide.Effect{Kind: decide.EffectLabel},
			want: []string{`patch web {"metadata":{"labels":{"weir.dev/rollout":"web"},"resourceVersion":"999"}}`},
		},
		"LabelThere": {
			reason: "A label that is there is not written.",
			objs:   []client.Object{deployment(labelled("web"))}, effect: decide.Effect{Kind: decide.EffectLabel},
		},
		"LabelOfOther": {
			reason: "Another Rollout's workload is not taken over.",
			objs:   []client.Object{deployment(labelled("other"))}, effect: decide.Effect{Kind: decide.EffectLabel}, err: ErrPrecondition,
		},
		"Unlabel": {
			reason: "The label goes with the Rollout.",
			objs:   []client.Object{deployment(labelled("web"))}, effect: decide.Effect{Kind: decide.EffectUnlabel},
			want: []string{`patch web {"metadata":{"labels":null,"resourceVersion":"999"}}`},
		},
		"UnlabelOther": {
			reason: "Another Rollout's label stays.",
			objs:   []client.Object{deployment(labelled("other"))}, effect: decide.Effect{Kind: decide.EffectUnlabel},
		},
		"Pause": {
			reason: "Between releases, where no policy holds.",
			objs:   []client.Object{deployment(running)}, effect: decide.Effect{Kind: decide.EffectPause, Revision: v2},
			want: []string{`patch web {"metadata":{"resourceVersion":"999"},"spec":{"paused":true}}`},
		},
		"PauseOtherTemplate": {
			reason: "A template that was changed in between rolls already: that is for the decision.",
			objs:   []client.Object{deployment(running)}, effect: decide.Effect{Kind: decide.EffectPause, Revision: stableHash}, err: ErrPrecondition,
		},
		"Unpause": {
			reason: "The workload rolls to the template that was named.",
			objs:   []client.Object{deployment()}, effect: decide.Effect{Kind: decide.EffectUnpause, Revision: v2, Size: -1},
			want: []string{`patch web {"metadata":{"resourceVersion":"999"},"spec":{"paused":null}}`},
		},
		"UnpauseOtherTemplate": {
			reason: "No other template is ever released by an unpause.",
			objs:   []client.Object{deployment()}, effect: decide.Effect{Kind: decide.EffectUnpause, Revision: stableHash, Size: -1}, err: ErrPrecondition,
		},
		"UnpauseScaled": {
			reason: "A workload scaled up from zero since is not unpaused as an empty one.",
			objs:   []client.Object{deployment()}, effect: decide.Effect{Kind: decide.EffectUnpause, Revision: v2, Size: 0}, err: ErrPrecondition,
		},
		"UnpauseGone": {
			reason: "A workload that is gone is not unpaused.",
			effect: decide.Effect{Kind: decide.EffectUnpause, Revision: v2, Size: -1}, err: ErrPrecondition,
		},
		"Revert": {
			reason:  "The stable template comes back and rolls, in one write.",
			rollout: rollout(deleting),
			objs:    []client.Object{deployment(), owned(stableHash, "v1", 4)},
			effect:  decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stableHash},
			want:    []string{"update web"},
		},
		"RevertThere": {
			reason:  "A workload that has the template is only unpaused.",
			rollout: rollout(deleting),
			objs: []client.Object{
				deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") }), owned(stableHash, "v1", 4),
			},
			effect: decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stableHash},
			want:   []string{`patch web {"metadata":{"resourceVersion":"999"},"spec":{"paused":null}}`},
		},
		"RevertNotDeleting": {
			reason: "Only the end of a Rollout changes the user's template.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4)},
			effect: decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stableHash}, err: ErrPrecondition,
		},
		"RevertToNothing": {
			reason:  "Without the stable set its template is not known.",
			rollout: rollout(deleting),
			objs:    []client.Object{deployment()},
			effect:  decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stableHash}, err: ErrPrecondition,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

// TestRevertedTemplate: the template that is written back is stable's, with
// every field and without the hash.
func TestRevertedTemplate(t *testing.T) {
	r := rollout(func(r *v1alpha1.Rollout) {
		r.DeletionTimestamp = &metav1.Time{Time: epoch}
		r.Finalizers = []string{v1alpha1.Finalizer}
	})
	c, api := newTestClient(t, r, deployment(), owned(stableHash, "v1", 4))
	if err := c.Apply(t.Context(), Pass{Rollout: r}, decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stableHash}); err != nil {
		t.Fatal(err)
	}
	got := &appsv1.Deployment{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web"}, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(podTemplate("v1"), got.Spec.Template); diff != "" || got.Spec.Paused {
		t.Errorf("paused %t, template (-want +got):\n%s", got.Spec.Paused, diff)
	}
}
