package release

import (
	"context"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// kills is how often the controller is killed at random points.
const kills = 20

// The tests that disturb what all share are not parallel: they run alone, before
// the others.

func TestControllerKilled(t *testing.T) {
	s := open(t, "killed", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{stage.Hold(25, "1s"), stage.Hold(75, "1s")}})
	// A fixed seed makes the points in time repeatable as far as anything on a
	// real machine is.
	random := rand.New(rand.NewPCG(1, 2))
	version, released := 1, int64(0)
	for range kills {
		r, err := s.Rollout(t.Context())
		must(t, err)
		if stage.State(r) == v1alpha1.ReasonStable {
			version++
			released++
			s.release("v"+string(rune('0'+version%10)), map[string]string{"N": r.ResourceVersion})
		}
		sleep(t, time.Duration(random.Int64N(int64(1500*time.Millisecond))))
		s.sandbox("kill", stage.ControllerName)
		s.sandbox("start", stage.ControllerName)
	}
	r := s.await("the last promotion", func(r *v1alpha1.Rollout) bool {
		d, err := s.Deployment(t.Context())
		return err == nil && stage.State(r) == v1alpha1.ReasonStable && r.Status.Workload.ObservedGeneration == d.Generation
	})
	if r.Status.Release.Number < 1 {
		t.Error("nothing was released")
	}
	for _, h := range r.Status.History {
		if h.Result != v1alpha1.ResultPromoted {
			t.Errorf("release %d ended as %s: %s", h.Number, h.Result, h.Message)
		}
	}
	t.Logf("%d releases through %d kills", r.Status.Release.Number, kills)
	s.atRest()
	s.noneFailed()
}

func sleep(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	case <-time.After(d):
	}
}

// sandbox runs a command of the sandbox.
func (s *scene) sandbox(args ...string) {
	s.t.Helper()
	_, err := s.Run(s.t.Context(), args...)
	must(s.t, err)
}

func TestAPIServerRestart(t *testing.T) {
	s := open(t, "apiserver", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
	s.release("v2", nil)
	s.await("the first step", stage.AtStep(0))
	s.sandbox("kill", "kube-apiserver")
	sleep(t, 5*time.Second)
	s.sandbox("start", "kube-apiserver")
	harness.Eventually(t, time.Minute, "the API server to be back", func(ctx context.Context) error {
		_, err := s.Rollout(ctx)
		return err
	})
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
	s.noneFailed()
}

func TestPrometheusOutage(t *testing.T) {
	s := openWithoutRollout(t, "outage", stage.ShopOptions{})
	analysis, err := s.ErrorsTemplate(t.Context())
	must(t, err)
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: stage.RouteRefs(), Analysis: analysis, Steps: []v1alpha1.Step{stage.Weight(20), stage.Hold(100, "1s")},
	}))
	s.sandbox("stop", "prometheus")
	s.release("v2", nil)
	r := s.await("the release to hold for want of data", func(r *v1alpha1.Rollout) bool {
		return r.Status.Analysis.Verdict == v1alpha1.VerdictNoData && r.Status.Release.VerifiedAt != nil
	})
	s.stateIs(r, kstatus.InProgressStatus)
	if _, err := s.Await(t.Context(), "a step without data", 5*time.Second, func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.StepIndex > 0 || r.Status.Release.Stage != v1alpha1.StageProgressing
	}); err == nil {
		t.Error("the release moved without data")
	}
	s.sandbox("start", "prometheus")
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
	s.noneFailed()
}

// TestDeletion: whenever the Rollout is deleted, what is left is a plain
// Deployment that runs stable.
func TestDeletion(t *testing.T) {
	t.Parallel()
	phases := map[string]struct {
		command  string
		ready    stage.Condition
		promoted bool
	}{
		"idle":         {},
		"progressing":  {ready: stage.AtStep(0)},
		"rolling-back": {command: "abort", ready: stage.InStage(v1alpha1.StageRollingBack)},
		"aborted":      {command: "abort", ready: stage.InStage(v1alpha1.StageAborted)},
		"promoting":    {command: "promote", ready: stage.InStage(v1alpha1.StagePromoting)},
		"adopting":     {command: "promote", ready: stage.InStage(v1alpha1.StageAdopting), promoted: true},
	}
	for name, phase := range phases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, "delete-"+name, stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(25)})
			if phase.ready != nil {
				// Pods that start slowly make each stage last long enough to be seen.
				s.release("v2", map[string]string{"START_DELAY": "2s"})
			}
			if phase.command != "" {
				s.await("the first step", stage.AtStep(0))
				s.cli(0, harness.Admin, phase.command, stage.Name)
			}
			if phase.ready != nil {
				s.await(name, phase.ready)
			}
			must(t, s.Admin.Delete(t.Context(), &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name}}))
			harness.Eventually(t, timeout, "the Rollout to be gone", func(ctx context.Context) error {
				r, err := s.Rollout(ctx)
				if apierrors.IsNotFound(err) {
					return nil
				}
				return errorOf(stage.Describe(r), err)
			})
			must(t, s.AwaitDeployment(t.Context(), "a plain Deployment", func(d *appsv1.Deployment) bool {
				return !d.Spec.Paused && d.Labels[v1alpha1.RolloutLabel] == "" && d.Status.ObservedGeneration == d.Generation &&
					d.Status.UpdatedReplicas == 4 && d.Status.Replicas == 4 && d.Status.AvailableReplicas == 4
			}))
			s.plain()
			d, err := s.Deployment(t.Context())
			must(t, err)
			version := strings.TrimPrefix(d.Spec.Template.Spec.Containers[0].Image, "weir.dev/shop:")
			if version != "v1" && !phase.promoted {
				t.Errorf("the Deployment runs %s, which was never promoted", version)
			}
			s.noneFailed()
		})
	}
}

// TestGitOpsWriters: a robot that applies what is in Git each second, in any
// style, neither moves a weight nor loses its fields. Where no policy keeps the
// weights in its writes they are to be left out of Git.
func TestGitOpsWriters(t *testing.T) {
	t.Parallel()
	for _, style := range []string{"apply", "server-side", "replace"} {
		t.Run(style, func(t *testing.T) {
			t.Parallel()
			s := open(t, "gitops-"+style, stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
			manifests := s.manifests("v2", !withoutMutatingPolicies)
			if style == "replace" && withoutMutatingPolicies {
				// Nothing can put the pause back into the write, so it is refused.
				err := s.apply(t.Context(), style, manifests)
				if err == nil || !strings.Contains(err.Error(), "spec.paused must stay true") {
					t.Errorf("a write that drops the pause is not refused as it should be: %v", err)
				}
				return
			}
			stop := s.applyEachSecond(style, manifests)
			r := s.await("the promotion", stage.Promoted(1))
			stop()
			s.atRest()
			s.noneFailed()
			if r.Status.Release.Number != 1 {
				t.Errorf("the robot made %d releases of one change", r.Status.Release.Number)
			}
		})
	}
	if withoutMutatingPolicies {
		t.Run("weights", testTugOfWar)
	}
}

// testTugOfWar: a robot that writes the weights of Git back again and again ends
// the release, and is named.
func testTugOfWar(t *testing.T) {
	t.Parallel()
	s := open(t, "gitops-weights", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	stop := s.applyEachSecond("server-side", s.manifests("v2", true))
	r := s.await("the rollback", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Stage == v1alpha1.StageAborted })
	stop()
	if _, message := readiness(r); !strings.Contains(message, "HTTPRoute/shop") || !strings.Contains(message, "gitops") {
		t.Errorf("the rollback names neither the route nor its writer: %s", message)
	}
	s.noneFailed()
}

// manifests are what is in Git.
func (s *scene) manifests(version string, withRoute bool) string {
	s.t.Helper()
	text, err := s.Manifests(version, withRoute)
	must(s.t, err)
	return text
}

// applyEachSecond is a robot. It ends with the function that it gives.
func (s *scene) applyEachSecond(style, manifests string) (stop func()) {
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := s.apply(ctx, style, manifests); err != nil && ctx.Err() == nil {
				s.t.Errorf("the robot cannot %s: %v", style, err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *scene) apply(ctx context.Context, style, manifests string) error {
	args := map[string][]string{
		"apply":       {"apply", "-f", "-"},
		"server-side": {"apply", "--server-side", "--force-conflicts", "--field-manager=gitops", "-f", "-"},
		"replace":     {"replace", "-f", "-"},
	}[style]
	_, _, err := s.Kubectl(ctx, harness.Admin, manifests, args...)
	if err != nil && strings.Contains(err.Error(), "object has been modified") {
		return nil // the robot is told to try again, and will, in a second
	}
	return err
}

// TestIntegerPDBAndDrain: a PodDisruptionBudget with an integer counts the
// canary, so a drain may take stable pods. Users come first: none is failed.
func TestIntegerPDBAndDrain(t *testing.T) {
	t.Parallel()
	s := open(t, "drain", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	must(t, s.Admin.Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(3)),
			Selector:     &metav1.LabelSelector{MatchLabels: stage.Labels()},
		},
	}))
	s.release("v2", nil)
	r := s.await("the first step", stage.AtStep(0))
	for _, pod := range s.pods(r.Status.Stable.Revision) {
		harness.Eventually(t, timeout, "an eviction to be allowed", func(ctx context.Context) error {
			return s.Admin.SubResource("eviction").Create(ctx, &pod, &policyv1.Eviction{
				ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name},
			})
		})
	}
	s.await("stable to be whole again", func(r *v1alpha1.Rollout) bool {
		ready := 0
		for _, p := range s.pods(r.Status.Stable.Revision) {
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return ready == 4
	})
	s.cli(0, harness.Admin, "promote", stage.Name)
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
	s.noneFailed()
}

// TestQuota: a quota that cannot hold the canary is said, and holds the release;
// the stable version loses nothing.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := open(t, "quota", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed(), ProgressDeadline: "10m"})
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "pods"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("4")}},
	}
	must(t, s.Admin.Create(t.Context(), quota))
	harness.Eventually(t, timeout, "the quota to be counted", func(ctx context.Context) error {
		if err := s.Admin.Get(ctx, s.key("pods"), quota); err != nil {
			return err
		}
		used := quota.Status.Used[corev1.ResourcePods]
		return errorUnless(used.Value() == 4, "%d pods are counted", used.Value())
	})
	s.release("v2", nil)
	r := s.await("the quota to be named", func(r *v1alpha1.Rollout) bool {
		_, message := readiness(r)
		return strings.Contains(message, "quota")
	})
	s.stateIs(r, kstatus.InProgressStatus)
	if got := len(s.pods(r.Status.Stable.Revision)); got != 4 {
		t.Errorf("stable has %d pods, not 4", got)
	}
	quota.Spec.Hard[corev1.ResourcePods] = resource.MustParse("20")
	must(t, s.Admin.Update(t.Context(), quota))
	s.await("the promotion", stage.Promoted(1))
	s.atRest()
	s.noneFailed()
}

func TestRecreateIsRefused(t *testing.T) {
	t.Parallel()
	s := openWithoutRollout(t, "recreate", stage.ShopOptions{Native: true, Deployment: func(d *appsv1.Deployment) {
		d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
	}})
	must(t, s.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{Steps: timed()}))
	r := s.await("the refusal", stage.InState(v1alpha1.ReasonUnsupported))
	s.stateIs(r, kstatus.FailedStatus)
	if _, message := readiness(r); !strings.Contains(message, "Recreate") || !strings.Contains(message, "RollingUpdate") {
		t.Errorf("the message does not name the value and the remedy: %q", message)
	}
	s.noneFailed()
}

func TestNative(t *testing.T) {
	t.Parallel()
	if !world.KubeProxy {
		t.Log("kube-proxy cannot run here: the load goes straight over the endpoints")
	}
	s := open(t, "native", stage.ShopOptions{Native: true, Replicas: 3}, v1alpha1.RolloutSpec{
		Steps: []v1alpha1.Step{{Replicas: ptr.To(intstr.FromInt32(1)), Gates: &v1alpha1.Gates{Hold: "5s"}}, {Replicas: ptr.To(intstr.FromString("100%")), Gates: &v1alpha1.Gates{Hold: "2s"}}},
	})
	s.release("v2", nil)
	r := s.await("one pod of four", stage.AtStep(0))
	if r.Status.Exposure.Configured != "25%" {
		t.Errorf("one pod of four is shown as %q", r.Status.Exposure.Configured)
	}
	harness.Eventually(t, timeout, "the share behind the Service", func(context.Context) error {
		out := s.cli(0, harness.Admin, "why", stage.Name)
		return errorUnless(strings.Contains(out, "Behind Service shop the canary has 25% of the ready pods.\n"), "why says:\n%s", out)
	})
	canary := r.Status.Canary.Revision
	r = s.await("the promotion", stage.Promoted(1))
	s.survived(s.pods(canary), r.Status.Stable.Revision)
	s.atRest()
	if _, beside := s.counts(); beside.Of("v2").Total() == 0 {
		t.Error("nobody was served by v2")
	}
	s.noneFailed()
}

// TestTwoRollouts: of two Rollouts of one workload the older counts, and the
// other says so and does nothing.
func TestTwoRollouts(t *testing.T) {
	t.Parallel()
	s := open(t, "two", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: timed()})
	second := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "second"},
		Spec:       v1alpha1.RolloutSpec{WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: stage.Name}},
	}
	must(t, s.Admin.Create(t.Context(), second))
	harness.Eventually(t, timeout, "the second to be refused", func(ctx context.Context) error {
		if err := s.Admin.Get(ctx, s.key("second"), second); err != nil {
			return err
		}
		_, message := readiness(second)
		return errorUnless(stage.State(second) == v1alpha1.ReasonInvalidSpec && strings.Contains(message, `"`+stage.Name+`"`), "%s: %s", stage.State(second), message)
	})
	s.release("v2", nil)
	s.await("the promotion by the first", stage.Promoted(1))
	s.atRest()
	s.noneFailed()
}
