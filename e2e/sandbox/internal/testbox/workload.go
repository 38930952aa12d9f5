package testbox

import (
	"context"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// Namespace creates a namespace whose name begins with prefix, and returns its
// name.
func (s *Sandbox) Namespace(t testing.TB, prefix string) string {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: prefix}}
	namespace, err := s.Kube.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return namespace.Name
}

// HTTPProbe asks for a path every second.
func HTTPProbe(path string, port intstr.IntOrString) *corev1.Probe {
	return &corev1.Probe{
		PeriodSeconds: 1,
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: port}},
	}
}

// Shop is a container of the demo app, on port 8080.
func Shop(version string, env ...corev1.EnvVar) corev1.Container {
	return corev1.Container{
		Name: "shop", Image: "weir.dev/shop:" + version,
		// Few pods come and go at a time, and the tests wait for each.
		Env:            append([]corev1.EnvVar{{Name: "DRAIN", Value: "3s"}}, env...),
		Ports:          []corev1.ContainerPort{{ContainerPort: 8080}},
		ReadinessProbe: HTTPProbe("/healthz", intstr.FromInt32(8080)),
	}
}

// Deploy creates a Deployment whose pods have label app with its name. It does
// not wait for them.
func (s *Sandbox) Deploy(t testing.TB, namespace, name string, replicas int32, container corev1.Container) {
	t.Helper()
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
	if _, err := s.Kube.AppsV1().Deployments(namespace).Create(t.Context(), deployment, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Expose creates a Service whose port 80 is port 8080 of the pods with label app.
func (s *Sandbox) Expose(t testing.TB, namespace, name, app string) {
	t.Helper()
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": app}, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(8080)}},
	}}
	if _, err := s.Kube.CoreV1().Services(namespace).Create(t.Context(), service, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Scale gives a Deployment of Deploy a number of replicas and waits for them.
func (s *Sandbox) Scale(t testing.TB, namespace, name string, replicas int) {
	t.Helper()
	s.patch(t, namespace, name, fmt.Sprintf(`{"spec":{"replicas":%d}}`, replicas))
}

// Restart rolls a Deployment of Deploy to new pods, as kubectl rollout restart
// does, and waits for them.
func (s *Sandbox) Restart(t testing.TB, namespace, name string) {
	t.Helper()
	s.patch(t, namespace, name, fmt.Sprintf(`{"spec":{"template":{"metadata":{"annotations":{"restarted":%q}}}}}`, time.Now().String()))
}

func (s *Sandbox) patch(t testing.TB, namespace, name, patch string) {
	t.Helper()
	deployments := s.Kube.AppsV1().Deployments(namespace)
	if _, err := deployments.Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	s.RolledOut(t, namespace, name)
}

// RolledOut waits until a Deployment of Deploy is what it is to be: its new pods
// available, its old ones gone.
func (s *Sandbox) RolledOut(t testing.TB, namespace, name string) {
	t.Helper()
	Eventually(t, "Deployment "+name, func(ctx context.Context) error {
		d, err := s.Kube.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("cannot read it: %w", err)
		}
		want, st := *d.Spec.Replicas, d.Status
		if st.ObservedGeneration != d.Generation || st.UpdatedReplicas != want || st.AvailableReplicas != want || st.Replicas != want {
			return fmt.Errorf("%d of %d updated, %d available of %d", st.UpdatedReplicas, want, st.AvailableReplicas, st.Replicas)
		}
		// Pods that end are in no status, but in the list.
		pods, err := s.Kube.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: "app=" + name})
		if err != nil {
			return fmt.Errorf("cannot list its pods: %w", err)
		}
		if len(pods.Items) != int(want) {
			return fmt.Errorf("%d pods, want %d", len(pods.Items), want)
		}
		return nil
	})
}
