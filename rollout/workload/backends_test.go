package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// twin is the canary's Service of Service web, as Weir makes it.
func twin(edit ...func(*corev1.Service)) *corev1.Service {
	s := newBackend(service(), rollout(), "web-canary", revisionOf(podTemplate("v2")))
	s.Annotations = map[string]string{v1alpha1.SeqAnnotation: "6"}
	for _, e := range edit {
		e(s)
	}
	return s
}

func TestBackends(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	stable, canary := owned(stableHash, "v1", 4), canarySet(2)
	stablePods, canaryPods := podsOf(stable, 4), podsOf(canary, 2)
	sets := append(append([]client.Object{deployment(), stable, canary}, stablePods...), canaryPods...)
	absent := decide.Backend{Name: "web-canary", Canary: true}
	foreign := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "batch-0", UID: "batch-0", Labels: map[string]string{"app": "batch"},
	}}
	cases := map[string]struct {
		reason   string
		rollout  *v1alpha1.Rollout
		objs     []client.Object
		want     []decide.Backend
		problems []string
	}{
		"Wide": {
			reason:  "A wide Service has endpoints of both versions.",
			rollout: rollout(),
			objs:    []client.Object{service(), slice("web", "", append(stablePods, canaryPods...)...)},
			want:    []decide.Backend{{Name: "web", Exists: true, ReadyCanary: 2}, absent},
		},
		"PinNotSeen": {
			reason:  "A pin is not acted on before the slices show it.",
			rollout: rollout(),
			objs:    []client.Object{service(pinned(stableHash)), slice("web", "", stablePods...)},
			want:    []decide.Backend{{Name: "web", Exists: true, Revision: stableHash}, absent},
		},
		"Split": {
			reason:  "A narrowed Service and the canary's twin.",
			rollout: rollout(),
			objs: []client.Object{
				service(pinned(stableHash)), slice("web", stableHash, stablePods...), twin(), slice("web-canary", v2, canaryPods...),
			},
			want: []decide.Backend{
				{Name: "web", Exists: true, Revision: stableHash, Seen: stableHash},
				{Name: "web-canary", Canary: true, Exists: true, Revision: v2, Seen: v2, ReadyCanary: 2, Stamp: 6},
			},
		},
		"Off": {
			reason:  "A Service that a person has widened is wide, label or not.",
			rollout: rollout(),
			objs: []client.Object{
				service(func(s *corev1.Service) { s.Labels = map[string]string{v1alpha1.PinLabel: v1alpha1.PinOff} }),
				slice("web", v1alpha1.PinOff, stablePods...),
			},
			want: []decide.Backend{{Name: "web", Exists: true}, absent},
		},
		"NotOurs": {
			reason:  "A Service behind the routes that selects other pods is not split.",
			rollout: rollout(),
			objs: []client.Object{
				service(func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "cart"} }),
			},
			problems: []string{"spec.traffic.routeRefs"},
		},
		"NoSelector": {
			reason:   "A Service without a selector selects nothing.",
			rollout:  rollout(),
			objs:     []client.Object{service(func(s *corev1.Service) { s.Spec.Selector = nil })},
			problems: []string{"spec.traffic.routeRefs"},
		},
		"LeftNarrowed": {
			reason: "A Service that a release has narrowed is to be widened, whatever it selects now.",
			rollout: rollout(func(r *v1alpha1.Rollout) {
				r.Spec.Traffic.ServiceRefs = []v1alpha1.ServiceReference{{Name: "web"}}
			}),
			objs: []client.Object{
				service(pinned(stableHash), func(s *corev1.Service) { s.Spec.Selector["app"] = "cart" }), slice("web", stableHash),
			},
			want: []decide.Backend{{Name: "web", Exists: true, Revision: stableHash, Seen: stableHash}, absent},
		},
		"WrongServiceRef": {
			reason: "A name in serviceRefs that is no backend is told, with the field.",
			rollout: rollout(func(r *v1alpha1.Rollout) {
				r.Spec.Traffic.ServiceRefs = []v1alpha1.ServiceReference{{Name: "wbe"}}
			}),
			objs:     []client.Object{service()},
			problems: []string{"spec.traffic.serviceRefs"},
		},
		"Taken": {
			reason:   "A Service of the user's that has the twin's name is not taken over.",
			rollout:  rollout(),
			objs:     []client.Object{service(), service(func(s *corev1.Service) { s.Name = "web-canary" })},
			want:     []decide.Backend{{Name: "web", Exists: true}, absent},
			problems: []string{"spec.traffic.routeRefs"},
		},
		"Strangers": {
			reason:   "A Service that also selects pods of others would lose them.",
			rollout:  rollout(),
			objs:     []client.Object{foreign, service(), slice("web", "", append(stablePods, foreign)...)},
			want:     []decide.Backend{{Name: "web", Exists: true}, absent},
			problems: []string{"spec.traffic.otherCallers"},
		},
		"StrangersGone": {
			reason:  "An endpoint whose pod is gone already is not a stranger.",
			rollout: rollout(),
			objs:    []client.Object{service(), slice("web", "", append(stablePods, foreign)...)},
			want:    []decide.Backend{{Name: "web", Exists: true}, absent},
		},
		"StrangersShared": {
			reason:  "A Service that is not narrowed loses nobody.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Spec.Traffic.OtherCallers = v1alpha1.OtherCallersShared }),
			objs:    []client.Object{foreign, service(), slice("web", "", append(stablePods, foreign)...)},
			want:    []decide.Backend{{Name: "web", Exists: true}, absent},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			facts := observe(t, tc.rollout, append(tc.objs, sets...)...)
			if diff := cmp.Diff(tc.want, facts.Backends); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			var fields []string
			for _, p := range facts.Problems {
				fields = append(fields, p.Field)
			}
			if diff := cmp.Diff(tc.problems, fields); diff != "" {
				t.Errorf("%s\nfields of the problems (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestTargetGone: the Services of a workload that is gone are still widened.
func TestTargetGone(t *testing.T) {
	facts := observe(t, rollout(), service(pinned(stableHash)), twin())
	want := []decide.Backend{
		{Name: "web", Exists: true, Revision: stableHash},
		{Name: "web-canary", Canary: true, Exists: true, Revision: revisionOf(podTemplate("v2")), Stamp: 6},
	}
	if diff := cmp.Diff(want, facts.Backends); diff != "" {
		t.Errorf("what a release has left must be found (-want +got):\n%s", diff)
	}
}

func TestProblems(t *testing.T) {
	native := rollout(func(r *v1alpha1.Rollout) { r.Spec.Traffic = nil; r.Status.Traffic = v1alpha1.TrafficStatus{} })
	claimed := func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Volumes = []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
		}}}
	}
	claim := func(modes ...corev1.PersistentVolumeAccessMode) client.Object {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "data"},
			Spec:       corev1.PersistentVolumeClaimSpec{AccessModes: modes},
		}
	}
	cases := map[string]struct {
		reason string
		objs   []client.Object
		want   []decide.Problem
	}{
		"None": {
			reason: "A plain Deployment has no problem.",
			objs:   []client.Object{deployment()},
		},
		"Missing": {
			reason: "A workload that does not exist is named.",
			want: []decide.Problem{{
				Reason: v1alpha1.ReasonWorkloadNotFound, Field: "spec.workloadRef.name",
				Message: `Deployment "web" does not exist in this namespace: create it, or delete this Rollout`,
			}},
		},
		"Recreate": {
			reason: "Recreate allows no two versions at a time.",
			objs:   []client.Object{deployment(func(d *appsv1.Deployment) { d.Spec.Strategy.Type = appsv1.RecreateDeploymentStrategyType })},
			want: []decide.Problem{{
				Reason: v1alpha1.ReasonUnsupported, Field: "spec.workloadRef",
				Message: `Deployment "web" has spec.strategy.type Recreate, which allows no two versions at a time: set it to RollingUpdate`,
			}},
		},
		"NoHistory": {
			reason: "Without history, stable is lost when it is scaled to zero.",
			objs:   []client.Object{deployment(func(d *appsv1.Deployment) { d.Spec.RevisionHistoryLimit = new(int32) })},
			want: []decide.Problem{{
				Reason: v1alpha1.ReasonUnsupported, Field: "spec.workloadRef",
				Message: `Deployment "web" has spec.revisionHistoryLimit 0, by which the stable version is lost when it is scaled to zero during a release: set it to 1 or more`,
			}},
		},
		"OneNodeVolume": {
			reason: "A volume for one node keeps the canary waiting for stable.",
			objs:   []client.Object{deployment(claimed), claim(corev1.ReadWriteOnce)},
			want: []decide.Problem{{
				Reason: v1alpha1.ReasonUnsupported, Field: "spec.workloadRef",
				Message: `Deployment "web" mounts PersistentVolumeClaim "data", whose access mode [ReadWriteOnce] lets one node mount it: a canary needs ReadWriteMany or ReadOnlyMany`,
			}},
		},
		"SharedVolume": {
			reason: "A volume for many nodes is no problem.",
			objs:   []client.Object{deployment(claimed), claim(corev1.ReadWriteMany)},
		},
		"MissingVolume": {
			reason: "A claim that does not exist is for the pods to tell.",
			objs:   []client.Object{deployment(claimed)},
		},
		"Adopter": {
			reason: "A selector that only excludes would adopt the canary's set, whosever it is.",
			objs: []client.Object{deployment(), deployment(func(d *appsv1.Deployment) {
				d.Name, d.UID = "odd", "odd"
				d.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: "app", Operator: metav1.LabelSelectorOpNotIn, Values: []string{"db"}},
				}}
			})},
			want: []decide.Problem{{
				Reason: v1alpha1.ReasonUnsupported, Field: "spec.workloadRef",
				Message: `the selector of Deployment "odd" asks for no label and would take in the canary's ReplicaSet: give it a label to ask for`,
			}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, observe(t, native, tc.objs...).Problems); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
