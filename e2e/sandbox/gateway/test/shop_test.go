//go:build e2e

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// shop is a namespace with versions of the demo app behind the gateway. Its
// name is also the hostname of its routes.
type shop struct {
	t    *testing.T
	name string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	namespace, err := box.core.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, name: namespace.Name}
	t.Cleanup(func() {
		// Without their pods the namespaces hold nothing that costs the next
		// test time.
		err := box.core.AppsV1().Deployments(s.name).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// deploy creates a Deployment and its Service for a version, and waits for the
// pods.
func (s *shop) deploy(version string, replicas int32, env ...corev1.EnvVar) {
	s.t.Helper()
	labels := map[string]string{"app": version}
	// Few pods come and go here at a time, and the test waits for each.
	env = append([]corev1.EnvVar{{Name: "DRAIN", Value: "3s"}}, env...)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: version},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{
				TerminationGracePeriodSeconds: ptr.To[int64](20),
				Containers: []corev1.Container{{
					Name: "shop", Image: "weir.dev/shop:" + version, Env: env,
					Ports: []corev1.ContainerPort{{ContainerPort: 8080}},
					ReadinessProbe: &corev1.Probe{
						PeriodSeconds: 1,
						ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
					},
				}},
			}},
		},
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: version}, Spec: corev1.ServiceSpec{
		Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if _, err := box.core.CoreV1().Services(s.name).Create(s.t.Context(), service, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	if _, err := box.core.AppsV1().Deployments(s.name).Create(s.t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.rolledOut(version)
}

// rolledOut waits until a Deployment is what it is to be: its old pods gone,
// its new ones available and known to the gateway.
func (s *shop) rolledOut(version string) {
	s.t.Helper()
	eventually(s.t, "Deployment "+version, func(ctx context.Context) error {
		d, err := box.core.AppsV1().Deployments(s.name).Get(ctx, version, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		want, st := *d.Spec.Replicas, d.Status
		if st.ObservedGeneration != d.Generation || st.UpdatedReplicas != want || st.AvailableReplicas != want || st.Replicas != want {
			return fmt.Errorf("%d of %d updated, %d available of %d", st.UpdatedReplicas, want, st.AvailableReplicas, st.Replicas)
		}
		pods, err := box.core.CoreV1().Pods(s.name).List(ctx, metav1.ListOptions{LabelSelector: "app=" + version})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		if len(pods.Items) != int(want) {
			return fmt.Errorf("%d pods, want %d", len(pods.Items), want)
		}
		return nil
	})
}

func (s *shop) scale(version string, replicas int) {
	s.t.Helper()
	s.patch(version, fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
	s.rolledOut(version)
}

// restart rolls a Deployment to new pods, as kubectl rollout restart does.
func (s *shop) restart(version string) {
	s.t.Helper()
	s.patch(version, fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().String()))
	s.rolledOut(version)
}

func (s *shop) patch(version, patch string) {
	s.t.Helper()
	deployments := box.core.AppsV1().Deployments(s.name)
	if _, err := deployments.Patch(s.t.Context(), version, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// share is a version and its weight.
type share struct {
	version string
	weight  int32
}

func backendRefs(shares []share) []gwv1.HTTPBackendRef {
	var refs []gwv1.HTTPBackendRef
	for _, sh := range shares {
		refs = append(refs, gwv1.HTTPBackendRef{BackendRef: backendRef(sh)})
	}
	return refs
}

func backendRef(sh share) gwv1.BackendRef {
	return gwv1.BackendRef{
		BackendObjectReference: gwv1.BackendObjectReference{Name: gwv1.ObjectName(sh.version), Port: ptr.To[gwv1.PortNumber](80)},
		Weight:                 &sh.weight,
	}
}

func (s *shop) parents() gwv1.CommonRouteSpec {
	return gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "sandbox", Namespace: ptr.To[gwv1.Namespace]("default")}}}
}

// route creates the HTTPRoute of the shop and waits until it is in force.
func (s *shop) route(rule gwv1.HTTPRouteRule) {
	s.t.Helper()
	route := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: gwv1.HTTPRouteSpec{
		CommonRouteSpec: s.parents(), Hostnames: []gwv1.Hostname{gwv1.Hostname(s.name)}, Rules: []gwv1.HTTPRouteRule{rule},
	}}
	if _, err := box.gw.GatewayV1().HTTPRoutes(s.name).Create(s.t.Context(), route, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.inForce()
}

// shift changes the weights and returns the time at which the route's status
// had said that they are in force.
func (s *shop) shift(shares ...share) time.Time {
	s.t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backendRefs(shares)}})
	if err != nil {
		s.t.Fatal(err)
	}
	routes := box.gw.GatewayV1().HTTPRoutes(s.name)
	if _, err := routes.Patch(s.t.Context(), "shop", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
	return s.inForce()
}

func (s *shop) inForce() time.Time {
	s.t.Helper()
	eventually(s.t, "HTTPRoute", func(ctx context.Context) error {
		r, err := box.gw.GatewayV1().HTTPRoutes(s.name).Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		return inForce(r.Generation, r.Status.Parents)
	})
	return time.Now()
}

// inForce returns an error unless all conditions of the one parent are true
// and of the generation.
func inForce(generation int64, parents []gwv1.RouteParentStatus) error {
	if len(parents) != 1 || len(parents[0].Conditions) != 2 {
		return fmt.Errorf("parents %+v, want one with two conditions", parents)
	}
	for _, c := range parents[0].Conditions {
		if c.Status != metav1.ConditionTrue || c.ObservedGeneration != generation {
			return fmt.Errorf("condition %+v, want it true for generation %d", c, generation)
		}
	}
	return nil
}

// load starts a load on the shop through the gateway and returns its log.
func (s *shop) load(rate int, flags ...string) *load.Log {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "load.log")
	name := "load-" + s.name
	args := append([]string{
		"load", "--name=" + name, "--target=http://10.0.0.3/shop.Shop/Buy", "--host=" + s.name, "--rate=" + strconv.Itoa(rate),
		"--duration=10m", "--bind=10.244.250.1", "--out=" + path,
	}, flags...)
	if err := box.control.Start(s.t.Context(), control.Process{Name: name, Path: box.binary, Args: args, Env: os.Environ()}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := box.control.Stop(context.Background(), name, 10*time.Second); err != nil {
			s.t.Error(err)
		}
	})
	var log *load.Log
	eventually(s.t, "load", func(context.Context) (err error) {
		if log, err = load.Open(path); err == nil && log.Totals().Responses == 0 {
			err = fmt.Errorf("no response yet")
		}
		return err
	})
	return log
}

// count waits until the load has gone on for a time since from and returns the
// responses to the requests that were due in it.
func (s *shop) count(log *load.Log, from time.Time, over time.Duration) load.Counts {
	s.t.Helper()
	// The last requests have some time to be answered.
	const answers = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(s.t.Context(), over+patience)
	defer cancel()
	if err := log.WaitCovered(ctx, from.Add(over+answers)); err != nil {
		s.t.Fatal(err)
	}
	return log.DueBetween(from, from.Add(over))
}

// noneBad fails the test if any response so far is bad, or any request could
// not be sent.
func (s *shop) noneBad(log *load.Log) {
	s.t.Helper()
	if err := log.Refresh(); err != nil {
		s.t.Fatal(err)
	}
	if first, ok := log.FirstBad(time.Time{}); ok {
		s.t.Errorf("%d bad responses of %d, the first %+v: %v", log.All().Bad().Total(), log.Totals().Responses, first, log.All().Bad())
	}
	if n := log.Totals().Unsent; n != 0 {
		s.t.Errorf("%d requests could not be sent", n)
	}
}

// shareIs fails the test if the share of a version is not what a weight of p
// gives.
func (s *shop) shareIs(c load.Counts, version string, p float64) {
	s.t.Helper()
	got, of := c.Share(version)
	low, high := load.ShareBounds(p, of, 4)
	if p == 0 || p == 1 {
		low, high = p, p // nothing is drawn: not one request may go astray
	}
	if !(low <= got && got <= high) {
		s.t.Errorf("share of %s is %.4f of %d, want %.4f to %.4f: %v", version, got, of, low, high, c)
	}
}

// metrics returns the gateway's metrics.
func metrics(t *testing.T) *http.Response {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: box.control.DialContext, DisableKeepAlives: true}}
	response, err := client.Get("http://10.0.0.3:9100/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return response
}
