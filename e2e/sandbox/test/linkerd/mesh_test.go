//go:build e2e

package linkerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/dynamic"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/e2e/sandbox/control"
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
	namespace, err := box.core.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "mesh-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	m := &mesh{t: t, namespace: namespace.Name}
	m.service("web", "stable") // without a profile, callers get the stable version
	for _, version := range []string{"stable", "canary"} {
		m.service(version, version)
		m.deploy(version, 2, corev1.Container{
			Name: "shop", Image: "weir.dev/shop:" + version, Env: []corev1.EnvVar{{Name: "DRAIN", Value: "3s"}},
			Ports:          []corev1.ContainerPort{{ContainerPort: 8080}},
			ReadinessProbe: readiness("/healthz", 8080),
		})
	}
	m.deploy("proxy", 1, corev1.Container{
		Name: "proxy", Image: "weir.dev/linkerd-outbound:test",
		Ports:          []corev1.ContainerPort{{ContainerPort: 4140}},
		ReadinessProbe: readiness("/ready", 4191),
	})
	for _, name := range []string{"stable", "canary", "proxy"} {
		m.rolledOut(name)
	}
	m.proxyIP = m.podIP("proxy")
	return m
}

func readiness(path string, port int32) *corev1.Probe {
	return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
		HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(port)},
	}}
}

func (m *mesh) deploy(name string, replicas int32, container corev1.Container) {
	m.t.Helper()
	labels := map[string]string{"app": name}
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: ptr.To[int64](20), Containers: []corev1.Container{container},
			}},
		},
	}
	if _, err := box.core.AppsV1().Deployments(m.namespace).Create(m.t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mesh) service(name, app string) {
	m.t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if _, err := box.core.CoreV1().Services(m.namespace).Create(m.t.Context(), service, metav1.CreateOptions{}); err != nil {
		m.t.Fatal(err)
	}
}

// restart rolls a Deployment to new pods and waits until the old ones are gone.
func (m *mesh) restart(name string) {
	m.t.Helper()
	patch := fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().String())
	if _, err := box.core.AppsV1().Deployments(m.namespace).Patch(m.t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		m.t.Fatal(err)
	}
	m.rolledOut(name)
}

func (m *mesh) rolledOut(name string) {
	m.t.Helper()
	eventually(m.t, "Deployment "+name, func(ctx context.Context) error {
		d, err := box.core.AppsV1().Deployments(m.namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want, st := *d.Spec.Replicas, d.Status
		if st.ObservedGeneration != d.Generation || st.UpdatedReplicas != want || st.AvailableReplicas != want || st.Replicas != want {
			return fmt.Errorf("%d of %d updated, %d available of %d", st.UpdatedReplicas, want, st.AvailableReplicas, st.Replicas)
		}
		return nil
	})
}

func (m *mesh) podIP(app string) string {
	m.t.Helper()
	pods, err := box.core.CoreV1().Pods(m.namespace).List(m.t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
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
	ctx, stop := context.WithTimeout(m.t.Context(), patience)
	defer stop()
	_, err := box.linkerd.AwaitTargets(ctx, m.authority("web"), func(got []destination.Target) bool { return cmp.Equal(streamed, got) })
	if err != nil {
		m.t.Fatal(err)
	}
	heard := time.Since(began)
	eventually(m.t, "targets in force in the proxy", func(ctx context.Context) error {
		got, err := outbound.InForce(ctx, box.control.DialContext, m.proxyIP+":4191", m.authority("web"))
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
	path := filepath.Join(m.t.TempDir(), "load.log")
	name := string(protocol) + "-" + m.namespace
	args := []string{
		"load", "--name=" + name, "--protocol=" + string(protocol), "--target=http://" + m.proxyIP + ":4140/shop.Shop/Buy",
		"--host=web." + m.namespace + ".svc.cluster.local", "--rate=" + strconv.Itoa(rate), "--duration=10m", "--out=" + path,
	}
	if err := box.control.Start(m.t.Context(), control.Process{Name: name, Path: box.binary, Args: args, Env: os.Environ()}); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := box.control.Stop(context.Background(), name, 10*time.Second); err != nil {
			m.t.Error(err)
		}
	})
	var log *load.Log
	eventually(m.t, "load", func(context.Context) (err error) {
		if log, err = load.Open(path); err == nil && log.Totals().Responses == 0 {
			err = errors.New("no response yet")
		}
		return err
	})
	return log
}

// shareIs measures the canary's share of the requests that were due for a time
// since from, and fails the test if it is not what a weight of p gives.
func (m *mesh) shareIs(log *load.Log, from time.Time, p float64) {
	m.t.Helper()
	const over = 2500 * time.Millisecond
	ctx, cancel := context.WithTimeout(m.t.Context(), patience)
	defer cancel()
	if err := log.WaitCovered(ctx, from.Add(over+500*time.Millisecond)); err != nil {
		m.t.Fatal(err)
	}
	counts := log.DueBetween(from, from.Add(over))
	got, of := counts.Share("canary")
	low, high := load.ShareBounds(p, of, 4)
	if p == 0 || p == 1 {
		low, high = p, p // nothing is drawn: not one request may go astray
	}
	if !(low <= got && got <= high) {
		m.t.Errorf("share of the canary is %.4f of %d, want %.4f to %.4f: %v", got, of, low, high, counts)
	}
	m.t.Logf("share of the canary is %.4f of %d, for a weight of %v", got, of, p)
}

// noneBad fails the test if any response so far is bad, or any request could not
// be sent.
func (m *mesh) noneBad(log *load.Log) {
	m.t.Helper()
	if err := log.Refresh(); err != nil {
		m.t.Fatal(err)
	}
	if first, ok := log.FirstBad(time.Time{}); ok {
		m.t.Errorf("%d bad responses of %d, the first %+v: %v", log.All().Bad().Total(), log.Totals().Responses, first, log.All().Bad())
	}
	if n := log.Totals().Unsent; n != 0 {
		m.t.Errorf("%d requests could not be sent", n)
	}
	m.t.Logf("%d responses, none bad", log.Totals().Responses)
}
