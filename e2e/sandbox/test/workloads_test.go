//go:build e2e

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// deploy creates a Deployment and deletes it after the test.
func deploy(t *testing.T, name string, replicas int32, spec corev1.PodSpec, annotations map[string]string) {
	t.Helper()
	labels := map[string]string{"app": name}
	deployments := shared.Kube.AppsV1().Deployments("default")
	_, err := deployments.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}, Spec: spec},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := deployments.Delete(context.Background(), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

func waitAvailable(t *testing.T, name string, want int32) {
	t.Helper()
	testbox.Eventually(t, "Deployment "+name, func(ctx context.Context) error {
		d, err := shared.Kube.AppsV1().Deployments("default").Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if d.Status.AvailableReplicas != want {
			return fmt.Errorf("%w: %d of %d available", errNotYet, d.Status.AvailableReplicas, want)
		}
		return nil
	})
}

// The demo app runs behind a Service, states its version and is scraped.
func TestShop(t *testing.T) {
	t.Parallel()
	deploy(t, "shop", 2, corev1.PodSpec{Containers: []corev1.Container{{
		Name:           "shop",
		Image:          "weir.dev/shop:v7",
		Ports:          []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: testbox.HTTPProbe("/healthz", intstr.FromString("http")),
	}}}, map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"})
	waitAvailable(t, "shop", 2)

	service, err := shared.Kube.CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "shop"},
			Ports:    []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Service", func(t *testing.T) {
		if !shared.KubeProxy {
			t.Skipf("no ClusterIPs here: %s", shared.KubeProxyReason)
		}
		waitVersion(t, func(ctx context.Context) *exec.Cmd {
			return shared.Command(ctx, "exec", "--", "curl", "-s", "-m", "1", "http://"+service.Spec.ClusterIP)
		})
	})
	t.Run("Gateway", func(t *testing.T) {
		apply := shared.Command(t.Context(), "kubectl", "apply", "-f", "-")
		apply.Stdin = strings.NewReader(shopRoute)
		testbox.MustRun(t, apply)
		waitVersion(t, func(ctx context.Context) *exec.Cmd {
			return exec.CommandContext(ctx, "curl", "-s", "-m", "1", "-H", "Host: shop.example", shared.GatewayURL)
		})
	})
	t.Run("Prometheus", func(t *testing.T) {
		testbox.Eventually(t, "targets", func(ctx context.Context) error {
			query := `count by (job, namespace) (up{pod=~"shop-.+",pod_template_hash!=""} == 1)`
			out, err := testbox.Output(exec.CommandContext(ctx, "curl", "-s", "-m", "2", "-G", "--data-urlencode", "query="+query, shared.PrometheusURL+"/api/v1/query"))
			if err != nil {
				return err
			}
			type sample struct {
				Metric map[string]string
				Value  [2]any
			}
			var answer struct{ Data struct{ Result []sample } }
			if err := json.Unmarshal([]byte(out), &answer); err != nil {
				return fmt.Errorf("cannot parse %q: %w", out, err)
			}
			if len(answer.Data.Result) != 1 || answer.Data.Result[0].Value[1] != "2" {
				return fmt.Errorf("%w: %s", errNotYet, out)
			}
			want := map[string]string{"job": "pods", "namespace": "default"}
			if diff := cmp.Diff(want, answer.Data.Result[0].Metric); diff != "" {
				return fmt.Errorf("%w: labels (-want +got):\n%s", errNotYet, diff)
			}
			return nil
		})
	})
}

const shopRoute = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: default}
spec:
  parentRefs: [{name: sandbox}]
  hostnames: [shop.example]
  rules:
  - backendRefs: [{name: shop, port: 80}]
`

// waitVersion waits until a command prints the shop's answer, with the tag of
// its image as the version.
func waitVersion(t *testing.T, command func(ctx context.Context) *exec.Cmd) {
	t.Helper()
	testbox.Eventually(t, "answer of the shop", func(ctx context.Context) error {
		out, err := testbox.Output(command(ctx))
		if err != nil {
			return err
		}
		var answer struct{ Version string }
		if err := json.Unmarshal([]byte(out), &answer); err != nil {
			return fmt.Errorf("cannot parse %q: %w", out, err)
		}
		if diff := cmp.Diff("v7", answer.Version); diff != "" {
			return fmt.Errorf("%w: version (-want +got):\n%s", errNotYet, diff)
		}
		return nil
	})
}

// Bulk pods come and go by the hundred; those told so never get ready.
func TestBulk(t *testing.T) {
	t.Parallel()
	spec := corev1.PodSpec{
		NodeSelector: map[string]string{"weir.dev/bulk": "true"},
		Tolerations:  []corev1.Toleration{{Key: "weir.dev/bulk", Operator: corev1.TolerationOpExists}},
		Containers:   []corev1.Container{{Name: "main", Image: "none"}},
	}
	deploy(t, "bulk-good", 300, spec, nil)
	deploy(t, "bulk-bad", 3, spec, map[string]string{"weir.dev/ready": "false"})
	waitAvailable(t, "bulk-good", 300)

	pods := shared.Kube.CoreV1().Pods("default")
	good, err := pods.List(t.Context(), metav1.ListOptions{LabelSelector: "app=bulk-good"})
	if err != nil {
		t.Fatal(err)
	}
	ips := map[string]bool{}
	for _, p := range good.Items {
		ips[p.Status.PodIP] = true
	}
	if len(ips) != 300 {
		t.Errorf("300 pods have %d addresses", len(ips))
	}
	testbox.Eventually(t, "unready pods", func(ctx context.Context) error {
		bad, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app=bulk-bad"})
		if err != nil {
			return err
		}
		for _, p := range bad.Items {
			if diff := cmp.Diff(summary{Phase: corev1.PodRunning}, summarize(&p)); diff != "" {
				return fmt.Errorf("%w (-want +got):\n%s", errNotYet, diff)
			}
		}
		return nil
	})
	err = shared.Kube.AppsV1().Deployments("default").Delete(t.Context(), "bulk-good",
		metav1.DeleteOptions{PropagationPolicy: ptr.To(metav1.DeletePropagationForeground)})
	if err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "end of the pods", func(ctx context.Context) error {
		left, err := pods.List(ctx, metav1.ListOptions{LabelSelector: "app=bulk-good"})
		if err != nil {
			return err
		}
		if len(left.Items) > 0 {
			return fmt.Errorf("%w: %d left", errNotYet, len(left.Items))
		}
		return nil
	})
}
