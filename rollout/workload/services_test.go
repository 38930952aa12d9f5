package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestServiceEffects(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	pin := decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: stableHash}
	widen := decide.Effect{Kind: decide.EffectWiden, Name: "web"}
	ensure := decide.Effect{Kind: decide.EffectEnsureBackend, Name: "web-canary", Revision: v2}
	remove := decide.Effect{Kind: decide.EffectDeleteBackend, Name: "web-canary"}
	stamped := func(seq string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Annotations = map[string]string{v1alpha1.SeqAnnotation: seq} }
	}
	pinPatch := `{"metadata":{"annotations":{"weir.dev/seq":"10"},"labels":{"weir.dev/pin":"7d9f8c5b4","weir.dev/rollout":"web"},` +
		`"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":"7d9f8c5b4"}}}`
	cases := map[string]effectCase{
		"Pin": {
			reason: "The one active set is stable: its endpoints stay.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4), service()}, effect: pin,
			want: []string{"patch web " + pinPatch},
		},
		"PinAgain": {
			reason: "A pin that is there is not written.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 4), service(pinned(stableHash))}, effect: pin,
		},
		"PinLost": {
			reason: "Where no policy keeps the pin, a plain apply takes it out of the selector.",
			objs: []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(1), service(pinned(stableHash), stamped("9"), func(s *corev1.Service) {
				delete(s.Spec.Selector, HashLabel)
			})},
			effect: pin,
			want: []string{
				`patch web {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":"7d9f8c5b4"}}}`,
			},
		},
		"PinTwoActive": {
			reason: "With two active sets a pin would take endpoints away.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 3), owned("6b5c4d8f9", "v0", 1), service()}, effect: pin, err: ErrPrecondition,
		},
		"PinNotActive": {
			reason: "The active set is not the one to pin to.",
			objs:   []client.Object{deployment(), owned("6b5c4d8f9", "v0", 4), service()}, effect: pin, err: ErrPrecondition,
		},
		"PinOther": {
			reason: "A Service that does not select the workload is left alone.",
			objs: []client.Object{deployment(), owned(stableHash, "v1", 4), service(func(s *corev1.Service) {
				s.Spec.Selector = map[string]string{"app": "cart"}
			})},
			effect: pin, err: ErrPrecondition,
		},
		"Widen": {
			reason:  "While adopting the Service takes in both versions, and nothing of Weir's stays on it.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Status.Release.Stage = v1alpha1.StageAdopting }),
			objs:    []client.Object{deployment(), canarySet(4), service(pinned(stableHash), stamped("9"))}, effect: widen,
			want: []string{`patch web {"metadata":{"annotations":null,"labels":null,"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":null}}}`},
		},
		"WidenWide": {
			reason: "A Service that is wide is not written.",
			objs:   []client.Object{deployment(), service()}, effect: widen,
		},
		"WidenWithCanary": {
			reason: "Before the canary has passed, a wide Service would take its pods in.",
			objs:   []client.Object{deployment(), canarySet(1), service(pinned(stableHash))}, effect: widen, err: ErrPrecondition,
		},
		"Ensure": {
			reason: "The twin is made with a selector that matches nothing until the canary is there.",
			objs:   []client.Object{service()}, routes: &usersOwn, effect: ensure,
			want: []string{"create web-canary"},
		},
		"EnsureStamps": {
			reason: "A twin that is there is stamped, so that a late deletion fails.",
			objs:   []client.Object{service(), twin()}, routes: &split, effect: ensure,
			want: []string{`patch web-canary {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"}}`},
		},
		"EnsureMoves": {
			reason: "The twin of an earlier canary moves to this one while no traffic goes to it.",
			objs:   []client.Object{service(), twin(func(s *corev1.Service) { s.Spec.Selector[HashLabel] = "w000000000" })},
			routes: &usersOwn, effect: ensure,
			want: []string{`patch web-canary {"metadata":{"annotations":{"weir.dev/seq":"10"},"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":"` + v2 + `"}}}`},
		},
		"EnsureServing": {
			reason: "It does not jump from one set to another under traffic.",
			objs:   []client.Object{service(), twin(func(s *corev1.Service) { s.Spec.Selector[HashLabel] = "w000000000" })},
			routes: &split, effect: ensure, err: ErrPrecondition,
		},
		"EnsureTaken": {
			reason: "A Service of somebody else's is not taken over.",
			objs:   []client.Object{service(), service(func(s *corev1.Service) { s.Name = "web-canary" })},
			routes: &usersOwn, effect: ensure, err: ErrPrecondition,
		},
		"EnsureFenced": {
			reason: "A newer stamp stays.",
			objs:   []client.Object{service(), twin(stamped("11"))}, routes: &usersOwn, effect: ensure, err: ErrFenced,
		},
		"Delete": {
			reason: "The twin goes when no route refers to it.",
			objs:   []client.Object{twin()}, routes: &usersOwn, effect: remove,
			want: []string{"delete web-canary Background"},
		},
		"DeleteReferred": {
			reason: "A route with a backend that is missing fails requests.",
			objs:   []client.Object{twin()}, routes: &zero, effect: remove, err: ErrPrecondition,
		},
		"DeleteGone": {
			reason: "A twin that is gone is deleted.",
			routes: &usersOwn, effect: remove,
		},
		"DeleteTaken": {
			reason: "A Service of somebody else's is not deleted.",
			objs:   []client.Object{service(func(s *corev1.Service) { s.Name = "web-canary" })}, routes: &usersOwn, effect: remove, err: ErrPrecondition,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

// TestTwinObject: what the canary's Service looks like.
func TestTwinObject(t *testing.T) {
	distribution := "PreferSameZone"
	protocol := "kubernetes.io/h2c"
	user := service(func(s *corev1.Service) {
		s.Labels = map[string]string{"monitored": "true", "app.kubernetes.io/instance": "shop", "kustomize.toolkit.fluxcd.io/name": "shop"}
		s.Annotations = map[string]string{"argocd.argoproj.io/tracking-id": "shop"}
		s.Spec.Type = corev1.ServiceTypeLoadBalancer
		s.Spec.Ports[0].AppProtocol = &protocol
		s.Spec.TrafficDistribution = &distribution
		s.Spec.ClusterIP = corev1.ClusterIPNone
	})
	got := newBackend(user, rollout(), "web-canary", "w123456789")
	want := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "web-canary",
			Labels: map[string]string{
				"monitored": "true", v1alpha1.ManagedLabel: "web", v1alpha1.RolloutLabel: "web", v1alpha1.PinLabel: "w123456789",
			},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "target-uid"}},
		},
		Spec: corev1.ServiceSpec{
			ClusterIP:           corev1.ClusterIPNone,
			Selector:            map[string]string{"app": "web", HashLabel: "w123456789"},
			Ports:               []corev1.ServicePort{{Name: "http", Port: 80, AppProtocol: &protocol}},
			TrafficDistribution: &distribution,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the twin (-want +got):\n%s", diff)
	}
	if _, leaked := user.Spec.Selector[HashLabel]; leaked || user.Spec.Ports[0].NodePort != 30080 {
		t.Error("the user's Service must not change with its twin")
	}
}
