package cli

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestHistoryRows(t *testing.T) {
	at := func(minutes int) *metav1.Time {
		return &metav1.Time{Time: noon.Add(time.Duration(minutes) * time.Minute)}
	}
	cases := map[string]struct {
		reason string
		entry  v1alpha1.HistoryEntry
		want   []string
	}{
		"Promoted": {
			reason: "a release says when it ended, how long it took and who let it through",
			entry: v1alpha1.HistoryEntry{
				Number: 7, Revision: "w7", Result: v1alpha1.ResultPromoted, StartTime: at(-90), EndTime: at(-30), Approvers: []string{"alice", "bob"},
			},
			want: []string{"7", "w7", "Promoted", "30m ago", "60m", "alice, bob", ""},
		},
		"NoTimes": {
			reason: "times that are not known stay empty",
			entry:  v1alpha1.HistoryEntry{Number: 1, Revision: "w1", Result: v1alpha1.ResultRolledBack, Message: "errors"},
			want:   []string{"1", "w1", "RolledBack", "", "", "", "errors"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := historyRows([]v1alpha1.HistoryEntry{tc.entry}, noon)
			if diff := cmp.Diff([][]string{tc.want}, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
