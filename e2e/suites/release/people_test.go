package release

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// grantGate lets the group sre-leads answer a gate of the shop.
func (s *scene) grantGate(gate string) {
	s.t.Helper()
	meta := metav1.ObjectMeta{Namespace: s.Namespace, Name: gate}
	must(s.t, s.Admin.Create(s.t.Context(), &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"weir.dev"}, Resources: []string{"rollouts/" + gate}, ResourceNames: []string{stage.Name}, Verbs: []string{"approve"}},
		{APIGroups: []string{"weir.dev"}, Resources: []string{"approvals"}, Verbs: []string{"create"}},
		{APIGroups: []string{"weir.dev"}, Resources: []string{"rollouts"}, Verbs: []string{"get"}},
	}}))
	must(s.t, s.Admin.Create(s.t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: meta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: gate},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "sre-leads"}},
	}))
}

func TestApproval(t *testing.T) {
	t.Parallel()
	step := stage.Hold(50, "1s")
	step.Gates.Approvals = []v1alpha1.ApprovalGate{{Name: "sre-leads", MinApprovals: 2}}
	s := open(t, "approval", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{step, stage.Hold(100, "1s")}})
	s.grantGate("sre-leads")
	s.release("v2", nil)
	r := s.await("the question", stage.InState(v1alpha1.ReasonWaitingForApproval))
	s.stateIs(r, kstatus.InProgressStatus)
	if want := "approval sre-leads 0/2"; r.Status.WaitingFor != want {
		t.Errorf("waiting for %q, not %q", r.Status.WaitingFor, want)
	}
	if out := s.cli(0, harness.Admin, "why", stage.Name); !strings.Contains(out, "kubectl weir approve shop sre-leads") {
		t.Errorf("why does not name the command:\n%s", out)
	}
	// Who answers may read no more than Rollouts, and is told what there is to know.
	if out := s.cli(0, harness.Alice, "why", stage.Name); !strings.Contains(out, "kubectl weir approve shop sre-leads") {
		t.Errorf("why does not help an approver:\n%s", out)
	}
	if out := s.cli(1, harness.Carol, "approve", stage.Name, "sre-leads"); !strings.Contains(out, "verb approve on rollouts/sre-leads") {
		t.Errorf("the refusal does not name the verb:\n%s", out)
	}
	s.cli(0, harness.Alice, "approve", stage.Name, "sre-leads")
	s.cli(0, harness.Alice, "approve", stage.Name, "sre-leads") // twice is once
	s.await("the second question", func(r *v1alpha1.Rollout) bool { return r.Status.WaitingFor == "approval sre-leads 1/2" })
	s.cli(0, harness.Bob, "approve", stage.Name, "sre-leads")
	r = s.await("the promotion", stage.Promoted(1))
	if approvers := strings.Join(r.Status.History[0].Approvers, " "); !strings.Contains(approvers, "alice") || !strings.Contains(approvers, "bob") {
		t.Errorf("the history names %q as approvers", approvers)
	}
	s.noneFailed()

	s.release("v3", nil)
	s.await("the question of the next release", func(r *v1alpha1.Rollout) bool { return r.Status.WaitingFor == "approval sre-leads 0/2" })
	s.cli(0, harness.Bob, "reject", stage.Name, "sre-leads", "--reason", "not on a Friday")
	r = s.await("the rejection", stage.RolledBack(2))
	if !strings.Contains(r.Status.Release.Message, "not on a Friday") {
		t.Errorf("the status does not give the reason: %q", r.Status.Release.Message)
	}
	s.noneFailed()
}

// TestImpatientUser: what people do when a release takes too long ships nothing.
func TestImpatientUser(t *testing.T) {
	t.Parallel()
	s := open(t, "impatient", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(20)})
	s.release("v2", nil)
	s.await("the first step", stage.AtStep(0))
	stable := s.pods(s.await("stable", func(r *v1alpha1.Rollout) bool { return r.Status.Stable.Revision != "" }).Status.Stable.Revision)

	_, warnings, err := s.Kubectl(t.Context(), harness.GitOps, "", "rollout", "resume", "deployment/shop", "-n", s.Namespace)
	must(t, err)
	if !strings.Contains(warnings, "Warning") {
		t.Errorf("resume mid-release gives no warning: %q", warnings)
	}
	d, err := s.Deployment(t.Context())
	must(t, err)
	if !d.Spec.Paused {
		t.Fatal("a resume mid-release let the Deployment roll")
	}

	_, _, err = s.Kubectl(t.Context(), harness.GitOps, "", "rollout", "undo", "deployment/shop", "-n", s.Namespace)
	if err == nil {
		t.Error("kubectl undoes a paused Deployment, which it did not")
	}

	_, _, err = s.Kubectl(t.Context(), harness.GitOps, "", "rollout", "restart", "deployment/shop", "-n", s.Namespace)
	if err == nil { // a restart is a new template: the next release
		s.await("the restart as a release of its own", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	}
	s.survived(stable, s.await("stable", func(r *v1alpha1.Rollout) bool { return r.Status.Stable.Revision != "" }).Status.Stable.Revision)
	s.neverBeside("v2")
	s.noneFailed()

	s.cli(0, harness.Admin, "promote", stage.Name)
	s.await("the promotion", func(r *v1alpha1.Rollout) bool {
		return stage.State(r) == v1alpha1.ReasonStable && r.Status.History[0].Result == v1alpha1.ResultPromoted
	})
	s.atRest()

	_, _, err = s.Kubectl(t.Context(), harness.GitOps, "", "rollout", "undo", "deployment/shop", "-n", s.Namespace)
	must(t, err)
	s.await("the undo as a release of its own", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number > 1 && r.Status.Release.Stage == v1alpha1.StageProgressing
	})
	s.noneFailed()
}

// scale sets the replicas through the subresource, as an HPA does.
func (s *scene) scale(replicas int32) {
	s.t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name}}
	scale := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name},
		Spec:       autoscalingv1.ScaleSpec{Replicas: replicas},
	}
	must(s.t, s.Admin.SubResource("scale").Update(s.t.Context(), d, withBody(scale)))
}

func TestScaleMidRelease(t *testing.T) {
	t.Parallel()
	s := open(t, "scale", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{stage.Hold(50, "5s"), stage.Hold(100, "3s")}})
	s.release("v2", nil)
	r := s.await("the first step", stage.AtStep(0))
	canary := r.Status.Canary.Revision
	s.scale(8)
	s.await("the canary to follow", func(*v1alpha1.Rollout) bool { return len(s.pods(canary)) >= 4 })
	s.scale(6)
	// And again at the handover, where it hurts most.
	s.await("the handover", stage.InStage(v1alpha1.StageAdopting))
	s.scale(7)
	r = s.await("the promotion", stage.Promoted(1))
	must(t, s.AwaitDeployment(t.Context(), "seven pods", func(d *appsv1.Deployment) bool { return d.Status.AvailableReplicas == 7 && d.Status.Replicas == 7 }))
	if got := len(s.pods(r.Status.Stable.Revision)); got != 7 {
		t.Errorf("the promoted version has %d pods, not 7", got)
	}
	s.noneFailed()
}

func TestCrashLoop(t *testing.T) {
	t.Parallel()
	s := open(t, "crash", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(20), ProgressDeadline: "10m"})
	s.release("v2", map[string]string{"CRASH_AFTER": "1s"})
	began := time.Now()
	r := s.await("the rollback", stage.RolledBack(1))
	if took := time.Since(began); took > time.Minute {
		t.Errorf("a crash loop was rolled back after %s", took)
	}
	if !strings.Contains(r.Status.Release.Message, "crash") && !strings.Contains(r.Status.Release.Message, "restart") {
		t.Errorf("the status does not say that it crashes: %q", r.Status.Release.Message)
	}
	// The share of users that was sent to a version which crashes is failed by
	// it, or by the gateway in its place; nobody else is.
	gateway, beside := s.counts()
	if bad := gateway.Of("v1").Bad().Total(); bad > 0 {
		t.Errorf("stable failed %d requests", bad)
	}
	if bad := beside.Bad().Total(); bad > 0 {
		t.Errorf("%d requests beside the route failed", bad)
	}
	s.neverBeside("v2")
}

// TestBreakGlass: whoever takes the Deployment out of Weir's hands gets a native
// roll, with a controller that runs, and no request is lost by it.
func TestBreakGlass(t *testing.T) {
	t.Parallel()
	s := open(t, "glass", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(25)})
	s.release("v2", nil)
	s.await("the first step", stage.AtStep(0))
	for _, args := range [][]string{
		{"label", "deployment/shop", "weir.dev/rollout=off", "--overwrite"},
		{"label", "service/shop", "weir.dev/pin=off", "--overwrite"},
		{"patch", "service/shop", "-p", `{"spec":{"selector":{"pod-template-hash":null}}}`},
		{"rollout", "resume", "deployment/shop"},
	} {
		_, _, err := s.Kubectl(t.Context(), harness.GitOps, "", append(args, "-n", s.Namespace)...)
		must(t, err)
	}
	must(t, s.AwaitDeployment(t.Context(), "the native roll", func(d *appsv1.Deployment) bool {
		return !d.Spec.Paused && d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 4 && d.Status.Replicas == 4 && d.Status.AvailableReplicas == 4
	}))
	r := s.await("the Rollout to say that it is not in charge", stage.InState(v1alpha1.ReasonUnsupported))
	s.stateIs(r, kstatus.FailedStatus)
	if _, message := readiness(r); !strings.Contains(message, "weir.dev/rollout=off") {
		t.Errorf("the message does not name the label: %q", message)
	}
	harness.Eventually(t, timeout, "what Weir made to be gone", func(context.Context) error {
		out, _, err := s.Kubectl(t.Context(), harness.Admin, "", "get", "services,replicasets", "-n", s.Namespace, "-l", v1alpha1.ManagedLabel, "-o", "name")
		return errors.Join(err, errorUnless(out == "", "left: %s", out))
	})
	s.noneFailed()

	_, _, err := s.Kubectl(t.Context(), harness.GitOps, "", "label", "deployment/shop", "weir.dev/rollout-", "-n", s.Namespace)
	must(t, err)
	s.await("the Rollout to be in charge again", stage.InState(v1alpha1.ReasonStable))
	s.atRest()
	s.noneFailed()
}
