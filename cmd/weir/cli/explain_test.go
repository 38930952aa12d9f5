package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

// rolloutIn makes a Rollout in a state; change may add to it.
func rolloutIn(reason, message string, change func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	ready, stalled := metav1.ConditionUnknown, metav1.ConditionFalse
	switch reason {
	case v1alpha1.ReasonStable:
		ready = metav1.ConditionTrue
	case v1alpha1.ReasonRolledBack, v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonWorkloadNotFound:
		ready, stalled = metav1.ConditionFalse, metav1.ConditionTrue
	}
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 3},
		Spec:       v1alpha1.RolloutSpec{WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"}},
		Status: v1alpha1.RolloutStatus{
			ObservedGeneration: 3,
			Conditions: []metav1.Condition{
				{Type: v1alpha1.ConditionReady, Status: ready, Reason: reason, Message: message},
				{Type: v1alpha1.ConditionStalled, Status: stalled, Reason: reason},
			},
		},
	}
	if change != nil {
		change(r)
	}
	return r
}

func waitingForApproval(r *v1alpha1.Rollout) {
	r.Status.Release = v1alpha1.ReleaseStatus{
		Number: 4, Stage: v1alpha1.StageProgressing, Position: "3/5",
		Gates: []v1alpha1.GateStatus{
			{Type: v1alpha1.GateAnalysis, State: v1alpha1.GatePassed, Message: "Pass"},
			{
				Type: v1alpha1.GateApproval, Name: "sre-leads", State: v1alpha1.GateWaiting, Message: "1 of 2 approvals",
				Deadline: &metav1.Time{Time: noon.Add(7 * time.Hour)},
			},
		},
	}
	r.Status.Exposure = v1alpha1.ExposureStatus{Desired: "25%", Configured: "25%", Accepted: "25%", Measured: "24.8%", MeasuredRequests: 8120}
	r.Status.WaitingFor = "approval sre-leads 1/2"
}

func TestExplain(t *testing.T) {
	cases := map[string]struct {
		reason  string
		rollout *v1alpha1.Rollout
		want    []string
		not     []string
	}{
		"Stable": {
			reason: "a stable Rollout waits for a template, and shows nothing of the release before",
			rollout: rolloutIn(v1alpha1.ReasonStable, "Revision w1 serves.", func(r *v1alpha1.Rollout) {
				r.Status.Release.Stage = v1alpha1.StageIdle
				r.Status.Analysis.Metrics = []v1alpha1.MetricStatus{{Name: "errors", Verdict: v1alpha1.VerdictPass}}
			}),
			want: []string{"shop/web is Stable.", "A new template of Deployment web starts a release."},
			not:  []string{"share of the traffic", "Gates", "errors"},
		},
		"Approval": {
			reason:  "a gate names the command that opens it, how to see whether one may, and the time left",
			rollout: rolloutIn(v1alpha1.ReasonWaitingForApproval, "Two approvals are needed.", waitingForApproval),
			want: []string{
				"at step 3/5", "allowed 25%", "measured 24.8% of 8120 requests",
				"kubectl weir approve web sre-leads", "kubectl auth can-i approve rollouts/web --subresource=sre-leads", "7h left",
				"kubectl weir abort web",
			},
		},
		"RolledBack": {
			reason: "after a rollback the ways out are named",
			rollout: rolloutIn(v1alpha1.ReasonRolledBack, "Errors.", func(r *v1alpha1.Rollout) {
				r.Status.Release.Stage = v1alpha1.StageAborted
				r.Status.Analysis.Metrics = []v1alpha1.MetricStatus{{Name: "errors", Verdict: v1alpha1.VerdictFail, Canary: "8/160", Message: "5% of requests failed"}}
			}),
			want: []string{"errors: Fail, 5% of requests failed (canary 8/160)", "abort web -n shop --revert", "retry web"},
			not:  []string{"share of the traffic"},
		},
		"Invalid": {
			reason:  "an invalid spec says that nothing is touched",
			rollout: rolloutIn(v1alpha1.ReasonInvalidSpec, "spec.traffic: no.", nil),
			want:    []string{"spec.traffic: no.", "touches nothing that runs"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := explain(tc.rollout, noon)
			text := e.text()
			for _, want := range tc.want {
				if !strings.Contains(text, want) {
					t.Errorf("%s: the explanation lacks %q:\n%s", tc.reason, want, text)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(text, not) {
					t.Errorf("%s: the explanation has %q:\n%s", tc.reason, not, text)
				}
			}
		})
	}
}

func TestOutcomeOf(t *testing.T) {
	cases := map[string]struct {
		reason  string
		rollout *v1alpha1.Rollout
		want    outcome
	}{
		"Done":    {"a stable Rollout is done", rolloutIn(v1alpha1.ReasonStable, "", nil), outcomeDone},
		"Failed":  {"a stalled Rollout has failed", rolloutIn(v1alpha1.ReasonRolledBack, "", nil), outcomeFailed},
		"Waiting": {"a release under way is waited for", rolloutIn(v1alpha1.ReasonReleasing, "", nil), outcomeWaiting},
		"Behind": {"a status that does not answer the newest spec says nothing", rolloutIn(v1alpha1.ReasonStable, "", func(r *v1alpha1.Rollout) {
			r.Generation++
		}), outcomeWaiting},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, outcomeOf(tc.rollout)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestApplicable(t *testing.T) {
	withGate := func(r *v1alpha1.Rollout) {
		waitingForApproval(r)
		r.Spec.Steps = []v1alpha1.Step{{Gates: &v1alpha1.Gates{Approvals: []v1alpha1.ApprovalGate{{Name: "sre-leads"}}}}}
	}
	stage := func(stage v1alpha1.Stage) func(*v1alpha1.Rollout) {
		return func(r *v1alpha1.Rollout) { r.Status.Release.Stage = stage }
	}
	cases := map[string]struct {
		reason string
		change func(*v1alpha1.Rollout)
		action v1alpha1.ApprovalAction
		gate   string
		want   string
	}{
		"Approve":          {"a gate that is there can be approved", withGate, v1alpha1.ActionApprove, "sre-leads", ""},
		"ApproveUnknown":   {"a gate that is not there is named", withGate, v1alpha1.ActionApprove, "sre", `no approval gate named "sre": its gates are sre-leads`},
		"AbortIdle":        {"there is nothing to abort", stage(v1alpha1.StageIdle), v1alpha1.ActionAbort, "", "no release under way"},
		"AbortAdopting":    {"after the handover only a new template takes it back", stage(v1alpha1.StageAdopting), v1alpha1.ActionAbort, "", "put the old template"},
		"Retry":            {"what was rolled back can be tried again", stage(v1alpha1.StageAborted), v1alpha1.ActionRetry, "", ""},
		"RetryRollingBack": {"but not while it is being rolled back", stage(v1alpha1.StageRollingBack), v1alpha1.ActionRetry, "", "still being rolled back"},
		"RetryStable":      {"and not when nothing was", stage(v1alpha1.StageIdle), v1alpha1.ActionRetry, "", "nothing to retry"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := applicable(rolloutIn(v1alpha1.ReasonReleasing, "", tc.change), tc.action, tc.gate)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: want an error with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
