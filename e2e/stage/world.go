// Package stage sets the scene for suites, the demo and the benchmark: a
// sandbox with Weir's chart installed and its controller running, and shops in
// it, each a Deployment of real processes behind a Service and a route, with
// load and a Rollout.
package stage

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
)

const (
	// ControllerName is the supervised process that is the first controller.
	ControllerName = "weir"
	// controllerIP is where its metrics and health are, inside the sandbox.
	controllerIP = "10.0.0.4"
	// PrometheusURL and gatewayURL are inside the sandbox, too.
	PrometheusURL = "http://10.0.0.2:9090"
	gatewayURL    = "http://10.0.0.3"
	// drainDelay is capacity.scaleDownDelay of the shops: long enough for the
	// gateway to have taken the endpoints away, short enough for a suite.
	drainDelay = "2s"
)

// World is a sandbox with Weir in it.
type World struct {
	*harness.Sandbox
	// Admin may do everything; GitOps is a developer's robot.
	Admin, GitOps client.WithWatch
	// hold is how the controller holds new templates.
	hold v1alpha1.HoldMode
	// dir holds the logs of loads.
	dir string
}

// Options say what Weir is like in a world.
type Options struct {
	// ControllerArgs are further flags of the controller.
	ControllerArgs []string
	// WithoutMutatingPolicies is for a sandbox that does not know
	// MutatingAdmissionPolicy.
	WithoutMutatingPolicies bool
	// WithoutController leaves starting it to the caller.
	WithoutController bool
	// GoldenSignals has the chart make its template of what a mesh counts.
	GoldenSignals bool
	// Namespaces are made, and are those that Weir works in. Absent: all.
	Namespaces []string
}

// values of the chart.
func (o Options) values() map[string]any {
	namespaces := make([]any, 0, len(o.Namespaces))
	for _, name := range o.Namespaces {
		namespaces = append(namespaces, name)
	}
	return map[string]any{
		"mutatingAdmissionPolicy": map[string]any{"enabled": !o.WithoutMutatingPolicies},
		"watchNamespaces":         namespaces,
		"analysisTemplates":       map[string]any{"goldenSignals": map[string]any{"create": o.GoldenSignals}},
	}
}

// Scheme knows every kind that the suites use.
func Scheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, appsv1.AddToScheme, rbacv1.AddToScheme, discoveryv1.AddToScheme, eventsv1.AddToScheme, policyv1.AddToScheme,
		autoscalingv2.AddToScheme, authorizationv1.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // a kind registered twice: wrong at build time
		}
	}
	return scheme
}

// NewWorld installs the chart into a sandbox and starts the controller there.
func NewWorld(ctx context.Context, s *harness.Sandbox, opts Options) (*World, error) {
	// What the libraries log is no part of what is shown or measured.
	log.SetLogger(logr.Discard())
	w := &World{Sandbox: s, dir: filepath.Join(s.Dir, "loads")}
	if err := os.MkdirAll(w.dir, 0o750); err != nil {
		return nil, fmt.Errorf("cannot make a folder for logs: %w", err)
	}
	for user, c := range map[harness.User]*client.WithWatch{harness.Admin: &w.Admin, harness.GitOps: &w.GitOps} {
		watcher, err := w.client(user)
		if err != nil {
			return nil, err
		}
		*c = watcher
	}
	w.hold = v1alpha1.HoldAdmissionPolicy
	if opts.WithoutMutatingPolicies {
		w.hold = v1alpha1.HoldPaused
	}
	for _, name := range opts.Namespaces {
		if _, err := w.NewNamespace(ctx, name); err != nil {
			return nil, err
		}
		opts.ControllerArgs = append(opts.ControllerArgs, "--namespace="+name)
	}
	if err := chart.Install(ctx, w.Admin, chart.InstallOptions{WithoutController: true, Values: opts.values()}); err != nil {
		return nil, fmt.Errorf("cannot install the chart: %w", err)
	}
	if err := w.createMetricSource(ctx); err != nil {
		return nil, err
	}
	if opts.WithoutController {
		return w, nil
	}
	return w, w.StartController(ctx, ControllerName, opts.ControllerArgs...)
}

// client is a user's client that can watch.
func (w *World) client(user harness.User) (client.WithWatch, error) {
	config, err := w.Config(user)
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: Scheme()})
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", user, err)
	}
	return c, nil
}

// createMetricSource names the sandbox's Prometheus as the default source.
func (w *World) createMetricSource(ctx context.Context) error {
	source := &v1alpha1.MetricSource{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "prometheus",
			Annotations: map[string]string{v1alpha1.DefaultMetricSourceAnnotation: "true"},
		},
		Spec: v1alpha1.MetricSourceSpec{
			Type: "Prometheus",
			Prometheus: &v1alpha1.PrometheusSource{
				URL: PrometheusURL,
				RequestsByService: &v1alpha1.ServiceRequests{
					Total: "sandbox_gateway_requests_total", ServiceLabel: "service", NamespaceLabel: "namespace",
				},
			},
		},
	}
	if err := w.Admin.Create(ctx, source); err != nil {
		return fmt.Errorf("cannot create the MetricSource: %w", err)
	}
	return nil
}

// StartController starts a controller as a supervised process of the given name
// and does not wait for it: suites wait for what it does.
func (w *World) StartController(ctx context.Context, name string, args ...string) error {
	binary, err := harness.Binary("weir")
	if err != nil {
		return err
	}
	command := append([]string{
		"start", name, "--", binary, "controller",
		"--kubeconfig", filepath.Join(w.Dir, "kubeconfigs", "weir.yaml"),
		"--hold", string(w.hold),
		"--leader-election-namespace", chart.Namespace,
		"--metrics-bind-address", controllerIP + ":8080",
		"--health-probe-bind-address", controllerIP + ":8081",
	}, args...)
	if _, err := w.Run(ctx, command...); err != nil {
		return fmt.Errorf("cannot start the controller: %w", err)
	}
	return nil
}

// ControllerLog is what a controller has printed.
func (w *World) ControllerLog(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	out, err := w.Run(ctx, "logs", ControllerName)
	if err != nil {
		return err.Error()
	}
	return out
}
