package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/decide"
)

// TestTrouble: what keeps a canary from running is told in the words of
// Kubernetes.
func TestTrouble(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		prepare func(*testing.T, *world)
		edit    func(*corev1.PodSpec)
		want    func(decide.Set) bool
	}{
		"Quota": {
			reason: "A quota with room for stable and one more.",
			prepare: func(t *testing.T, w *world) {
				must(t, w.admin.Create(t.Context(), &corev1.ResourceQuota{
					ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "pods"},
					Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("3")}},
				}))
				harness.Eventually(t, patience, "the quota to be counted", func(ctx context.Context) error {
					quota := &corev1.ResourceQuota{}
					must(t, w.admin.Get(ctx, w.key("pods"), quota))
					if used := quota.Status.Used[corev1.ResourcePods]; used.Value() != 2 {
						return fmt.Errorf("used %s", used.String())
					}
					return nil
				})
			},
			want: func(s decide.Set) bool {
				return s.Size == 2 && s.Available == 1 && strings.HasPrefix(s.Obstacle, "FailedCreate: ") && strings.Contains(s.Obstacle, "exceeded quota")
			},
		},
		"NoNode": {
			reason: "A node that does not exist.",
			edit:   func(spec *corev1.PodSpec) { spec.NodeSelector = map[string]string{"disk": "gold"} },
			want: func(s decide.Set) bool {
				return s.Pods == 2 && s.Available == 0 && strings.HasPrefix(s.Obstacle, "Unschedulable: ")
			},
		},
		"CrashLoop": {
			reason: "A process that exits at once, on a node that runs it.",
			edit: func(spec *corev1.PodSpec) {
				spec.NodeSelector, spec.Tolerations = nil, nil
				spec.Containers[0].Command = []string{"sh", "-c", "exit 3"}
			},
			want: func(s decide.Set) bool {
				return s.Crash != nil && s.Crash.Reason == "CrashLoopBackOff" && s.Crash.Container == "web" && s.Crash.Message == "exit code 3"
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sandbox, 2)
			if tc.prepare != nil {
				tc.prepare(t, w)
			}
			must(t, harness.Edit(t.Context(), w.admin, w.deployment(t), func(d *appsv1.Deployment) {
				d.Spec.Template.Spec.Containers[0].Image = "weir.dev/shop:v2"
				if tc.edit != nil {
					tc.edit(&d.Spec.Template.Spec)
				}
			}))
			revision := w.startCanary(t, 2)
			harness.Eventually(t, patience, tc.reason, func(context.Context) error {
				if set := w.canary(t, revision); !tc.want(set) {
					return fmt.Errorf("set %+v, crash %+v", set, set.Crash)
				}
				return nil
			})
		})
	}
}

// TestRevertTemplate: when a Rollout goes in the middle of a release, its
// Deployment gets the template of stable back and restarts no pod.
func TestRevertTemplate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 3)
	stable := w.rollout.Status.Stable.Revision
	pods := w.pods.of(t, stable, 3)
	before := w.deployment(t).Spec.Template
	w.push(t, "v2")
	revision := w.startRelease(t, 1)
	w.refused(t, decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stable}, "the Rollout is not being deleted")

	must(t, w.admin.Get(t.Context(), client.ObjectKeyFromObject(w.rollout), w.rollout))
	w.rollout.Finalizers = []string{v1alpha1.Finalizer}
	must(t, w.admin.Update(t.Context(), w.rollout))
	must(t, w.admin.Delete(t.Context(), w.rollout))
	w.record(t, func(status *v1alpha1.RolloutStatus) { status.Release.Stage = v1alpha1.StageRollingBack })
	w.apply(t, decide.Effect{Kind: decide.EffectDeleteCanary, Name: w.canary(t, revision).Name})
	w.pods.of(t, revision, 0)
	w.apply(t, decide.Effect{Kind: decide.EffectRevertTemplate, Revision: stable})
	w.apply(t, decide.Effect{Kind: decide.EffectUnlabel})
	w.awaitComplete(t, 3)
	d := w.deployment(t)
	if d.Spec.Paused || d.Spec.Template.Spec.Containers[0].Image != before.Spec.Containers[0].Image || d.Spec.Template.Labels["pod-template-hash"] != "" {
		t.Errorf("the Deployment must be as before: paused %t, template %+v", d.Spec.Paused, d.Spec.Template)
	}
	if kept := w.pods.survivors(pods); len(kept) != 3 {
		t.Errorf("of stable's pods %v only %v are left", pods, kept)
	}
	w.rollout.Finalizers = nil
	must(t, w.admin.Update(t.Context(), w.rollout))
}

// TestAdopter: a Deployment whose selector only excludes is found, and the
// canary that it would adopt is not made.
func TestAdopter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	odd := w.newDeployment("v1", 1)
	odd.Name = "odd"
	odd.Spec.Template.Labels = map[string]string{"name": "odd"}
	odd.Spec.Selector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: "app", Operator: metav1.LabelSelectorOpDoesNotExist},
	}}
	must(t, w.admin.Create(t.Context(), odd))
	w.push(t, "v2")
	// What is remembered of the namespace is from before the odd Deployment.
	w.workload = w.newWorkload()
	facts := w.observe(t)
	problem := slices.IndexFunc(facts.Problems, func(p decide.Problem) bool {
		return p.Reason == v1alpha1.ReasonUnsupported && strings.Contains(p.Message, `"odd"`)
	})
	if problem < 0 {
		t.Errorf("problems %+v", facts.Problems)
	}
	revision := facts.Target.Revision
	w.record(t, func(status *v1alpha1.RolloutStatus) { status.Canary.Revision = revision })
	w.apply(t, decide.Effect{Kind: decide.EffectPin, Name: "web", Revision: w.rollout.Status.Stable.Revision})
	harness.Eventually(t, patience, "the pin to be seen", func(context.Context) error {
		if b := w.observe(t).Backends[0]; b.Seen != w.rollout.Status.Stable.Revision {
			return fmt.Errorf("backend %+v", b)
		}
		return nil
	})
	w.refused(t, decide.Effect{Kind: decide.EffectCreateCanary, Revision: revision, Size: 1}, "Deployment odd would adopt it")

	// That it would: the Deployment's controller takes in a set with such labels.
	set := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "bait", Labels: map[string]string{v1alpha1.ManagedLabel: "web"}},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32),
			Selector: &metav1.LabelSelector{MatchLabels: labels.Set{"bait": "1"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels.Set{"bait": "1"}},
				Spec:       odd.Spec.Template.Spec,
			},
		},
	}
	must(t, w.admin.Create(t.Context(), set))
	harness.Eventually(t, patience, "the bait to be taken", func(ctx context.Context) error {
		must(t, w.admin.Get(ctx, w.key("bait"), set))
		if metav1.GetControllerOf(set) == nil {
			return fmt.Errorf("owners %v", set.OwnerReferences)
		}
		return nil
	})
}
