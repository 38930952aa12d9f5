package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestWarnings(t *testing.T) {
	budget := func(app string, least intstr.IntOrString) client.Object {
		return &policyv1.PodDisruptionBudget{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "budget"},
			Spec: policyv1.PodDisruptionBudgetSpec{
				MinAvailable: &least, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}},
			},
		}
	}
	cases := map[string]struct {
		reason string
		objs   []client.Object
		want   []string
	}{
		"Integer": {
			reason: "A whole number counts the canary's pods too.",
			objs:   []client.Object{deployment(), budget("web", intstr.FromInt32(3))},
			want: []string{
				`PodDisruptionBudget "budget" has spec.minAvailable 3: while canary pods run, it allows as many more evictions: use a percentage, or maxUnavailable`,
			},
		},
		"Percentage": {
			reason: "A percentage grows with the pods.",
			objs:   []client.Object{deployment(), budget("web", intstr.FromString("75%"))},
		},
		"OfOthers": {
			reason: "A budget of other pods is no concern.",
			objs:   []client.Object{deployment(), budget("cart", intstr.FromInt32(3))},
		},
		"NoWorkload": {
			reason: "Without a workload there is nothing to warn of.",
			objs:   []client.Object{budget("web", intstr.FromInt32(3))},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, _ := newTestClient(t, tc.objs...)
			facts, err := c.Observe(t.Context(), rollout(), nil, true)
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Warnings(t.Context(), rollout(), facts)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
