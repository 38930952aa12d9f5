//go:build e2e

package test

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// The share of requests is the weight from the moment on at which the status
// of the route says so.
func TestSharesFollowTheWeights(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 2)
	s.deploy("v2", 2)
	s.route(gwv1.HTTPRouteRule{BackendRefs: backendRefs([]share{{"v1", 90}, {"v2", 10}})})
	log := s.load(100)
	testbox.ShareIs(t, testbox.Count(t, log, time.Now(), 20*time.Second), "v2", 0.1)
	for _, step := range []struct {
		v1, v2 int32
		want   float64
	}{{0, 100, 1}, {50, 50, 0.5}, {100, 0, 0}, {999, 1, 0.001}, {3, 1, 0.25}} {
		from := s.shift(share{"v1", step.v1}, share{"v2", step.v2})
		testbox.ShareIs(t, testbox.Count(t, log, from, 5*time.Second), "v2", step.want)
	}
	// Between two extremes not one request may be of the other version.
	for range 10 {
		testbox.ShareIs(t, testbox.Count(t, log, s.shift(share{"v2", 1}), 300*time.Millisecond), "v2", 1)
		testbox.ShareIs(t, testbox.Count(t, log, s.shift(share{"v1", 1}), 300*time.Millisecond), "v2", 0)
	}
	testbox.NoneBad(t, log)
}

// Pods come and go without a failed request.
func TestNoRequestFailsWhilePodsComeAndGo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 4)
	s.deploy("v2", 2)
	s.route(gwv1.HTTPRouteRule{BackendRefs: backendRefs([]share{{"v1", 90}, {"v2", 10}})})
	log := s.load(100)
	start := time.Now()
	for _, replicas := range []int{8, 2, 5, 1, 4} {
		box.Scale(t, s.name, "v1", replicas)
	}
	for range 3 {
		box.Restart(t, s.name, "v1")
		box.Restart(t, s.name, "v2")
	}
	end := time.Now()
	testbox.ShareIs(t, testbox.Count(t, log, start, end.Sub(start)), "v2", 0.1)
	testbox.NoneBad(t, log)
}

// A pod that ends without a drain fails requests, and the log shows them: the
// gateway hides nothing, and the load generator misses nothing.
func TestCrashesAreSeen(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 1, corev1.EnvVar{Name: "CRASH_AFTER", Value: "8s"})
	s.route(gwv1.HTTPRouteRule{BackendRefs: backendRefs([]share{{"v1", 1}})})
	start := time.Now()
	log := s.load(100)
	testbox.Eventually(t, "bad responses", func(context.Context) error {
		if err := log.Refresh(); err != nil {
			return fmt.Errorf("load: %w", err)
		}
		if first, ok := log.FirstBad(start); !ok || first.Code != 502 && first.Code != 503 {
			return fmt.Errorf("first bad response %+v, want 502 or 503", first)
		}
		return nil
	})
}

func TestNoEndpointsAndNoService(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 0)
	s.route(gwv1.HTTPRouteRule{BackendRefs: backendRefs([]share{{"v1", 1}})})
	log := s.load(50)
	if c := testbox.Count(t, log, time.Now(), time.Second); c.Total() == 0 || c.Total() != c.Bad().Total() || c.Bad().Total() != c.Where(code(503)).Total() {
		t.Errorf("responses without endpoints: %v, want 503 only", c)
	}
	if err := box.Kube.CoreV1().Services(s.name).Delete(t.Context(), "v1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "ResolvedRefs", func(ctx context.Context) error {
		r, err := box.gw.GatewayV1().HTTPRoutes(s.name).Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		for _, c := range r.Status.Parents[0].Conditions {
			if c.Type == string(gwv1.RouteConditionResolvedRefs) && c.Reason == string(gwv1.RouteReasonBackendNotFound) {
				return nil
			}
		}
		return fmt.Errorf("conditions %+v", r.Status.Parents[0].Conditions)
	})
	if c := testbox.Count(t, log, time.Now(), time.Second); c.Total() == 0 || c.Total() != c.Where(code(500)).Total() {
		t.Errorf("responses without a Service: %v, want 500 only", c)
	}
}

// A mirror gets its share of requests, and no caller an answer of it.
func TestMirror(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 2)
	s.deploy("v2", 1, corev1.EnvVar{Name: "ERROR_RATE", Value: "1"})
	ref := backendRef(share{"v2", 1})
	s.route(gwv1.HTTPRouteRule{
		Filters: []gwv1.HTTPRouteFilter{{Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwv1.HTTPRequestMirrorFilter{
			BackendRef: ref.BackendObjectReference, Percent: ptr.To[int32](20),
		}}},
		BackendRefs: backendRefs([]share{{"v1", 1}}),
	})
	log := s.load(100)
	testbox.ShareIs(t, testbox.Count(t, log, time.Now(), 10*time.Second), "v1", 1)
	testbox.NoneBad(t, log)
	total := counted(t, "sandbox_gateway_requests_total", s.name)
	copies := counted(t, "sandbox_gateway_mirrored_requests_total", s.name)
	// Both grow while they are read: four deviations and what half a second adds.
	if p := copies / total; total < 900 || p < 0.14 || p > 0.26 {
		t.Errorf("%v copies of %v requests, want about 20 %%", copies, total)
	}
}

// counted sums a counter of the gateway's over a namespace.
func counted(t *testing.T, name, namespace string) (sum float64) {
	t.Helper()
	response := metrics(t)
	defer response.Body.Close() //nolint:errcheck // it is only read
	line := regexp.MustCompile(`^` + name + `\{.*namespace="` + namespace + `".*\} ([0-9.e+]+)$`)
	for in := bufio.NewScanner(response.Body); in.Scan(); {
		if m := line.FindStringSubmatch(in.Text()); m != nil {
			n, err := strconv.ParseFloat(m[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
	}
	return sum
}

// GRPCRoutes split calls by weight, and rolling pods loses none.
func TestGRPCRoute(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.deploy("v1", 3)
	s.deploy("v2", 1)
	route := &gwv1.GRPCRoute{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: gwv1.GRPCRouteSpec{
		CommonRouteSpec: s.parents(), Hostnames: []gwv1.Hostname{gwv1.Hostname(s.name)},
		Rules: []gwv1.GRPCRouteRule{{BackendRefs: []gwv1.GRPCBackendRef{
			{BackendRef: backendRef(share{"v1", 80})}, {BackendRef: backendRef(share{"v2", 20})},
		}}},
	}}
	if _, err := box.gw.GatewayV1().GRPCRoutes(s.name).Create(t.Context(), route, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "GRPCRoute", func(ctx context.Context) error {
		r, err := box.gw.GatewayV1().GRPCRoutes(s.name).Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		return inForce(r.Generation, r.Status.Parents)
	})
	log := s.load(100, "--protocol=grpc")
	start := time.Now()
	box.Restart(t, s.name, "v1")
	box.Restart(t, s.name, "v2")
	testbox.ShareIs(t, testbox.Count(t, log, start, max(time.Since(start), 10*time.Second)), "v2", 0.2)
	testbox.NoneBad(t, log)
}

// A gateway that is killed and started again serves as before, from its first
// request on: none is answered before its configuration is in force.
func TestGatewayRestart(t *testing.T) {
	s := newShop(t)
	s.deploy("v1", 2)
	s.route(gwv1.HTTPRouteRule{BackendRefs: backendRefs([]share{{"v1", 1}})})
	log := s.load(100)
	if err := box.Control.Kill(t.Context(), "gateway"); err != nil {
		t.Fatal(err)
	}
	if err := box.Control.StartAgain(t.Context(), "gateway"); err != nil {
		t.Fatal(err)
	}
	started := time.Now()
	var first load.Response
	testbox.Eventually(t, "a good response", func(context.Context) (err error) {
		if err = log.Refresh(); err == nil {
			var ok bool
			if first, ok = log.First(started, func(r load.Response) bool { return !r.Bad() }); !ok {
				err = fmt.Errorf("last responses %v", log.Between(time.Now().Add(-time.Second), time.Now()))
			}
		}
		return err
	})
	testbox.ShareIs(t, testbox.Count(t, log, first.At, 2*time.Second), "v1", 1)
	// While it was down there was no answer at all; since, no bad one.
	if c := log.All().Bad(); c.Total() == 0 || c.Total() != c.Lost().Total() {
		t.Errorf("bad responses %v, want only requests without an answer", c)
	}
}

// code matches the responses of one code.
func code(want int) func(load.Key) bool { return func(k load.Key) bool { return k.Code == want } }
