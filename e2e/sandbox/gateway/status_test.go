package gateway

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestMergeParents(t *testing.T) {
	long := metav1.NewTime(epoch())
	one := parent()
	two := parent(func(p *gwv1.ParentReference) { p.SectionName = ptr.To(gwv1.SectionName("two")) })
	ours := func(ref gwv1.ParentReference, conditions ...metav1.Condition) gwv1.RouteParentStatus {
		return gwv1.RouteParentStatus{ParentRef: ref, ControllerName: ControllerName, Conditions: conditions}
	}
	theirs := gwv1.RouteParentStatus{
		ParentRef: one, ControllerName: "example.com/other",
		Conditions: []metav1.Condition{{Type: "Accepted", Status: "False", Reason: "Own", LastTransitionTime: long}},
	}
	yes := func(generation int64) metav1.Condition {
		return condition(gwv1.RouteConditionAccepted, true, gwv1.RouteReasonAccepted, "m", generation)
	}
	no := condition(gwv1.RouteConditionAccepted, false, gwv1.RouteReasonNoMatchingParent, "m", 2)
	at := func(c metav1.Condition, when metav1.Time) metav1.Condition {
		c.LastTransitionTime = when
		return c
	}
	cases := map[string]struct {
		reason string
		have   []gwv1.RouteParentStatus
		want   []parentStatus
		merged []gwv1.RouteParentStatus
	}{
		"Theirs": {
			reason: "the parents of other controllers stay as they are, also of the same Gateway",
			have:   []gwv1.RouteParentStatus{theirs},
			merged: []gwv1.RouteParentStatus{theirs},
		},
		"Same": {
			reason: "a condition that has not changed keeps its time, though it is of a new generation",
			have:   []gwv1.RouteParentStatus{ours(one, at(yes(1), long))},
			want:   []parentStatus{{one, []metav1.Condition{yes(2)}}},
			merged: []gwv1.RouteParentStatus{ours(one, at(yes(2), long))},
		},
		"Changed": {
			reason: "a condition that has changed gets a time",
			have:   []gwv1.RouteParentStatus{theirs, ours(one, at(yes(1), long))},
			want:   []parentStatus{{one, []metav1.Condition{no}}},
			merged: []gwv1.RouteParentStatus{theirs, ours(one, at(no, metav1.Now()))},
		},
		"Gone": {
			reason: "a parent that the route has no more goes, a new one comes",
			have:   []gwv1.RouteParentStatus{ours(one, at(yes(1), long))},
			want:   []parentStatus{{two, []metav1.Condition{yes(2)}}},
			merged: []gwv1.RouteParentStatus{ours(two, at(yes(2), metav1.Now()))},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := mergeParents(ControllerName, tc.have, tc.want)
			// New times are those of now, to the minute.
			sameTime := cmp.Comparer(func(a, b metav1.Time) bool { return a.Sub(b.Time).Abs() < time.Minute })
			if diff := cmp.Diff(tc.merged, got, sameTime); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
