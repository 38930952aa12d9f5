// Package release runs whole releases on a real control plane: real pods, real
// requests through a gateway and beside it, a real Prometheus, and the
// controller as users run it.
package release

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

// world is shared by all tests; each has a namespace of its own. Tests that
// disturb what all share are not parallel, and so run alone.
var world *stage.World

// withoutMutatingPolicies runs the suite on a cluster that does not know
// MutatingAdmissionPolicy, where Deployments stay paused between releases.
var withoutMutatingPolicies = os.Getenv("WEIR_E2E_HOLD") == string(v1alpha1.HoldPaused)

func TestMain(m *testing.M) {
	flags := []string{"--scrape-interval=1s"}
	if withoutMutatingPolicies {
		flags = append(flags, "--disable-mutating-policies")
	}
	os.Exit(harness.Main(m, "release", flags, func(ctx context.Context, s *harness.Sandbox) (err error) {
		world, err = stage.NewWorld(ctx, s, stage.Options{WithoutMutatingPolicies: withoutMutatingPolicies})
		return err
	}))
}

// Rates of the loads, in requests a second: enough for a verdict in seconds,
// little enough for several tests at once.
const (
	gatewayRate = 40
	besideRate  = 10
)

// timeout bounds each wait for a state of a release.
const timeout = 90 * time.Second

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scene is one shop with its loads, watched by an observer.
type scene struct {
	*stage.Shop
	t               *testing.T
	gateway, beside *stage.Load
}

// open opens a shop under load and gives it a Rollout.
func open(t *testing.T, namespace string, shop stage.ShopOptions, spec v1alpha1.RolloutSpec) *scene {
	t.Helper()
	s := openWithoutRollout(t, namespace, shop)
	if !shop.Native && spec.Traffic == nil {
		spec.Traffic = stage.RouteRefs()
	}
	must(t, s.CreateRollout(t.Context(), spec))
	return s
}

func openWithoutRollout(t *testing.T, namespace string, options stage.ShopOptions) *scene {
	t.Helper()
	shop, err := world.NewShop(t.Context(), namespace, options)
	must(t, err)
	s := &scene{Shop: shop, t: t}
	t.Cleanup(s.report)
	if !options.Native {
		s.gateway, err = shop.LoadThroughGateway(t.Context(), gatewayRate)
		must(t, err)
		t.Cleanup(func() { s.end(s.gateway) })
	}
	s.beside, err = shop.LoadBesideRoute(t.Context(), besideRate)
	must(t, err)
	t.Cleanup(func() { s.end(s.beside) })
	observer, err := shop.Observe(t.Context())
	must(t, err)
	t.Cleanup(func() {
		for _, problem := range observer.Stop() {
			t.Error(problem)
		}
	})
	return s
}

// end stops a load with its test, so that the tests after it have the machine.
func (s *scene) end(l *stage.Load) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := l.Stop(ctx); err != nil {
		s.t.Log(err)
	}
}

// report says what a failed test needs to be understood.
func (s *scene) report() {
	if !s.t.Failed() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, what := range []string{"rollouts,deployments,replicasets,pods,services,httproutes", "events"} {
		out, _, err := s.Kubectl(ctx, harness.Admin, "", "get", what, "-n", s.Namespace, "-o", "wide")
		s.t.Logf("%s (%v):\n%s", what, err, out)
	}
	out, _, err := s.Kubectl(ctx, harness.Admin, "", "get", "rollouts,httproutes", "-n", s.Namespace, "-o", "yaml")
	s.t.Logf("%v\n%s", err, out)
	var lines []string
	for line := range strings.Lines(s.ControllerLog(ctx)) {
		if strings.Contains(line, `"`+s.Namespace+`"`) || strings.Contains(line, s.Namespace+"/") {
			lines = append(lines, line)
		}
	}
	s.t.Logf("the controller's log of this namespace:\n%s", strings.Join(lines[max(0, len(lines)-100):], ""))
}

// await waits for a state of the Rollout.
func (s *scene) await(what string, ok stage.Condition) *v1alpha1.Rollout {
	s.t.Helper()
	r, err := s.Await(s.t.Context(), what, timeout, ok)
	must(s.t, err)
	return r
}

// release writes a new version into the Deployment.
func (s *scene) release(version string, env map[string]string) {
	s.t.Helper()
	must(s.t, s.Release(s.t.Context(), version, env))
}

// pods are the pods of a revision.
func (s *scene) pods(revision string) []corev1.Pod {
	s.t.Helper()
	pods, err := s.Pods(s.t.Context(), revision)
	must(s.t, err)
	return pods
}

// counts are all responses so far, through the gateway and beside it.
func (s *scene) counts() (gateway, beside load.Counts) {
	s.t.Helper()
	if s.gateway != nil {
		log, err := s.gateway.Log(s.t.Context())
		must(s.t, err)
		gateway = log.All()
	}
	log, err := s.beside.Log(s.t.Context())
	must(s.t, err)
	return gateway, log.All()
}

// noneFailed checks that no request was lost or failed, but for those that one
// of the given versions failed itself.
func (s *scene) noneFailed(butBy ...string) {
	s.t.Helper()
	gateway, beside := s.counts()
	for via, counts := range map[string]load.Counts{"through the gateway": gateway, "beside the route": beside} {
		if counts.Total() == 0 && (via != "through the gateway" || s.gateway != nil) {
			s.t.Errorf("no request was counted %s", via)
		}
		for key, n := range counts.Bad() {
			if key.Version != "" && contains(butBy, key.Version) {
				continue
			}
			s.t.Errorf("%d requests %s ended badly: %+v", n, via, key)
		}
	}
}

func contains(list []string, s string) bool {
	for _, item := range list {
		if item == s {
			return true
		}
	}
	return false
}

// neverBeside checks that no caller beside the route met a version.
func (s *scene) neverBeside(version string) {
	s.t.Helper()
	if _, beside := s.counts(); beside.Of(version).Total() > 0 {
		s.t.Errorf("%d callers beside the route met %s", beside.Of(version).Total(), version)
	}
}

// survived checks that pods are all there as they were.
func (s *scene) survived(before []corev1.Pod, revision string) {
	s.t.Helper()
	now := map[string]corev1.Pod{}
	for _, p := range s.pods(revision) {
		now[string(p.UID)] = p
	}
	for i := range before {
		p, ok := now[string(before[i].UID)]
		if !ok {
			s.t.Errorf("pod %s did not survive", before[i].Name)
		} else if p.Status.ContainerStatuses[0].RestartCount != before[i].Status.ContainerStatuses[0].RestartCount {
			s.t.Errorf("pod %s was restarted", before[i].Name)
		}
	}
}
