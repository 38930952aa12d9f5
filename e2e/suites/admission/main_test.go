// Package admission tests the schemas and the admission policies of the chart
// on a real API server, with the writes that people and GitOps tools make.
package admission

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
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
)

// patience bounds every wait for the control plane.
const patience = 30 * time.Second

// noTraffic leaves out what admission has no use for.
var noTraffic = []string{"--no-prometheus", "--no-gateway", "--nodes=1"}

var (
	scheme  = runtime.NewScheme()
	sandbox *harness.Sandbox
)

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
}

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, "admission", noTraffic, func(ctx context.Context, s *harness.Sandbox) error {
		sandbox = s
		admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
		if err != nil {
			return err
		}
		// In a sandbox everybody edits workloads everywhere; here they have the
		// rights that a test gives them.
		everywhere := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "sandbox-developers"}}
		if err := client.IgnoreNotFound(admin.Delete(ctx, everywhere)); err != nil {
			return err
		}
		return chart.Install(ctx, admin, chart.InstallOptions{WithoutController: true})
	}))
}

// cluster is a namespace of a sandbox, with clients for its users.
type cluster struct {
	*harness.Sandbox
	namespace string
}

// newNamespace makes a namespace of the suite's sandbox in which gitops and
// carol have the role edit, and alice and bob, of sre-leads, have no role.
func newNamespace(t *testing.T) cluster {
	t.Helper()
	return newNamespaceOf(t, sandbox)
}

func newNamespaceOf(t *testing.T, s *harness.Sandbox) cluster {
	t.Helper()
	c := cluster{Sandbox: s}
	admin := c.client(t, harness.Admin)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	must(t, admin.Create(t.Context(), ns))
	c.namespace = ns.Name
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), ns); err != nil {
			t.Errorf("cannot delete namespace %s: %v", ns.Name, err)
		}
	})
	must(t, admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: "devs"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "edit"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "devs"}},
	}))
	// That this role includes Weir's kinds is the chart's doing, by aggregation.
	c.awaitRight(t, harness.GitOps, right{verb: "create", group: v1alpha1.GroupVersion.Group, resource: "rollouts"})
	c.awaitRight(t, harness.GitOps, right{verb: "update", group: appsv1.GroupName, resource: "deployments"})
	return c
}

// client is a user's client, with the field manager of a plain program.
func (c cluster) client(t *testing.T, u harness.User) client.Client {
	t.Helper()
	cl, err := c.Client(u, client.Options{Scheme: scheme})
	must(t, err)
	return cl
}

// kubectl runs kubectl in the namespace and fails the test when it does.
func (c cluster) kubectl(t *testing.T, u harness.User, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, err := c.Kubectl(t.Context(), u, stdin, append([]string{"--namespace", c.namespace}, args...)...)
	must(t, err)
	return stdout, stderr
}

// right is something that RBAC allows or not.
type right struct{ verb, group, resource, subresource, name string }

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s/%s %q", r.verb, r.resource, r.group, r.subresource, r.name)
}

// may asks whether the user of a client has a right in a namespace.
func may(t *testing.T, user client.Client, namespace string, r right) bool {
	t.Helper()
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: namespace, Verb: r.verb, Group: r.group, Resource: r.resource, Subresource: r.subresource, Name: r.name,
		},
	}}
	must(t, user.Create(t.Context(), review))
	return review.Status.Allowed
}

// awaitRight waits until RBAC gives a user a right in the namespace.
func (c cluster) awaitRight(t *testing.T, u harness.User, r right) {
	t.Helper()
	harness.Eventually(t, patience, fmt.Sprintf("%s may %s", u, r), func(context.Context) error {
		if !may(t, c.client(t, u), c.namespace, r) {
			return errors.New("is not allowed")
		}
		return nil
	})
}

// deployment reads the Deployment web.
func (c cluster) deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	d := &appsv1.Deployment{}
	must(t, c.client(t, harness.Admin).Get(t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "web"}, d))
	return d
}

// edit changes the Deployment web as a user, against its controller.
func (c cluster) edit(t *testing.T, u harness.User, change func(*appsv1.Deployment)) {
	t.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
	must(t, harness.Edit(t.Context(), c.client(t, u), d, change))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
