package workload

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// shown is the preview Service of a Rollout, narrowed to a revision or wide, as Weir
// makes it.
func shown(revision string, edit ...func(*corev1.Service)) *corev1.Service {
	s := newPreview([]*corev1.Service{service()}, rollout(), "web-preview")
	narrow(s, revision)
	s.Annotations = map[string]string{v1alpha1.SeqAnnotation: "6"}
	for _, e := range edit {
		e(s)
	}
	return s
}

func TestPreviewEffects(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	show := decide.Effect{Kind: decide.EffectShowPreview, Name: "web-preview"}
	canary, stable := show, show
	canary.Revision, stable.Revision = v2, stableHash
	remove := decide.Effect{Kind: decide.EffectDeletePreview, Name: "web-preview"}
	foreign := service(func(s *corev1.Service) { s.Name = "web-preview" })
	newer := func(s *corev1.Service) { s.Annotations[v1alpha1.SeqAnnotation] = "11" }
	cases := map[string]effectCase{
		"Make": {
			reason: "A preview is made beside the user's Service.",
			objs:   []client.Object{service()}, effect: show, want: []string{"create web-preview"},
		},
		"MakeWithoutService": {
			reason: "Without a Service of the user's nobody knows its ports.",
			effect: show, err: ErrPrecondition,
		},
		"Narrow": {
			reason: "The policy keeps the selector by the label.",
			objs:   []client.Object{service(), shown("")}, effect: canary,
			want: []string{`patch web-preview {"metadata":{"annotations":{"weir.dev/seq":"10"},"labels":{"weir.dev/pin":"` + v2 +
				`"},"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":"` + v2 + `"}}}`},
		},
		"Turn": {
			reason: "A preview turns from the canary also when the user's Service is gone.",
			objs:   []client.Object{shown(v2)}, effect: stable,
			want: []string{`patch web-preview {"metadata":{"annotations":{"weir.dev/seq":"10"},"labels":{"weir.dev/pin":"` + stableHash +
				`"},"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":"` + stableHash + `"}}}`},
		},
		"Widen": {
			reason: "At rest it selects what the workload runs, though the user's Service is narrowed.",
			objs:   []client.Object{service(pinned(stableHash)), shown(v2)}, effect: show,
			want: []string{`patch web-preview {"metadata":{"annotations":{"weir.dev/seq":"10"},"labels":{"weir.dev/pin":null},"resourceVersion":"999"},` +
				`"spec":{"selector":{"pod-template-hash":null}}}`},
		},
		"Taken": {
			reason: "A Service of somebody else's is not taken over.",
			objs:   []client.Object{service(), foreign}, effect: show, err: ErrPrecondition,
		},
		"Fenced": {
			reason: "A newer stamp stays.",
			objs:   []client.Object{service(), shown("", newer)}, effect: canary, err: ErrFenced,
		},
		"Delete":      {reason: "Nobody asks for it any more.", objs: []client.Object{shown("")}, effect: remove, want: []string{"delete web-preview Background"}},
		"DeleteGone":  {reason: "One that is gone is deleted.", effect: remove},
		"DeleteTaken": {reason: "A Service of somebody else's is not deleted.", objs: []client.Object{foreign}, effect: remove, err: ErrPrecondition},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

// TestPreviewFacts: what is known of the preview, and what is wrong with its name.
func TestPreviewFacts(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	named := func(recorded, wanted string) *v1alpha1.Rollout {
		return rollout(func(r *v1alpha1.Rollout) {
			r.Status.Traffic.PreviewService, r.Spec.Traffic.PreviewServiceName = recorded, wanted
		})
	}
	canary := canarySet(2)
	pods := podsOf(canary, 2)
	base := append([]client.Object{deployment(), owned(stableHash, "v1", 4), canary, service()}, pods...)
	cases := map[string]struct {
		reason  string
		rollout *v1alpha1.Rollout
		objs    []client.Object
		want    *decide.Backend
		problem bool
		idle    bool
	}{
		"None":    {reason: "Nobody asks for one.", rollout: named("", "")},
		"Wanted":  {reason: "It is not made yet.", rollout: named("", "web-preview"), want: &decide.Backend{Name: "web-preview"}},
		"Left":    {reason: "One of an earlier Rollout of that name has a stamp to outrun.", rollout: named("", "web-preview"), objs: []client.Object{shown("")}, want: &decide.Backend{Name: "web-preview", Exists: true, Stamp: 6}},
		"Renamed": {reason: "The former one is still to go.", rollout: named("web-preview", "web-look"), objs: []client.Object{shown("")}, want: &decide.Backend{Name: "web-preview", Exists: true, Stamp: 6}},
		"Stray": {
			reason: "One that nobody asks for was made late.", rollout: named("", ""), objs: []client.Object{shown("")},
			want: &decide.Backend{Name: "web-preview", Exists: true, Stamp: 6}, idle: true,
		},
		"Canary": {
			reason: "It has endpoints of the canary.", rollout: named("web-preview", "web-preview"),
			objs: []client.Object{shown(v2), slice("web-preview", v2, pods...)},
			want: &decide.Backend{Name: "web-preview", Exists: true, Revision: v2, Seen: v2, ReadyCanary: 2, Stamp: 6},
		},
		"Taken": {
			reason: "A Service of somebody else's has the name.", rollout: named("", "theirs"), problem: true,
			objs: []client.Object{service(func(s *corev1.Service) { s.Name = "theirs" })}, want: &decide.Backend{Name: "theirs"},
		},
		"Replaced": {
			reason: "Somebody has put another Service in its place.", rollout: named("web-preview", "web-preview"), problem: true,
			objs: []client.Object{service(func(s *corev1.Service) { s.Name = "web-preview" })}, want: &decide.Backend{Name: "web-preview"},
		},
		"StableName": {reason: "The user's Service has the name.", rollout: named("", "web"), problem: true, want: &decide.Backend{Name: "web"}},
		"CanaryName": {reason: "The canary's Service will have the name.", rollout: named("", "web-canary"), problem: true, want: &decide.Backend{Name: "web-canary"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _ := newTestClient(t, append(slices.Clone(base), tc.objs...)...)
			if tc.idle {
				tc.rollout.Status.Release.Stage = v1alpha1.StageIdle
			}
			facts, err := c.Observe(t.Context(), tc.rollout, []string{"web"}, true)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, facts.Preview); diff != "" {
				t.Errorf("%s: the preview (-want +got):\n%s", tc.reason, diff)
			}
			problem := slices.ContainsFunc(facts.Problems, func(p decide.Problem) bool {
				return p.Field == "spec.traffic.previewServiceName" && p.Reason == v1alpha1.ReasonInvalidSpec
			})
			if problem != tc.problem {
				t.Errorf("%s: the problems are %+v", tc.reason, facts.Problems)
			}
		})
	}
}

// TestPreviewObject: a preview has the ports of all Services, and none of their labels.
func TestPreviewObject(t *testing.T) {
	web := service(func(s *corev1.Service) { s.Labels = map[string]string{"monitored": "true"} })
	grpc := service(func(s *corev1.Service) {
		s.Name = "web-grpc"
		s.Spec.Ports = []corev1.ServicePort{
			{Port: 9000, NodePort: 30090}, {Name: "other", Port: 80, Protocol: web.Spec.Ports[0].Protocol}, {Name: "http", Port: 8081},
		}
	})
	got := newPreview([]*corev1.Service{web, grpc}, rollout(), "web-preview")
	want := metav1.ObjectMeta{
		Namespace: namespace, Name: "web-preview", Labels: map[string]string{v1alpha1.ManagedLabel: "web", v1alpha1.RolloutLabel: "web"},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "weir.dev/v1alpha1", Kind: "Rollout", Name: "web", UID: rollout().UID}},
	}
	if diff := cmp.Diff(want, got.ObjectMeta); diff != "" {
		t.Errorf("metadata (-want +got):\n%s", diff)
	}
	ports := []corev1.ServicePort{{Name: "http", Port: 80}, {Name: "port-9000", Port: 9000}}
	if diff := cmp.Diff(ports, got.Spec.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
}

// TestNarrowWithoutSelector: a preview whose selector somebody took away is narrowed as
// any other.
func TestNarrowWithoutSelector(t *testing.T) {
	t.Parallel()
	service := &corev1.Service{}
	narrow(service, "wb")
	if got := service.Spec.Selector[HashLabel]; got != "wb" {
		t.Errorf("selects revision %q", got)
	}
}
