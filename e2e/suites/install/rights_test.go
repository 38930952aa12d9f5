// Package install proves that the controller has the rights that it uses and no
// others: it runs releases of every kind, and compares the API server's audit log
// with the chart's roles, in both modes of the chart.
package install

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// patience bounds each wait.
const patience = 90 * time.Second

// namespaces of the stories.
const routed, grpc, native, volume, stranger = "routed", "grpc", "native", "volume", "stranger"

// namespaces are all of them.
func namespaces() []string { return []string{routed, grpc, native, volume, stranger} }

// unused rights, with the reason why they are granted all the same.
func unused() map[right]string {
	const (
		informer = "informers of an API server older than 1.34 list before they watch"
		linkerd  = "asked for where the cluster serves Linkerd's kinds, which it does not here"
		istio    = "asked for where the cluster serves Istio's kinds, which it does not here"
		series   = "an event that comes again is written as a series, after minutes"
	)
	return map[right]string{
		"list weir.dev/rollouts":                            informer,
		"list weir.dev/analysistemplates":                   informer,
		"list weir.dev/clusteranalysistemplates":            informer,
		"list weir.dev/metricsources":                       informer,
		"patch events.k8s.io/events":                        series,
		"update weir.dev/rollouts/finalizers":               "asked for by the plugin OwnerReferencesPermissionEnforcement, which is off here",
		"list gateway.networking.k8s.io/backendtlspolicies": "asked for where the cluster serves that kind, which it does not here",
		"get linkerd.io/serviceprofiles":                    linkerd,
		"list linkerd.io/serviceprofiles":                   linkerd,
		"watch linkerd.io/serviceprofiles":                  linkerd,
		"patch linkerd.io/serviceprofiles":                  linkerd,
		"get networking.istio.io/virtualservices":           istio,
		"list networking.istio.io/virtualservices":          istio,
		"watch networking.istio.io/virtualservices":         istio,
		"patch networking.istio.io/virtualservices":         istio,
		"list networking.istio.io/destinationrules":         istio,
		"get gateway.networking.k8s.io/gatewayclasses":      "asked for where two controllers have answered for a Gateway",
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestEverywhere is the chart as it comes.
func TestEverywhere(t *testing.T) {
	s := audited(t, "rights")
	w, err := stage.NewWorld(t.Context(), s, stage.Options{})
	must(t, err)
	for _, name := range namespaces() {
		_, err := w.NewNamespace(t.Context(), name)
		must(t, err)
	}
	stories(t, w)
	used, refused := asked(t, s)
	compare(t, granted(t, nil), used, refused, unused())
}

// TestNamespaces is the chart for some namespaces, in which everything works with
// rights there alone, and outside of which Weir does nothing.
func TestNamespaces(t *testing.T) {
	s := audited(t, "rights-namespaces")
	w, err := stage.NewWorld(t.Context(), s, stage.Options{Namespaces: namespaces()})
	must(t, err)
	outside, err := w.NewShop(t.Context(), "outside", stage.ShopOptions{Replicas: 1, Native: true})
	must(t, err)
	must(t, outside.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{}))
	stories(t, w)
	used, refused := asked(t, s)
	compare(t, granted(t, map[string]any{"watchNamespaces": []any{routed}}), used, refused, unused())

	r, err := outside.Rollout(t.Context())
	must(t, err)
	d, err := outside.Deployment(t.Context())
	must(t, err)
	if r.Status.ObservedGeneration != 0 || d.Labels[v1alpha1.RolloutLabel] != "" {
		t.Errorf("Weir has a hand in a namespace that it was not given: %+v, labels %v", r.Status, d.Labels)
	}
}

// stories are releases that between them use what the controller can do.
func stories(t *testing.T, w *stage.World) {
	t.Helper()
	securedSource(t, w)
	t.Run("stories", func(t *testing.T) {
		for name, story := range map[string]func(*testing.T, *stage.Shop){
			routed: routedStory, grpc: grpcStory, native: nativeStory, volume: volumeStory, stranger: strangerStory,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				story(t, &stage.Shop{World: w, Namespace: name})
			})
		}
	})
	if t.Failed() { // what was not run used no rights
		t.Fatal(w.ControllerLog(t.Context()))
	}
}

// securedSource is a MetricSource whose Secret the controller has to read.
func securedSource(t *testing.T, w *stage.World) {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: chart.Namespace, Name: "prometheus"},
		StringData: map[string]string{"config.yaml": "bearer_token: secret\n"},
	}
	source := &v1alpha1.MetricSource{
		ObjectMeta: metav1.ObjectMeta{Name: "secured"},
		Spec: v1alpha1.MetricSourceSpec{Type: "Prometheus", Prometheus: &v1alpha1.PrometheusSource{
			URL: "http://10.0.0.2:9090", HTTPConfigSecretRef: &v1alpha1.SecretReference{Name: secret.Name},
		}},
	}
	must(t, w.Admin.Create(t.Context(), secret))
	must(t, w.Admin.Create(t.Context(), source))
}

// routedStory has a promotion by analysis and approval, a rollback by metrics, and a
// Rollout that is deleted after it.
func routedStory(t *testing.T, s *stage.Shop) {
	must(t, s.CreateShop(t.Context(), stage.ShopOptions{}))
	must(t, s.Admin.Create(t.Context(), &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name},
		Spec:       policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: stage.Labels()}},
	}))
	_, err := s.LoadThroughGateway(t.Context(), 60)
	must(t, err)
	analysis, err := s.ErrorsTemplate(t.Context())
	must(t, err)
	var template v1alpha1.AnalysisTemplate
	must(t, s.Admin.Get(t.Context(), client.ObjectKey{Namespace: s.Namespace, Name: "errors"}, &template))
	must(t, s.Admin.Create(t.Context(), &v1alpha1.ClusterAnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Name: "errors"}, Spec: template.Spec}))
	analysis.TemplateRefs = append(analysis.TemplateRefs, v1alpha1.TemplateReference{Kind: "ClusterAnalysisTemplate", Name: "errors"})
	step := stage.Weight(50)
	step.Gates = &v1alpha1.Gates{Approvals: []v1alpha1.ApprovalGate{{Name: "leads"}}}
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: stage.RouteRefs(), Analysis: analysis, Steps: []v1alpha1.Step{stage.Weight(20), step, stage.Hold(100, "1s")},
	}))
	must(t, s.Release(t.Context(), "v2", nil))
	await(t, s, "the question", stage.InState(v1alpha1.ReasonWaitingForApproval))
	run(t, s, "approve", stage.Name, "leads")
	await(t, s, "the promotion", stage.Promoted(1))

	must(t, s.Release(t.Context(), "v3", map[string]string{"ERROR_RATE": "0.5"}))
	await(t, s, "the rollback", stage.RolledBack(2))
	deleteRollout(t, s)
}

// grpcStory has a GRPCRoute.
func grpcStory(t *testing.T, s *stage.Shop) {
	must(t, s.CreateShop(t.Context(), stage.ShopOptions{Native: true, Replicas: 2}))
	must(t, s.Admin.Create(t.Context(), &gatewayv1.GRPCRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name},
		Spec: gatewayv1.GRPCRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{
				ParentRefs: []gatewayv1.ParentReference{{Namespace: ptr.To(gatewayv1.Namespace("default")), Name: "sandbox"}},
			},
			Hostnames: []gatewayv1.Hostname{gatewayv1.Hostname(s.Host())},
			Rules: []gatewayv1.GRPCRouteRule{{BackendRefs: []gatewayv1.GRPCBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: stage.Name, Port: ptr.To[gatewayv1.PortNumber](80)},
			}}}}},
		},
	}))
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
		Traffic: &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "GRPCRoute", Name: stage.Name}}},
		Steps:   []v1alpha1.Step{stage.Hold(50, "1s"), stage.Hold(100, "1s")},
	}))
	must(t, s.Release(t.Context(), "v2", nil))
	await(t, s, "the promotion", stage.Promoted(1))
}

// nativeStory has no route, and a Rollout that is deleted in mid-release.
func nativeStory(t *testing.T, s *stage.Shop) {
	must(t, s.CreateShop(t.Context(), stage.ShopOptions{Native: true, Replicas: 2}))
	must(t, s.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{stage.Hold(50, "1h")}}))
	must(t, s.Release(t.Context(), "v2", nil))
	await(t, s, "the first step", stage.AtStep(0))
	deleteRollout(t, s)
}

// volumeStory has a volume that one node alone can mount, which Weir has to look up.
func volumeStory(t *testing.T, s *stage.Shop) {
	must(t, s.Admin.Create(t.Context(), &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}))
	must(t, s.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{}))
	manifests, err := s.Manifests("v1", false)
	must(t, err)
	_, _, err = s.Kubectl(t.Context(), harness.Admin, manifests, "apply", "-n", s.Namespace, "-f", "-")
	must(t, err)
	_, _, err = s.Kubectl(t.Context(), harness.Admin, "", "patch", "deployment", stage.Name, "-n", s.Namespace, "-p",
		`{"spec": {"template": {"spec": {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}}}}`)
	must(t, err)
	await(t, s, "the volume to be refused", stage.InState(v1alpha1.ReasonUnsupported))
}

// strangerStory has a pod behind the Service that is none of the workload's, and a
// Gateway that has not reported on the route: Weir has to look both up.
func strangerStory(t *testing.T, s *stage.Shop) {
	must(t, s.CreateShop(t.Context(), stage.ShopOptions{Replicas: 1, Deployment: func(d *appsv1.Deployment) {
		d.Spec.Selector.MatchLabels = map[string]string{"app": stage.Name, "part": "web"}
		d.Spec.Template.Labels = d.Spec.Selector.MatchLabels
	}}))
	d, err := s.Deployment(t.Context())
	must(t, err)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stranger, Labels: stage.Labels()}, Spec: d.Spec.Template.Spec}
	must(t, s.Admin.Create(t.Context(), pod))
	harness.Eventually(t, patience, "the stranger to serve", func(ctx context.Context) error {
		if err := s.Admin.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		if len(pod.Status.ContainerStatuses) == 0 || !pod.Status.ContainerStatuses[0].Ready {
			return fmt.Errorf("it is %s", pod.Status.Phase)
		}
		return nil
	})
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name}}
	must(t, harness.Edit(t.Context(), s.Admin, route, func(r *gatewayv1.HTTPRoute) {
		r.Spec.ParentRefs = append(r.Spec.ParentRefs, gatewayv1.ParentReference{Name: "nowhere"})
	}))
	must(t, s.CreateRolloutOnly(t.Context(), v1alpha1.RolloutSpec{Traffic: stage.RouteRefs()}))
	await(t, s, "the stranger to be named", func(r *v1alpha1.Rollout) bool { return strings.Contains(stage.Message(r), stranger) })
}

func await(t *testing.T, s *stage.Shop, what string, ok stage.Condition) {
	t.Helper()
	_, err := s.Await(t.Context(), what, patience, ok)
	must(t, err)
}

// run runs the command line as the administrator.
func run(t *testing.T, s *stage.Shop, args ...string) {
	t.Helper()
	out, code, err := s.CLI(t.Context(), harness.Admin, args...)
	must(t, err)
	if code != 0 {
		t.Fatalf("weir %v left with %d: %s", args, code, out)
	}
}

// deleteRollout deletes the Rollout and waits until Weir has let it go.
func deleteRollout(t *testing.T, s *stage.Shop) {
	t.Helper()
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name}}
	must(t, s.Admin.Delete(t.Context(), r))
	harness.Eventually(t, patience, "the Rollout to be gone", func(ctx context.Context) error {
		err := s.Admin.Get(ctx, client.ObjectKeyFromObject(r), r)
		if client.IgnoreNotFound(err) != nil {
			return err
		}
		if err == nil {
			return errors.New(stage.Describe(r))
		}
		return nil
	})
	if _, err := s.Deployment(t.Context()); err != nil {
		t.Fatal(fmt.Errorf("the workload is gone with its Rollout: %w", err))
	}
}
