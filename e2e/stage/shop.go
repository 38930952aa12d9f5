package stage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
)

// Name is the name of every object of a shop; its namespace tells it apart.
const Name = "shop"

// defaultReplicas of a shop's Deployment.
const defaultReplicas = 4

// Shop is an application in a namespace of its own.
type Shop struct {
	*World
	Namespace string
}

// ShopOptions say what a shop is like.
type ShopOptions struct {
	// Replicas of the Deployment; 0 means defaultReplicas.
	Replicas int32
	// Native leaves the route out.
	Native bool
	// Template is changed by this before it is written.
	Template func(*corev1.PodTemplateSpec)
	// Deployment is changed by this before it is written.
	Deployment func(*appsv1.Deployment)
}

// NewNamespace makes a shop's namespace, with nothing in it.
func (w *World) NewNamespace(ctx context.Context, namespace string) (*Shop, error) {
	if err := w.Admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}); err != nil {
		return nil, fmt.Errorf("cannot create namespace %s: %w", namespace, err)
	}
	return &Shop{World: w, Namespace: namespace}, nil
}

// NewShop opens a shop at version v1 and waits until it serves.
func (w *World) NewShop(ctx context.Context, namespace string, opts ShopOptions) (*Shop, error) {
	s, err := w.NewNamespace(ctx, namespace)
	if err != nil {
		return nil, err
	}
	return s, s.CreateShop(ctx, opts)
}

// CreateShop opens a shop in a namespace that is there.
func (s *Shop) CreateShop(ctx context.Context, opts ShopOptions) error {
	if opts.Replicas == 0 {
		opts.Replicas = defaultReplicas
	}
	objects := []client.Object{s.service(), s.deployment(opts)}
	if !opts.Native {
		objects = append(objects, s.route())
	}
	for _, o := range objects {
		if err := s.Admin.Create(ctx, o); err != nil {
			return fmt.Errorf("cannot create %T %s: %w", o, o.GetName(), err)
		}
	}
	return s.AwaitDeployment(ctx, "v1 to serve", func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration == d.Generation && d.Status.AvailableReplicas == opts.Replicas
	})
}

func (s *Shop) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: s.Namespace, Name: Name}
}

// Labels select the shop's pods.
func Labels() map[string]string { return map[string]string{"app": Name} }

func (s *Shop) service() *corev1.Service {
	return &corev1.Service{
		ObjectMeta: s.meta(),
		Spec: corev1.ServiceSpec{
			Selector: Labels(),
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

func (s *Shop) deployment(opts ShopOptions) *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: s.meta(),
		Spec: appsv1.DeploymentSpec{
			Replicas: &opts.Replicas,
			Selector: &metav1.LabelSelector{MatchLabels: Labels()},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{
					Labels:      Labels(),
					Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
				},
				Spec: corev1.PodSpec{
					TerminationGracePeriodSeconds: ptr.To[int64](10),
					Containers: []corev1.Container{{
						Name:  Name,
						Image: "weir.dev/shop:v1",
						Env:   []corev1.EnvVar{{Name: "VERSION", Value: "v1"}},
						Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
						ReadinessProbe: &corev1.Probe{
							ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
							PeriodSeconds: 1,
						},
					}},
				},
			},
		},
	}
	if opts.Template != nil {
		opts.Template(&d.Spec.Template)
	}
	if opts.Deployment != nil {
		opts.Deployment(d)
	}
	return d
}

// Host is the shop's host name at the gateway.
func (s *Shop) Host() string { return s.Namespace + ".example.com" }

func (s *Shop) route() *gatewayv1.HTTPRoute {
	return &gatewayv1.HTTPRoute{
		ObjectMeta: s.meta(),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{
				ParentRefs: []gatewayv1.ParentReference{{Namespace: ptr.To(gatewayv1.Namespace("default")), Name: "sandbox"}},
			},
			Hostnames: []gatewayv1.Hostname{gatewayv1.Hostname(s.Host())},
			Rules: []gatewayv1.HTTPRouteRule{{
				BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
					BackendObjectReference: gatewayv1.BackendObjectReference{Name: Name, Port: ptr.To[gatewayv1.PortNumber](80)},
				}}},
			}},
		},
	}
}

// RouteRefs name the shop's route.
func RouteRefs() *v1alpha1.Traffic {
	return &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: Name}}}
}

// Hold is a step at a weight, held for a time.
func Hold(weight int, hold v1alpha1.Duration) v1alpha1.Step {
	step := Weight(weight)
	step.Gates = &v1alpha1.Gates{Hold: hold}
	return step
}

// Weight is a step at a weight with the implied gates.
func Weight(weight int) v1alpha1.Step {
	return v1alpha1.Step{Weight: ptr.To(intstr.FromInt(weight))}
}

// CreateRollout creates the shop's Rollout and waits until it is stable.
func (s *Shop) CreateRollout(ctx context.Context, spec v1alpha1.RolloutSpec) error {
	if err := s.CreateRolloutOnly(ctx, spec); err != nil {
		return err
	}
	_, err := s.Await(ctx, "the Rollout to be stable", time.Minute, InState(v1alpha1.ReasonStable))
	return err
}

// CreateRolloutOnly creates the shop's Rollout.
func (s *Shop) CreateRolloutOnly(ctx context.Context, spec v1alpha1.RolloutSpec) error {
	spec.WorkloadRef = v1alpha1.WorkloadReference{Kind: "Deployment", Name: Name}
	if spec.Capacity == nil {
		spec.Capacity = &v1alpha1.Capacity{ScaleDownDelay: drainDelay}
	}
	r := &v1alpha1.Rollout{ObjectMeta: s.meta(), Spec: spec}
	if err := s.Admin.Create(ctx, r); err != nil {
		return fmt.Errorf("cannot create the Rollout: %w", err)
	}
	return nil
}

// Release gives the Deployment a new version, as the robot does that applies
// what is in Git.
func (s *Shop) Release(ctx context.Context, version string, env map[string]string) error {
	return s.EditDeployment(ctx, func(d *appsv1.Deployment) {
		container := &d.Spec.Template.Spec.Containers[0]
		container.Image = "weir.dev/shop:" + version
		container.Env = []corev1.EnvVar{{Name: "VERSION", Value: version}}
		for _, name := range slices.Sorted(maps.Keys(env)) {
			container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: env[name]})
		}
	})
}

// EditDeployment changes the Deployment as the robot, against whoever else
// writes it.
func (s *Shop) EditDeployment(ctx context.Context, change func(*appsv1.Deployment)) error {
	return harness.Edit(ctx, s.GitOps, &appsv1.Deployment{ObjectMeta: s.meta()}, change)
}

// EditRollout changes the Rollout as the administrator.
func (s *Shop) EditRollout(ctx context.Context, change func(*v1alpha1.Rollout)) error {
	return harness.Edit(ctx, s.Admin, &v1alpha1.Rollout{ObjectMeta: s.meta()}, change)
}

// Deployment reads the Deployment.
func (s *Shop) Deployment(ctx context.Context) (*appsv1.Deployment, error) {
	var d appsv1.Deployment
	if err := s.Admin.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: Name}, &d); err != nil {
		return nil, fmt.Errorf("cannot read the Deployment: %w", err)
	}
	return &d, nil
}

// AwaitDeployment waits until the Deployment is as asked.
func (s *Shop) AwaitDeployment(ctx context.Context, what string, ok func(*appsv1.Deployment) bool) error {
	var last *appsv1.Deployment
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		d, err := s.Deployment(ctx)
		if err != nil {
			return false, err
		}
		last = d
		return ok(d), nil
	})
	if err != nil {
		return fmt.Errorf("cannot wait for %s: %w; the Deployment's status is %+v", what, err, last.Status)
	}
	return nil
}

// Rollout reads the Rollout.
func (s *Shop) Rollout(ctx context.Context) (*v1alpha1.Rollout, error) {
	var r v1alpha1.Rollout
	if err := s.Admin.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: Name}, &r); err != nil {
		return nil, fmt.Errorf("cannot read the Rollout: %w", err)
	}
	return &r, nil
}

// Condition is something that a Rollout may fulfil.
type Condition func(*v1alpha1.Rollout) bool

// State is the reason of Ready.
func State(r *v1alpha1.Rollout) string {
	if ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// Message is what Ready says of its reason.
func Message(r *v1alpha1.Rollout) string {
	if ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Message
	}
	return ""
}

// InState is met when the reason of Ready is this one.
func InState(reason string) Condition {
	return func(r *v1alpha1.Rollout) bool { return State(r) == reason }
}

// InStage is met when the release stands there.
func InStage(stage v1alpha1.Stage) Condition {
	return func(r *v1alpha1.Rollout) bool { return r.Status.Release.Stage == stage }
}

// AtStep is met when the release progresses at this step, from 0, with its exposure
// verified.
func AtStep(index int32) Condition {
	return func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Stage == v1alpha1.StageProgressing && r.Status.Release.StepIndex == index && r.Status.Release.VerifiedAt != nil
	}
}

// Promoted is met when release n has been promoted, and the workload is stable.
func Promoted(n int64) Condition { return endedAs(n, v1alpha1.ResultPromoted, v1alpha1.ReasonStable) }

// RolledBack is met when release n has been rolled back.
func RolledBack(n int64) Condition {
	return endedAs(n, v1alpha1.ResultRolledBack, v1alpha1.ReasonRolledBack)
}

func endedAs(n int64, result v1alpha1.ReleaseResult, state string) Condition {
	return func(r *v1alpha1.Rollout) bool {
		return len(r.Status.History) > 0 && r.Status.History[0].Number == n && r.Status.History[0].Result == result && State(r) == state
	}
}

// Await waits until the Rollout fulfils a condition, and gives it as it was
// then.
func (s *Shop) Await(ctx context.Context, what string, timeout time.Duration, ok Condition) (*v1alpha1.Rollout, error) {
	var last *v1alpha1.Rollout
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, timeout, true, func(ctx context.Context) (bool, error) {
		r, err := s.Rollout(ctx)
		if err != nil {
			return false, err
		}
		last = r
		return ok(r), nil
	})
	if err != nil {
		return last, fmt.Errorf("cannot wait for %s: %w; %s", what, err, Describe(last))
	}
	return last, nil
}

// Describe says in a line where a Rollout stands.
func Describe(r *v1alpha1.Rollout) string {
	if r == nil {
		return "no Rollout"
	}
	ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return "the Rollout has no conditions"
	}
	return fmt.Sprintf("the Rollout is %s (%s), stage %s, step %s, waiting for %q", ready.Reason, ready.Message, r.Status.Release.Stage, r.Status.Release.Position, r.Status.WaitingFor)
}

// Pods are the shop's pods of one revision that are not being deleted.
func (s *Shop) Pods(ctx context.Context, revision string) ([]corev1.Pod, error) {
	var list corev1.PodList
	err := s.Admin.List(ctx, &list, client.InNamespace(s.Namespace),
		client.MatchingLabels{appsv1.DefaultDeploymentUniqueLabelKey: revision})
	if err != nil {
		return nil, fmt.Errorf("cannot list pods: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool { return p.DeletionTimestamp != nil }), nil
}

// ErrorsTemplate creates an AnalysisTemplate named errors: at most one percent
// of the requests may fail. It gives the analysis that uses it.
func (s *Shop) ErrorsTemplate(ctx context.Context) (*v1alpha1.Analysis, error) {
	template := &v1alpha1.AnalysisTemplate{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: "errors"},
		Spec: v1alpha1.AnalysisTemplateSpec{Metrics: []v1alpha1.Metric{{
			Name: "errors", Type: v1alpha1.MetricRatio,
			Ratio: &v1alpha1.RatioMetric{Bad: `http_requests_total{code=~"5.."}`, Total: "http_requests_total", MaxRatio: "1%"},
		}}},
	}
	if err := s.Admin.Create(ctx, template); err != nil {
		return nil, fmt.Errorf("cannot create the AnalysisTemplate: %w", err)
	}
	return &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{{Kind: "AnalysisTemplate", Name: "errors"}}}, nil
}
