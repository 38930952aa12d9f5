//go:build e2e

package linkerd

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// mesh is a namespace with two versions of the demo app, each behind a Service of
// its own, the Service web that callers name, and a proxy that they call through.
type mesh struct {
	t         *testing.T
	namespace string
	proxyIP   string
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, namespace: box.Namespace(t, "mesh-")}
	box.Expose(t, m.namespace, "web", "stable") // without a profile, callers get the stable version
	for _, version := range []string{"stable", "canary"} {
		box.Expose(t, m.namespace, version, version)
		box.Deploy(t, m.namespace, version, 2, testbox.Shop(version))
	}
	box.Deploy(t, m.namespace, "proxy", 1, corev1.Container{
		Name: "proxy", Image: "weir.dev/linkerd-outbound:test",
		Ports:          []corev1.ContainerPort{{ContainerPort: 4140}},
		ReadinessProbe: testbox.HTTPProbe("/ready", intstr.FromInt32(4191)),
	})
	for _, name := range []string{"stable", "canary", "proxy"} {
		box.RolledOut(t, m.namespace, name)
	}
	m.proxyIP = m.podIP("proxy")
	return m
}

func (m *mesh) podIP(app string) string {
	m.t.Helper()
	pods, err := box.Kube.CoreV1().Pods(m.namespace).List(m.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil || len(pods.Items) != 1 {
		m.t.Fatalf("cannot find the pod of %s: %v", app, err)
	}
	return pods.Items[0].Status.PodIP
}

// authority is that of a Service.
func (m *mesh) authority(service string) string {
	return service + "." + m.namespace + ".svc.cluster.local:80"
}

func (m *mesh) profiles() dynamic.ResourceInterface {
	kind := schema.GroupVersionResource{Group: "linkerd.io", Version: "v1alpha2", Resource: "serviceprofiles"}
	return box.dynamic.Resource(kind).Namespace(m.namespace)
}

// profileName is the name that the ServiceProfile of web must have.
func (m *mesh) profileName() string { return "web." + m.namespace + ".svc.cluster.local" }

func (m *mesh) overrides(stable, canary string) map[string]any {
	return map[string]any{"spec": map[string]any{"dstOverrides": []any{
		map[string]any{"authority": m.authority("stable"), "weight": stable},
		map[string]any{"authority": m.authority("canary"), "weight": canary},
	}}}
}

// create creates the ServiceProfile of web.
func (m *mesh) create(stable, canary string) {
	m.t.Helper()
	profile := &unstructured.Unstructured{Object: m.overrides(stable, canary)}
	profile.SetAPIVersion("linkerd.io/v1alpha2")
	profile.SetKind("ServiceProfile")
	profile.SetName(m.profileName())
	if _, err := m.profiles().Create(m.t.Context(), profile, metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

// patch changes the weights.
func (m *mesh) patch(stable, canary string) {
	m.t.Helper()
	data, err := (&unstructured.Unstructured{Object: m.overrides(stable, canary)}).MarshalJSON()
	if err == nil {
		_, err = m.profiles().Patch(m.t.Context(), m.profileName(), types.MergePatchType, data, metav1.PatchOptions{})
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// targets are the two Services with weights.
func (m *mesh) targets(stable, canary uint32) []destination.Target {
	return []destination.Target{{Authority: m.authority("stable"), Weight: stable}, {Authority: m.authority("canary"), Weight: canary}}
}

// arrives waits until the controller streams targets and the proxy obeys them,
// and returns when that was.
func (m *mesh) arrives(streamed, inForce []destination.Target) time.Time {
	m.t.Helper()
	began := time.Now()
	ctx, stop := context.WithTimeout(m.t.Context(), testbox.Patience)
	defer stop()
	_, err := box.linkerd.AwaitTargets(ctx, m.authority("web"), func(got []destination.Target) bool { return cmp.Equal(streamed, got) })
	if err != nil {
		m.t.Fatal(err)
	}
	heard := time.Since(began)
	testbox.Eventually(m.t, "targets in force in the proxy", func(ctx context.Context) error {
		got, err := outbound.InForce(ctx, box.Control.DialContext, m.proxyIP+":4191", m.authority("web"))
		if diff := cmp.Diff(inForce, got); err == nil && diff != "" {
			err = errors.New(diff)
		}
		return err
	})
	m.t.Logf("streamed after %s, in force after %s", heard.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	return time.Now()
}

// load starts a load on web through the proxy and returns its log.
func (m *mesh) load(protocol load.Protocol, rate int) *load.Log {
	m.t.Helper()
	return box.Load(m.t, string(protocol)+"-"+m.namespace, "--protocol="+string(protocol),
		"--target=http://"+m.proxyIP+":4140/shop.Shop/Buy", "--host=web."+m.namespace+".svc.cluster.local", "--rate="+strconv.Itoa(rate))
}

// shareIs measures the canary's share of the requests that were due for a time
// since from, and fails the test if it is not what a weight of p gives.
func (m *mesh) shareIs(log *load.Log, from time.Time, p float64) {
	m.t.Helper()
	testbox.ShareIs(m.t, testbox.Count(m.t, log, from, 2500*time.Millisecond), "canary", p)
}
