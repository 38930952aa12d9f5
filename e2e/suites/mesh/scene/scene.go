// Package scene has what the suites of the meshes share: a shop whose callers have
// proxies of a mesh, their loads, and what is asked of them.
package scene

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

const (
	// timeout bounds each wait for a state of a release.
	timeout = 90 * time.Second
	// settle is left out at both ends of a count of shares: requests that were on
	// their way when a weight changed belong to neither.
	settle = 500 * time.Millisecond
	// deviations is how many standard deviations a share may be off its weight.
	deviations = 4
)

// Scene is a shop with loads by way of proxies.
type Scene struct {
	*stage.Shop
	T testing.TB
	// Loads by name.
	Loads map[string]*stage.Load

	proxies []string
}

// Open opens a shop without a route of Gateway API in a world.
func Open(t testing.TB, world *stage.World, namespace string, options stage.ShopOptions) *Scene {
	t.Helper()
	options.Native = true
	shop, err := world.NewShop(t.Context(), namespace, options)
	s := &Scene{Shop: shop, T: t, Loads: map[string]*stage.Load{}}
	s.Must(err)
	t.Cleanup(s.report)
	return s
}

// Must fails the test for an error.
func (s *Scene) Must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

// Proxy starts a proxy and gives its address.
func (s *Scene) Proxy(p stage.Proxy) string {
	s.T.Helper()
	s.proxies = append(s.proxies, p.Name)
	address, err := s.StartProxy(s.T.Context(), p)
	s.Must(err)
	return address
}

// Load keeps a load that was started under a name, and ends it with its test.
func (s *Scene) Load(name string, l *stage.Load, err error) {
	s.T.Helper()
	s.Must(err)
	s.Loads[name] = l
	s.T.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := l.Stop(ctx); err != nil {
			s.T.Log(err)
		}
	})
}

// report says what a failed test needs to be understood.
func (s *Scene) report() {
	if !s.T.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, what := range []string{"rollouts,deployments,replicasets,pods,services", "events"} {
		out, _, err := s.Kubectl(ctx, harness.Admin, "", "get", what, "-n", s.Namespace, "-o", "wide")
		s.T.Logf("%s (%v):\n%s", what, err, out)
	}
	for _, proxy := range s.proxies {
		out, _, err := s.Kubectl(ctx, harness.Admin, "", "logs", proxy, "-n", s.Namespace, "--tail=40")
		s.T.Logf("log of proxy %s (%v):\n%s", proxy, err, out)
	}
	var lines []string
	for line := range strings.Lines(s.ControllerLog(ctx)) {
		if strings.Contains(line, s.Namespace) {
			lines = append(lines, line)
		}
	}
	s.T.Logf("the controller's log of this namespace:\n%s", strings.Join(lines[max(0, len(lines)-60):], ""))
}

// AwaitState waits for a state of the Rollout.
func (s *Scene) AwaitState(what string, ok stage.Condition) *v1alpha1.Rollout {
	s.T.Helper()
	r, err := s.Await(s.T.Context(), what, timeout, ok)
	s.Must(err)
	return r
}

// During gives the time from now on for which a step is at its exposure, less what
// was on its way at its ends.
func (s *Scene) During(index int32, length time.Duration) (from, to time.Time) {
	s.T.Helper()
	s.AwaitState("the step", stage.AtStep(index))
	from = time.Now().Add(settle)
	s.AwaitState("the end of the step", func(r *v1alpha1.Rollout) bool {
		held := r.Status.Release.VerifiedAt
		return r.Status.Release.StepIndex == index && held != nil && time.Since(held.Time) > length
	})
	return from, time.Now().Add(-settle)
}

// ShareIs checks the share of a version among the requests of a load due in a time.
func (s *Scene) ShareIs(name, version string, weight float64, from, to time.Time) {
	s.T.Helper()
	log, err := s.Loads[name].Log(s.T.Context())
	s.Must(err)
	share, of := log.DueBetween(from, to).Share(version)
	low, high := load.ShareBounds(weight, of, deviations)
	s.T.Logf("%s: weight %.3f: %.3f of %d requests met %s", name, weight, share, of, version)
	if of == 0 || share < low || share > high {
		s.T.Errorf("%s: %.3f of %d requests met %s, not %.3f to %.3f", name, share, of, version, low, high)
	}
}

// NoneFailed checks that no request of the loads was lost or failed, but those of the
// loads that are named.
func (s *Scene) NoneFailed(but ...string) {
	s.T.Helper()
	for name, l := range s.Loads {
		log, err := l.Log(s.T.Context())
		s.Must(err)
		all := log.All()
		if all.Total() == 0 {
			s.T.Errorf("%s: no request was counted", name)
		}
		if bad := all.Bad(); bad.Total() > 0 && !strings.Contains(" "+strings.Join(but, " ")+" ", " "+name+" ") {
			s.T.Errorf("%s: of %d requests these ended badly: %+v", name, all.Total(), bad)
		}
	}
}

// Abort aborts the release and waits for the rollback.
func (s *Scene) Abort() {
	s.T.Helper()
	out, code, err := s.CLI(s.T.Context(), harness.Admin, "abort", stage.Name)
	s.Must(err)
	if code != 0 {
		s.T.Fatalf("abort left with %d: %s", code, out)
	}
	s.AwaitState("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
}

// Live is an object as it is.
func (s *Scene) Live(like *unstructured.Unstructured) *unstructured.Unstructured {
	s.T.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(like.GroupVersionKind())
	s.Must(s.Admin.Get(s.T.Context(), client.ObjectKeyFromObject(like), u))
	return u
}

// GivenBack checks that a route is what its user wrote.
func (s *Scene) GivenBack(written *unstructured.Unstructured) {
	s.T.Helper()
	now := s.Live(written)
	if diff := cmp.Diff(written.Object["spec"], now.Object["spec"]); diff != "" {
		s.T.Errorf("%s is not as it was written (-want +got):\n%s", written.GetName(), diff)
	}
	for _, marks := range []map[string]string{now.GetAnnotations(), now.GetLabels()} {
		for key := range marks {
			if strings.HasPrefix(key, "weir.dev/") {
				s.T.Errorf("%s still has the mark %s", written.GetName(), key)
			}
		}
	}
}

// ThroughOutage kills a control plane in the middle of a release, which has three steps
// at 20, 60 and 100 percent. The second is held, and not even written, until the control
// plane is back: what proxies have goes on serving. Then a release is aborted while it is gone: nothing is
// taken from under the traffic that nobody could take away.
func (s *Scene) ThroughOutage(controlPlane, load string) {
	s.T.Helper()
	command := func(verb string) {
		s.T.Helper()
		_, err := s.Run(s.T.Context(), verb, controlPlane)
		s.Must(err)
	}
	s.T.Cleanup(func() {
		if s.T.Failed() { // Others go on with it.
			_, _ = s.Run(context.Background(), "start", controlPlane)
		}
	})
	s.Must(s.Release(s.T.Context(), "v2", nil))
	s.AwaitState("the first step", stage.AtStep(0))
	command("kill")
	held := func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.StepIndex == 1 && r.Status.Exposure.Configured == "20%" && r.Status.Release.VerifiedAt == nil
	}
	s.AwaitState("the second step to be held", held)
	from := time.Now().Add(settle)
	s.AwaitState("five seconds of it", func(r *v1alpha1.Rollout) bool { return held(r) && time.Since(from) > 5*time.Second })
	s.ShareIs(load, "v2", 0.2, from, time.Now().Add(-settle))
	command("start")
	s.AwaitState("the promotion", stage.Promoted(1))

	s.Must(s.Release(s.T.Context(), "v3", nil))
	s.AwaitState("v3 at its first step", func(r *v1alpha1.Rollout) bool { return r.Status.Release.Number == 2 && stage.AtStep(0)(r) })
	command("kill")
	out, code, err := s.CLI(s.T.Context(), harness.Admin, "abort", stage.Name)
	s.Must(err)
	if code != 0 {
		s.T.Fatalf("abort left with %d: %s", code, out)
	}
	rolling := func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Stage == v1alpha1.StageRollingBack && r.Status.Exposure.Desired == "0%"
	}
	r := s.AwaitState("the rollback to be held", rolling)
	from = time.Now().Add(settle)
	s.AwaitState("five seconds of it", func(r *v1alpha1.Rollout) bool { return rolling(r) && time.Since(from) > 5*time.Second })
	s.ShareIs(load, "v3", 0.2, from, time.Now().Add(-settle))
	pods, err := s.Pods(s.T.Context(), r.Status.Canary.Revision)
	s.Must(err)
	if len(pods) == 0 {
		s.T.Error("the pods of the canary went while proxies sent them requests")
	}
	command("start")
	s.AwaitState("the rollback", func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonRolledBack })
	s.NoneFailed()
}

// OutageSteps are those of ThroughOutage.
func OutageSteps() []v1alpha1.Step {
	return []v1alpha1.Step{stage.Hold(20, "3s"), stage.Hold(60, "2s"), stage.Hold(100, "2s")}
}
