package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestForget(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	going := func(rs *appsv1.ReplicaSet) {
		rs.DeletionTimestamp = &metav1.Time{Time: epoch}
		rs.Finalizers = []string{metav1.FinalizerDeleteDependents}
	}
	of := func(rollout string) func(*appsv1.ReplicaSet) {
		return func(rs *appsv1.ReplicaSet) { rs.Labels[v1alpha1.ManagedLabel] = rollout }
	}
	cases := map[string]struct {
		reason string
		objs   []client.Object
		want   []string
		// going says that the caller has to come back.
		going bool
	}{
		"Set": {
			reason: "The canary's pods go first: a wide Service would take them in.",
			objs:   []client.Object{canarySet(2), service(pinned(stableHash)), twin()},
			want:   []string{"delete web-" + v2 + " Foreground"},
			going:  true,
		},
		"SetIsGoing": {
			reason: "Its pods may still be there.",
			objs:   []client.Object{canarySet(2, going), service(pinned(stableHash))},
			going:  true,
		},
		"EmptySet": {
			reason: "The end of a set without pods is no event: it is looked for.",
			objs:   []client.Object{canarySet(0), service(pinned(stableHash))},
			want:   []string{"delete web-" + v2 + " Foreground"},
			going:  true,
		},
		"Services": {
			reason: "Then the Service is the user's again, and the canary's goes.",
			objs:   []client.Object{service(pinned(stableHash)), twin()},
			want: []string{
				`patch web {"metadata":{"labels":null,"resourceVersion":"999"},"spec":{"selector":{"pod-template-hash":null}}}`,
				"delete web-canary Background",
			},
		},
		"Adopted": {
			reason: "What the workload has adopted is its own.",
			objs:   []client.Object{owned(v2, "v2", 4, of("web")), service()},
		},
		"OfOthers": {
			reason: "What another Rollout has made is no business of this one.",
			objs:   []client.Object{canarySet(2, of("cart"))},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, api := newTestClient(t, tc.objs...)
			w := record(api)
			c.writer = w
			if done, err := c.Forget(t.Context(), namespace, "web"); err != nil || done == tc.going {
				t.Errorf("%s Got done %t, %v", tc.reason, done, err)
			}
			if diff := cmp.Diff(tc.want, w.requests); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
