package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestCreateCanary(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	create := decide.Effect{Kind: decide.EffectCreateCanary, Revision: v2, Size: 1}
	ready := []client.Object{owned(stableHash, "v1", 4), service(pinned(stableHash)), slice("web", stableHash)}
	cases := map[string]effectCase{
		"Create": {
			reason: "The canary is made when no caller beside the routes can meet it.",
			objs:   append(ready, deployment()), routes: &usersOwn, effect: create,
			want: []string{"create web-" + v2},
		},
		"Again": {
			reason: "A canary that is there was made by an earlier attempt.",
			objs:   append(ready, deployment(), canarySet(1)), routes: &usersOwn, effect: create,
			want: []string{"create web-" + v2},
		},
		"Taken": {
			reason: "A set of somebody else's with that name is not the canary.",
			objs: append(ready, deployment(), canarySet(1, func(rs *appsv1.ReplicaSet) {
				rs.Labels = map[string]string{"app": "cart"}
			})),
			routes: &usersOwn, effect: create,
			want: []string{"create web-" + v2}, err: ErrPrecondition,
		},
		"Wide": {
			reason: "A wide Service would select the canary's pods.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4), service(), slice("web", "")},
			routes: &usersOwn, effect: create, err: ErrPrecondition,
		},
		"Twin": {
			reason: "The workload's controller would prefer an older set with the same template.",
			objs:   append(ready, deployment(), owned("6b5c4d8f9", "v2", 0)),
			routes: &usersOwn, effect: create, err: ErrPrecondition,
		},
		"OtherTemplate": {
			reason: "The template was changed since.",
			objs:   append(ready, deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") })),
			routes: &usersOwn, effect: create, err: ErrPrecondition,
		},
		"Adopter": {
			reason: "A Deployment whose selector only excludes would adopt the canary at once.",
			objs: append(ready, deployment(), deployment(func(d *appsv1.Deployment) {
				d.Name, d.UID = "odd", "odd"
				d.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist},
				}}
			})),
			routes: &usersOwn, effect: create, err: ErrPrecondition,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

// TestCanaryObject: what the canary's set looks like.
func TestCanaryObject(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	d := deployment(func(d *appsv1.Deployment) {
		d.Spec.MinReadySeconds = 7
		d.Annotations = map[string]string{revisionAnnotation: "7"} // of a set that is gone
		d.Spec.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "app", Operator: metav1.LabelSelectorOpExists}}
	})
	old := owned("6b5c4d8f9", "v0", 0, func(rs *appsv1.ReplicaSet) { rs.Annotations = map[string]string{revisionAnnotation: "4"} })
	c, api := newTestClient(t, rollout(), d, owned(stableHash, "v1", 4), old, service(pinned(stableHash)), slice("web", stableHash))
	r := &v1alpha1.Rollout{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web"}, r); err != nil {
		t.Fatal(err)
	}
	pass := Pass{Rollout: r, Services: []string{"web"}, Routes: routesAre(usersOwn)}
	if err := c.Apply(t.Context(), pass, decide.Effect{Kind: decide.EffectCreateCanary, Revision: v2, Size: 2}); err != nil {
		t.Fatal(err)
	}
	got := &appsv1.ReplicaSet{}
	if err := api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "web-" + v2}, got); err != nil {
		t.Fatal(err)
	}
	n := int32(2)
	labels := map[string]string{"app": "web", HashLabel: v2}
	tmpl := podTemplate("v2")
	tmpl.Labels = labels
	want := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "web-" + v2, ResourceVersion: "1",
			Labels:          map[string]string{v1alpha1.ManagedLabel: "web", HashLabel: v2},
			Annotations:     map[string]string{revisionAnnotation: "5", v1alpha1.SeqAnnotation: "10"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "target-uid"}},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &n, MinReadySeconds: 7, Template: tmpl,
			Selector: &metav1.LabelSelector{MatchLabels: labels, MatchExpressions: d.Spec.Selector.MatchExpressions},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the canary's set (-want +got):\n%s", diff)
	}
}

func TestDeleteAndSeal(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	remove := decide.Effect{Kind: decide.EffectDeleteCanary, Name: "web-" + v2}
	seal := decide.Effect{Kind: decide.EffectSealCanary, Name: "web-" + v2}
	twinEffect := decide.Effect{Kind: decide.EffectDeleteTwin, Name: "web-6b5c4d8f9"}
	empty := owned("6b5c4d8f9", "v2", 0)
	notAccepted := providers.Observation{Split: true}
	later := revisionOf(podTemplate("v3"))
	release3 := rollout(func(r *v1alpha1.Rollout) { r.Status.Canary.Revision = later })
	narrowTo := func(hash string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.Selector[HashLabel] = hash }
	}
	cases := map[string]effectCase{
		"Delete": {
			reason: "The canary goes when the routes send it nothing; in the foreground, so that its pods are seen to go.",
			objs:   []client.Object{canarySet(2)}, routes: &zero, effect: remove,
			want: []string{"delete web-" + v2 + " Foreground"},
		},
		"DeleteNative": {
			reason: "Without routes its pods are its share: they may go.",
			objs:   []client.Object{canarySet(2)}, effect: remove,
			want: []string{"delete web-" + v2 + " Foreground"},
		},
		"DeleteGone": {
			reason: "A set that is gone is deleted.",
			routes: &zero, effect: remove,
		},
		"DeleteTwice": {
			reason: "A set that is being deleted is not deleted again.",
			objs: []client.Object{canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.DeletionTimestamp = &metav1.Time{Time: epoch}
				rs.Finalizers = []string{metav1.FinalizerDeleteDependents}
			})},
			routes: &zero, effect: remove,
		},
		"DeleteServing": {
			reason: "Pods that still get traffic stay.",
			objs:   []client.Object{canarySet(2)}, routes: &split, effect: remove, err: ErrPrecondition,
		},
		"DeleteStray": {
			reason: "The traffic of the release under way does not keep a set that was made too late.",
			objs:   []client.Object{canarySet(2), twin(narrowTo(later))}, routes: &split, effect: remove, rollout: release3,
			want: []string{"delete web-" + v2 + " Foreground"},
		},
		"DeleteStrayServing": {
			reason: "The canary's Service has not changed hands yet.",
			objs:   []client.Object{canarySet(2), twin()}, routes: &split, effect: remove, rollout: release3, err: ErrPrecondition,
		},
		"DeleteNotAccepted": {
			reason: "A weight of 0 that the data plane has not taken is not in force.",
			objs:   []client.Object{canarySet(2)}, routes: &notAccepted, effect: remove, err: ErrPrecondition,
		},
		"DeleteAdopted": {
			reason: "A set of the workload's own is not Weir's to delete.",
			objs:   []client.Object{owned(v2, "v2", 4)}, routes: &zero, effect: remove, err: ErrPrecondition,
		},
		"DeleteOfOther": {
			reason: "Nor is the canary of another Rollout.",
			objs: []client.Object{canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.Labels[v1alpha1.ManagedLabel] = "other"
			})},
			routes: &zero, effect: remove, err: ErrPrecondition,
		},
		"Seal": {
			reason: "A seal changes the stamp alone.",
			objs:   []client.Object{canarySet(2)}, effect: seal,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"}}`},
		},
		"SealFenced": {
			reason: "A newer stamp stays.",
			objs: []client.Object{canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.Annotations[v1alpha1.SeqAnnotation] = "11"
			})},
			effect: seal, err: ErrFenced,
		},
		"Twin": {
			reason: "An empty set of history is deleted.",
			objs:   []client.Object{deployment(), empty}, effect: twinEffect,
			want: []string{"delete web-6b5c4d8f9 Background"},
		},
		"TwinWithPods": {
			reason: "A set is not empty while a pod of it is on its way out.",
			objs:   append([]client.Object{deployment(), empty}, podsOf(empty, 1)...), effect: twinEffect, err: ErrPrecondition,
		},
		"TwinNotObserved": {
			reason: "A set whose controller has not acted on its size yet may still have pods.",
			objs: []client.Object{deployment(), owned("6b5c4d8f9", "v2", 0, func(rs *appsv1.ReplicaSet) {
				rs.Generation = 2
			})},
			effect: twinEffect, err: ErrPrecondition,
		},
		"TwinInUse": {
			reason: "A set with a size is in use.",
			objs:   []client.Object{deployment(), owned("6b5c4d8f9", "v2", 1)}, effect: twinEffect, err: ErrPrecondition,
		},
		"TwinOfWeir": {
			reason: "An empty canary is no twin.",
			objs:   []client.Object{deployment(), canarySet(0)},
			effect: decide.Effect{Kind: decide.EffectDeleteTwin, Name: "web-" + v2}, err: ErrPrecondition,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}
