// Package workload tests what Weir does to a Deployment, its ReplicaSets and
// its Services on a real control plane, against the real controllers and
// against people, robots and autoscalers who write at the same moments.
//
// It performs effects one by one, without the decision core: what is tested is
// that an effect does to the cluster what the core believes of it.
package workload

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/workload"
)

// patience bounds every wait for the control plane.
const patience = 60 * time.Second

// bulk is a sandbox whose pods run in name only, without traffic.
var bulk = []string{"--no-prometheus", "--no-gateway", "--nodes=1", "--bulk-nodes=2"}

var (
	scheme  = runtime.NewScheme()
	sandbox *harness.Sandbox
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, "workload", bulk, func(ctx context.Context, s *harness.Sandbox) error {
		sandbox = s
		return install(ctx, s, nil)
	}))
}

// install puts the CRDs, the policies and Weir's rights into a sandbox.
func install(ctx context.Context, s *harness.Sandbox, values map[string]any) error {
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	return chart.Install(ctx, admin, chart.InstallOptions{Values: values, WithoutController: true})
}

// world is a namespace with a Deployment web, a Service web and a Rollout web.
type world struct {
	*harness.Sandbox
	namespace string
	// admin may do everything; weir has the controller's name and rights.
	admin, weir client.WithWatch
	// workload is what is tested; it writes as weir.
	workload *workload.Client
	// rollout as it was last recorded.
	rollout *v1alpha1.Rollout
	// routes are what the routes are said to be: no gateway is needed here.
	routes *providers.Observation
	// pods remembers all pods of the namespace, and what became of them.
	pods *podRecorder
}

// newWorld makes a world with size replicas of version v1, which is stable.
func newWorld(t *testing.T, s *harness.Sandbox, size int32) *world {
	t.Helper()
	w := &world{Sandbox: s, routes: &providers.Observation{Accepted: true, Processed: true}}
	w.admin, w.weir = w.watchClient(t, harness.Admin), w.watchClient(t, harness.Weir)
	w.workload = w.newWorkload()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	must(t, w.admin.Create(t.Context(), ns))
	w.namespace = ns.Name
	t.Cleanup(func() {
		if err := w.admin.Delete(context.Background(), ns); err != nil {
			t.Errorf("cannot delete namespace %s: %v", ns.Name, err)
		}
	})
	must(t, w.admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "gitops"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: string(harness.GitOps)}},
	}))
	w.pods = recordPods(t, w.admin, w.namespace)
	must(t, w.admin.Create(t.Context(), w.newDeployment("v1", size)))
	must(t, w.admin.Create(t.Context(), w.newService()))
	w.rollout = &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"},
		Spec: v1alpha1.RolloutSpec{
			WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"},
			Traffic:     &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "web"}}},
		},
	}
	must(t, w.admin.Create(t.Context(), w.rollout))
	w.awaitComplete(t, size)
	sets := w.observe(t).Sets
	if len(sets) != 1 {
		t.Fatalf("sets %v, want one", sets)
	}
	w.record(t, func(status *v1alpha1.RolloutStatus) {
		status.Stable.Revision = sets[0].Hash
		status.Traffic.Services = []string{"web"}
	})
	w.apply(t, decide.Effect{Kind: decide.EffectLabel})
	return w
}

// newWorkload is a Client as a controller has it that has just started.
func (w *world) newWorkload() *workload.Client { return workload.New(w.weir, w.weir, w.weir) }

// watchClient is a user's client.
func (w *world) watchClient(t *testing.T, u harness.User) client.WithWatch {
	t.Helper()
	config, err := w.Config(u)
	must(t, err)
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	must(t, err)
	return c
}

// newDeployment is version of Deployment web, on nodes that only pretend.
func (w *world) newDeployment(version string, size int32) *appsv1.Deployment {
	labels := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Replicas: &size,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeSelector: map[string]string{"weir.dev/bulk": "true"},
					Tolerations:  []corev1.Toleration{{Key: "weir.dev/bulk", Operator: corev1.TolerationOpExists}},
					Containers:   []corev1.Container{{Name: "web", Image: "weir.dev/shop:" + version}},
				},
			},
		},
	}
}

// newService is Service web as its user wrote it.
func (w *world) newService() *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80}},
		},
	}
}

// record writes the Rollout's status, as the shell does before effects.
func (w *world) record(t *testing.T, edit func(*v1alpha1.RolloutStatus)) {
	t.Helper()
	must(t, w.weir.Get(t.Context(), client.ObjectKeyFromObject(w.rollout), w.rollout))
	edit(&w.rollout.Status)
	w.rollout.Status.Record.Seq++
	must(t, w.weir.Status().Update(t.Context(), w.rollout))
}

// pass is what effects rest on.
func (w *world) pass() workload.Pass {
	return workload.Pass{
		Rollout:  w.rollout,
		Services: []string{"web"},
		Routes:   func(context.Context) (providers.Observation, error) { return *w.routes, nil },
	}
}

// observe reads the facts live.
func (w *world) observe(t *testing.T) workload.Facts {
	t.Helper()
	var facts workload.Facts
	harness.Eventually(t, patience, "facts", func(ctx context.Context) (err error) {
		facts, err = w.workload.Observe(ctx, w.rollout, []string{"web"}, true)
		return err
	})
	return facts
}

// apply performs an effect, and does so again where only the moment is wrong.
func (w *world) apply(t *testing.T, effect decide.Effect) {
	t.Helper()
	harness.Eventually(t, patience, string(effect.Kind), func(ctx context.Context) error {
		return w.workload.Apply(ctx, w.pass(), effect)
	})
}

// refused performs an effect that must not be performed now.
func (w *world) refused(t *testing.T, effect decide.Effect, reason string) {
	t.Helper()
	if err := w.workload.Apply(t.Context(), w.pass(), effect); !errors.Is(err, workload.ErrPrecondition) {
		t.Fatalf("%s: error %v, want %v: %s", effect.Kind, err, workload.ErrPrecondition, reason)
	}
}

// push gives the Deployment the template of a version, as a robot does.
func (w *world) push(t *testing.T, version string) {
	t.Helper()
	gitops := w.watchClient(t, harness.GitOps)
	harness.Eventually(t, patience, "push "+version, func(ctx context.Context) error {
		d := &appsv1.Deployment{}
		if err := gitops.Get(ctx, w.key("web"), d); err != nil {
			return err
		}
		d.Spec.Template.Spec.Containers[0].Image = "weir.dev/shop:" + version
		return gitops.Update(ctx, d)
	})
}

// scale sets the Deployment's replicas through its scale, as an autoscaler does.
func (w *world) scale(ctx context.Context, size int32) error {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}}
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, size))
	return w.admin.SubResource("scale").Patch(ctx, d, patch)
}

// key names an object in the world's namespace.
func (w *world) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: w.namespace, Name: name}
}

// deployment reads Deployment web.
func (w *world) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	must(t, w.admin.Get(t.Context(), w.key("web"), d))
	return d
}

// awaitComplete waits until the Deployment runs its template alone, at size.
func (w *world) awaitComplete(t *testing.T, size int32) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("%d replicas of one version", size), func(ctx context.Context) error {
		d := &appsv1.Deployment{}
		if err := w.admin.Get(ctx, w.key("web"), d); err != nil {
			return err
		}
		s := d.Status
		if s.ObservedGeneration < d.Generation || s.Replicas != size || s.UpdatedReplicas != size || s.AvailableReplicas != size {
			return fmt.Errorf("generation %d, status %+v", d.Generation, s)
		}
		return nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
