package release

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// steps of releases whose gates are time alone.
func timed() []v1alpha1.Step {
	return []v1alpha1.Step{stage.Hold(20, "2s"), stage.Hold(60, "2s"), stage.Hold(100, "2s")}
}

// waiting is a step that stays until somebody acts.
func waiting(weight int) []v1alpha1.Step {
	return []v1alpha1.Step{stage.Hold(weight, "1h"), stage.Hold(100, "1s")}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	s := open(t, "promote", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
	s.release("v2", nil)
	s.await("the first step", stage.AtStep(0))
	adopting := s.await("the handover", stage.InStage(v1alpha1.StageAdopting))
	canary := s.pods(adopting.Status.Canary.Revision)
	r := s.await("the promotion", stage.Promoted(1))
	if len(canary) != 4 {
		t.Errorf("the canary had %d pods before the handover, not 4", len(canary))
	}
	s.survived(canary, r.Status.Stable.Revision)
	s.atRest()
	out, _, err := s.Kubectl(t.Context(), harness.Admin, "", "rollout", "history", "deployment/shop", "-n", s.Namespace)
	must(t, err)
	if !strings.Contains(out, "\n2 ") {
		t.Errorf("the history has no revision 2:\n%s", out)
	}
	s.noneFailed()
}

// atRest checks that nothing of Weir's is left but the label.
func (s *scene) atRest() {
	s.t.Helper()
	d, err := s.Deployment(s.t.Context())
	must(s.t, err)
	if d.Spec.Paused != withoutMutatingPolicies {
		s.t.Errorf("paused at rest: %t", d.Spec.Paused)
	}
	if d.Status.UpdatedReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
		s.t.Errorf("the Deployment has %d pods, %d of them of its template, and wants %d", d.Status.Replicas, d.Status.UpdatedReplicas, *d.Spec.Replicas)
	}
	s.await("the finalizer to go", func(r *v1alpha1.Rollout) bool { return len(r.Finalizers) == 0 || withoutMutatingPolicies })
	s.plain()
}

// plain checks that Services and the route are as the user wrote them.
func (s *scene) plain() {
	s.t.Helper()
	out, _, err := s.Kubectl(s.t.Context(), harness.Admin, "", "get", "services", "-n", s.Namespace,
		"-o", `jsonpath={range .items[*]}{.metadata.name} {.spec.selector}{"\n"}{end}`)
	must(s.t, err)
	if want := `shop {"app":"shop"}` + "\n"; out != want {
		s.t.Errorf("Services at rest: want %q, got %q", want, out)
	}
	if s.gateway == nil {
		return
	}
	out, _, err = s.Kubectl(s.t.Context(), harness.Admin, "", "get", "httproute", stage.Name, "-n", s.Namespace,
		"-o", `jsonpath={.metadata.labels}{.metadata.annotations}|{range .spec.rules[*].backendRefs[*]}{.name}:{.weight} {end}`)
	must(s.t, err)
	marks, backends, _ := strings.Cut(out, "|")
	if want := "shop:1 "; backends != want || strings.Contains(marks, "weir.dev") {
		s.t.Errorf("the route at rest: want %q without marks, got %q with %q", want, backends, marks)
	}
}

func TestRollbackByMetric(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "metric", stage.ShopOptions{})
	analysis, err := s.ErrorsTemplate(t.Context())
	must(t, err)
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: stage.RouteRefs(), Analysis: analysis, Steps: []v1alpha1.Step{stage.Weight(25), stage.Weight(50), stage.Weight(100)},
	}))
	s.release("v2", map[string]string{"ERROR_RATE": "0.2"})
	r := s.await("the rollback", stage.RolledBack(1))
	s.stateIs(r, kstatus.FailedStatus)
	if r.Status.Analysis.Verdict != v1alpha1.VerdictFail || !strings.Contains(r.Status.Release.Message, "errors") {
		t.Errorf("the status does not say why: %q, %q", r.Status.Analysis.Verdict, r.Status.Release.Message)
	}
	if r.Status.Release.StepIndex != 0 {
		t.Errorf("the bad version got to step %s", r.Status.Release.Position)
	}
	out, code, err := s.CLI(t.Context(), harness.Admin, "status", stage.Name)
	must(t, err)
	if code != 3 {
		t.Errorf("status leaves with %d after a rollback, not 3: %s", code, out)
	}
	s.noneFailed("v2")
	s.neverBeside("v2")
	s.plain()

	t.Run("Fix", func(t *testing.T) {
		s := &scene{Shop: s.Shop, t: t, gateway: s.gateway, beside: s.beside}
		s.release("v3", nil)
		s.await("the promotion of the fix", stage.Promoted(2))
		s.atRest()
		s.noneFailed("v2")
	})
}

// stateIs checks how kstatus's own library, and so Flux and Helm, read a
// Rollout.
func (s *scene) stateIs(r *v1alpha1.Rollout, want kstatus.Status) {
	s.t.Helper()
	if got := kstatusOf(s.t, r); got != want {
		s.t.Errorf("kstatus reads %s as %s, not %s", stage.State(r), got, want)
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	s := open(t, "abort", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	s.release("v2", nil)
	r := s.await("the first step", stage.AtStep(0))
	s.stateIs(r, kstatus.InProgressStatus)
	s.cli(0, harness.Admin, "abort", stage.Name, "--reason", "looks odd")
	r = s.await("the abort", func(r *v1alpha1.Rollout) bool {
		return stage.State(r) == v1alpha1.ReasonRolledBack && r.Status.Release.Stage == v1alpha1.StageAborted
	})
	if r.Status.Release.Cause != v1alpha1.CauseUserAbort || !strings.Contains(r.Status.Release.LastCommand, "admin") {
		t.Errorf("the status does not say who aborted: cause %s, command %q", r.Status.Release.Cause, r.Status.Release.LastCommand)
	}
	s.noneFailed()
	s.neverBeside("v2")

	s.cli(0, harness.Admin, "retry", stage.Name)
	s.await("the retry at the first step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	s.cli(0, harness.Admin, "abort", stage.Name, "--revert")
	s.await("the stable template again", stage.InState(v1alpha1.ReasonStable))
	s.atRest()
	s.noneFailed()
}

// cli runs the command line and checks its exit code.
func (s *scene) cli(wantCode int, user harness.User, args ...string) string {
	s.t.Helper()
	out, code, err := s.CLI(s.t.Context(), user, args...)
	must(s.t, err)
	if code != wantCode {
		s.t.Errorf("weir %v left with %d, not %d: %s", args, code, wantCode, out)
	}
	return out
}

func TestPause(t *testing.T) {
	t.Parallel()
	s := open(t, "pause", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
	s.release("v2", nil)
	s.await("the release to begin", stage.InStage(v1alpha1.StageProgressing))
	s.cli(0, harness.Admin, "pause", stage.Name)
	r := s.await("the pause", stage.InState(v1alpha1.ReasonPaused))
	s.stateIs(r, kstatus.InProgressStatus)
	step := r.Status.Release.StepIndex
	_, err := s.Await(t.Context(), "a step in spite of the pause", 5*time.Second, func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.StepIndex > step
	})
	if err == nil {
		t.Error("the release went on while it was paused")
	}
	s.cli(0, harness.Admin, "resume", stage.Name)
	s.await("the promotion", stage.Promoted(1))
	s.noneFailed()
}

func TestNewTemplateMidRelease(t *testing.T) {
	t.Parallel()
	s := open(t, "supersede", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	s.release("v2", nil)
	s.await("v2 at the first step", stage.AtStep(0))
	s.release("v3", nil)
	r := s.await("v3 at the first step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	if len(r.Status.History) == 0 || r.Status.History[0].Result != v1alpha1.ResultSuperseded {
		t.Errorf("the history does not say that v2 was superseded: %+v", r.Status.History)
	}
	s.cli(0, harness.Admin, "promote", stage.Name, "--reason", "in a hurry")
	s.await("the promotion of v3", stage.Promoted(2))
	s.atRest()
	s.noneFailed()
	s.neverBeside("v2")
}

func TestRevertToStable(t *testing.T) {
	t.Parallel()
	s := open(t, "revert", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	stable := s.await("stable", stage.InState(v1alpha1.ReasonStable)).Status.Stable.Revision
	pods := s.pods(stable)
	s.release("v2", nil)
	s.await("v2 at the first step", stage.AtStep(0))
	s.release("v1", nil)
	r := s.await("the end of the release", func(r *v1alpha1.Rollout) bool {
		return stage.State(r) == v1alpha1.ReasonStable && len(r.Status.History) > 0
	})
	if r.Status.Stable.Revision != stable {
		t.Errorf("stable was %s and is %s", stable, r.Status.Stable.Revision)
	}
	s.survived(pods, stable)
	s.atRest()
	s.noneFailed()
}

func TestRollbackToHistory(t *testing.T) {
	t.Parallel()
	s := open(t, "history", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
	s.release("v2", nil)
	s.await("the promotion of v2", stage.Promoted(1))
	s.release("v1", nil)
	adopting := s.await("the handover of v1", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number == 2 && r.Status.Release.Stage == v1alpha1.StageAdopting
	})
	canary := s.pods(adopting.Status.Canary.Revision)
	r := s.await("the promotion of v1", stage.Promoted(2))
	s.survived(canary, r.Status.Stable.Revision)
	s.atRest()
	s.noneFailed()
}

func TestFirstDeployment(t *testing.T) {
	t.Parallel()
	shop, err := world.NewNamespace(t.Context(), "first")
	must(t, err)
	s := &scene{Shop: shop, t: t}
	t.Cleanup(s.report)
	must(t, shop.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{Traffic: stage.RouteRefs(), Steps: timed()}))
	r := s.await("the missing workload", stage.InState(v1alpha1.ReasonWorkloadNotFound))
	s.stateIs(r, kstatus.FailedStatus)
	must(t, shop.CreateShop(t.Context(), stage.ShopOptions{}))
	r = s.await("the first version to be stable", stage.InState(v1alpha1.ReasonStable))
	s.stateIs(r, kstatus.CurrentStatus)
	if r.Status.Release.Number != 0 {
		t.Errorf("the first version was released in steps, as release %d", r.Status.Release.Number)
	}
}

func TestFixForwardWhileStableIsBroken(t *testing.T) {
	t.Parallel()
	s := open(t, "fix-forward", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed(), ProgressDeadline: "30s"})
	// Stable breaks without a new template: its pods are told to fail by what
	// they read, as when a dependency goes. Here: no node has room for them.
	pods := s.pods(s.await("stable", stage.InState(v1alpha1.ReasonStable)).Status.Stable.Revision)
	for i := range pods[:2] {
		must(t, s.Admin.Delete(t.Context(), &pods[i]))
	}
	s.release("v2", nil)
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
}

func TestEqualTemplate(t *testing.T) {
	t.Parallel()
	s := open(t, "equal", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	must(t, s.EditDeployment(t.Context(), func(d *appsv1.Deployment) {
		d.Spec.Template.Spec.Containers[0].Env = append(d.Spec.Template.Spec.Containers[0].Env, corev1.EnvVar{Name: "A", Value: "1"})
	}))
	must(t, s.EditDeployment(t.Context(), func(d *appsv1.Deployment) {
		env := &d.Spec.Template.Spec.Containers[0].Env
		*env = (*env)[:len(*env)-1]
	}))
	s.await("stable, as the template is stable's own", func(r *v1alpha1.Rollout) bool {
		d, err := s.Deployment(t.Context())
		return err == nil && !d.Spec.Paused && stage.State(r) == v1alpha1.ReasonStable
	})
	s.atRest()
	s.noneFailed()
}

func TestScaledToZero(t *testing.T) {
	t.Parallel()
	s := open(t, "zero", stage.ShopOptions{Native: true}, v1alpha1.RolloutSpec{Steps: timed()})
	must(t, s.EditDeployment(t.Context(), func(d *appsv1.Deployment) { d.Spec.Replicas = ptr.To[int32](0) }))
	s.await("stable at zero", stage.InState(v1alpha1.ReasonStable))
	s.release("v2", nil)
	r := s.await("the promotion without pods", stage.Promoted(1))
	if r.Status.Stable.Revision == "" {
		t.Error("there is no stable version after a promotion at zero")
	}
}
