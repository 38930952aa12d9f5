// Package conformance runs the conformance suite of the traffic providers on a
// real API server, with Weir's chart installed: once with the split policies, and
// once on a cluster without MutatingAdmissionPolicy.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/istio"
	"github.com/weir-dev/weir/providers/kubernetes"
	"github.com/weir-dev/weir/providers/linkerd"
)

var (
	// noTraffic leaves out what the suite has no use for: it stands in for the
	// data plane itself.
	noTraffic = []string{"--no-prometheus", "--no-gateway", "--nodes=1"}
	scheme    = runtime.NewScheme()
	sandbox   *harness.Sandbox
	// shown is what the suite has shown.
	shown = matrix.New(matrix.Conformance)
)

// patience bounds every wait for the control plane.
const patience = 30 * time.Second

func init() {
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
}

func TestMain(m *testing.M) {
	code := harness.Main(m, "conformance", noTraffic, func(ctx context.Context, s *harness.Sandbox) error {
		sandbox = s
		if err := install(ctx, s, true); err != nil {
			return err
		}
		return errors.Join(
			awaitSplit(ctx, s, gatewayRoutes{}, gatewayRouteKinds()...),
			awaitSplit(ctx, s, virtualServices{lists: []string{"http"}}, virtualServiceKind),
		)
	})
	if plain.sandbox != nil {
		if err := plain.sandbox.Down(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(shown.Check(code))
}

// showing is a harness's Shown for columns that are named like the kinds of route, with
// something behind it. Whoever splits by weight in a kind for one protocol shows that
// protocol, too.
func showing(behind string, protocols map[string]conformance.Capability) func(string, conformance.Capability) {
	return func(kind string, c conformance.Capability) {
		shown.Show(kind+behind, c)
		if protocol, ok := protocols[kind]; ok && c == conformance.Weights {
			shown.Show(kind+behind, protocol)
		}
	}
}

// install Weir's chart without its controller, with the mutating policies or not,
// and then the CRDs of meshes: the policies must do for a cluster that knows them later.
func install(ctx context.Context, s *harness.Sandbox, policies bool) error {
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	err = chart.Install(ctx, admin, chart.InstallOptions{
		WithoutController: true,
		Values:            map[string]any{"mutatingAdmissionPolicy": map[string]any{"enabled": policies}},
	})
	if err != nil {
		return err
	}
	return errors.Join(installIstio(ctx, admin), installLinkerd(ctx, admin))
}

// plain is a sandbox without MutatingAdmissionPolicy, once a test has asked for it.
var plain struct {
	once    sync.Once
	sandbox *harness.Sandbox
	err     error
}

// withoutPolicies is a sandbox without MutatingAdmissionPolicy. All tests share it.
func withoutPolicies(t *testing.T) *harness.Sandbox {
	t.Helper()
	plain.once.Do(func() {
		ctx := context.Background() // It outlives the test.
		if plain.sandbox, plain.err = harness.Up(ctx, "conformance-plain", append(noTraffic, "--disable-mutating-policies")...); plain.err != nil {
			return
		}
		plain.err = install(ctx, plain.sandbox, false)
	})
	if plain.err != nil {
		t.Fatal(plain.err)
	}
	return plain.sandbox
}

// TestKubernetes is the suite for the provider that only observes.
func TestKubernetes(t *testing.T) {
	h := newHarness(t, sandbox)
	h.New = func(c client.Client) providers.Provider { return kubernetes.New(c, c) }
	conformance.Run(t, h)
}

// newHarness with what all providers need.
func newHarness(t *testing.T, s *harness.Sandbox) conformance.Harness {
	t.Helper()
	return conformance.Harness{
		Weir: weir(t, s),
		User: user(t, s),
		Namespace: func(t *testing.T) string {
			t.Helper()
			return newNamespace(t, s)
		},
	}
}

// weir is a client with the name and the rights of the controller.
func weir(t *testing.T, s *harness.Sandbox) client.WithWatch {
	t.Helper()
	config, err := s.Config(harness.Admin)
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: chart.ControllerUsername}
	return watching(t, config)
}

// user is a client of a GitOps tool.
func user(t *testing.T, s *harness.Sandbox) client.WithWatch {
	t.Helper()
	config, err := s.Config(harness.GitOps)
	if err != nil {
		t.Fatal(err)
	}
	return watching(t, config)
}

// watching is a client that can watch.
func watching(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newNamespace in which the GitOps tool may write routes and their status.
func newNamespace(t *testing.T, s *harness.Sandbox) string {
	t.Helper()
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "conformance-"}}
	if err := admin.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Delete(context.Background(), ns); err != nil {
			t.Errorf("cannot delete namespace %s: %v", ns.Name, err)
		}
	})
	role := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "routes"}
	for _, o := range []client.Object{
		&rbacv1.Role{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: role.Name},
			Rules: []rbacv1.PolicyRule{{
				APIGroups: []string{gatewayv1.GroupName}, Resources: []string{"httproutes", "httproutes/status", "grpcroutes", "grpcroutes/status"},
				Verbs: []string{"*"},
			}, {
				APIGroups: []string{istio.Group}, Resources: []string{"virtualservices"}, Verbs: []string{"*"},
			}, {
				APIGroups: []string{linkerd.Group}, Resources: []string{"serviceprofiles"}, Verbs: []string{"*"},
			}},
		},
		&rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns.Name, Name: role.Name},
			RoleRef:    role,
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: string(harness.GitOps)}},
		},
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	awaitRights(t, s, ns.Name)
	return ns.Name
}
