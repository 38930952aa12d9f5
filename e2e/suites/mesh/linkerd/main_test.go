// Package linkerd runs whole releases through Linkerd's own destination controller,
// by ServiceProfile, with a proxy that obeys what it streams.
package linkerd

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
	"github.com/weir-dev/weir/e2e/stage"
)

// world is shared by all tests; each has a namespace of its own.
var world *stage.World

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, "linkerd", []string{"--scrape-interval=1s", "--linkerd"}, func(ctx context.Context, s *harness.Sandbox) (err error) {
		world, err = stage.NewWorld(ctx, s, stage.Options{})
		return err
	}))
}

const (
	// timeout bounds each wait.
	timeout = 90 * time.Second
	// settle is left out at both ends of a count of shares.
	settle = 300 * time.Millisecond
	// deviations is how many standard deviations a share may be off its weight.
	deviations = 4
	// rate of the load, in requests a second.
	rate = 100
	// proxyPort is where the proxy takes requests.
	proxyPort = "4140"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mesh is a shop whose callers have a proxy.
type mesh struct {
	*stage.Shop
	t         *testing.T
	proxy     string
	authority string
	streams   *destination.Client
	calls     *stage.Load
}

// open opens a shop with a profile and a load by way of the proxy.
func open(t *testing.T, namespace, profile string) *mesh {
	t.Helper()
	shop, err := world.NewShop(t.Context(), namespace, stage.ShopOptions{Native: true})
	must(t, err)
	m := &mesh{Shop: shop, t: t, authority: stage.Name + "." + namespace + ".svc.cluster.local"}
	m.streams, err = destination.New(cluster.LinkerdAddress, control.NewClient(world.Dir).DialContext, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() {
		if err := m.streams.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, m.Admin.Create(t.Context(), m.profile(profile)))
	m.startProxy()
	m.calls, err = m.LoadThroughProxy(t.Context(), "mesh", m.proxy+":"+proxyPort, m.authority, load.HTTP, rate)
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if _, err := m.calls.Stop(ctx); err != nil {
			t.Log(err)
		}
	})
	return m
}

// profile of the shop, with a spec.
func (m *mesh) profile(spec string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "linkerd.io", Version: "v1alpha2", Kind: "ServiceProfile"})
	u.SetNamespace(m.Namespace)
	u.SetName(m.authority)
	if spec != "" {
		inner := &unstructured.Unstructured{}
		if err := inner.UnmarshalJSON([]byte(`{"apiVersion": "v1", "kind": "Spec", "spec": ` + spec + `}`)); err != nil {
			m.t.Fatal(err)
		}
		u.Object["spec"] = inner.Object["spec"]
	}
	return u
}

// startProxy starts a caller's proxy.
func (m *mesh) startProxy() {
	m.t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: "caller"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "proxy", Image: "weir.dev/linkerd-outbound",
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromInt32(4191)}},
				PeriodSeconds: 1,
			},
		}}},
	}
	must(m.t, m.Admin.Create(m.t.Context(), pod))
	harness.Eventually(m.t, timeout, "the proxy to be ready", func(ctx context.Context) error {
		if err := m.Admin.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return errNotReady
	})
	m.proxy = pod.Status.PodIP
}

// await waits for a state of the Rollout.
func (m *mesh) await(what string, ok stage.Condition) *v1alpha1.Rollout {
	m.t.Helper()
	r, err := m.Await(m.t.Context(), what, timeout, ok)
	must(m.t, err)
	return r
}

// streamed checks what share of the whole Linkerd streams for the canary.
func (m *mesh) streamed(share float64) {
	m.t.Helper()
	canary := stage.Name + "-canary."
	_, err := m.streams.AwaitTargets(m.t.Context(), m.authority+":80", func(targets []destination.Target) bool {
		sum, part := uint32(0), uint32(0)
		for _, target := range targets {
			sum += target.Weight
			if len(target.Authority) > len(canary) && target.Authority[:len(canary)] == canary {
				part += target.Weight
			}
		}
		if sum == 0 {
			return share == 0
		}
		return float64(part) == share*float64(sum)
	})
	must(m.t, err)
}

// shareIs checks the share of a version among the requests due in a time.
func (m *mesh) shareIs(version string, weight float64, from, to time.Time) {
	m.t.Helper()
	log, err := m.calls.Log(m.t.Context())
	must(m.t, err)
	share, of := log.DueBetween(from, to).Share(version)
	low, high := load.ShareBounds(weight, of, deviations)
	m.t.Logf("weight %.3f: %.3f of %d requests met %s", weight, share, of, version)
	if of == 0 || share < low || share > high {
		m.t.Errorf("%.3f of %d requests met %s, not %.3f to %.3f", share, of, version, low, high)
	}
}

// noneFailed checks that no request was lost or failed.
func (m *mesh) noneFailed() {
	m.t.Helper()
	log, err := m.calls.Log(m.t.Context())
	must(m.t, err)
	if all := log.All(); all.Total() == 0 || all.Bad().Total() > 0 {
		m.t.Errorf("of %d requests these ended badly: %+v", all.Total(), all.Bad())
	}
}
