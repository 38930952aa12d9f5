package conformance

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/gatewayapi"
)

// TestOlderGatewayAPI is the suite with the split policy on a cluster as Linkerd before
// 2.18 sets one up: HTTPRoutes are served as v1beta1 and GRPCRoutes as v1alpha2 alone.
// Then their schemas become those of that time, too.
func TestOlderGatewayAPI(t *testing.T) {
	ctx := context.Background() // Its end comes after that of the test.
	s, err := harness.Up(ctx, "conformance-older", noTraffic...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	older := gatewayRoutes{older: true}
	for _, kind := range gatewayRouteKinds() {
		serveAs(t, admin, older.groupVersionKind(kind))
	}
	if err := errors.Join(install(ctx, s, true), awaitSplit(ctx, s, older, gatewayRouteKinds()...)); err != nil {
		t.Fatal(err)
	}
	t.Run("Suite", func(t *testing.T) {
		h := gatewayAPI(t, s, true)
		h.Dialect, h.Shown = older, nil
		conformance.Run(t, h)
	})
	for _, kind := range gatewayRouteKinds() {
		t.Run("Nameless"+kind, func(t *testing.T) { testNameless(t, s, admin, older.groupVersionKind(kind)) })
	}
}

// crdOf a kind of Gateway API, as it is.
func crdOf(t *testing.T, admin client.Client, kind schema.GroupVersionKind) *unstructured.Unstructured {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	plural := map[string]string{"HTTPRoute": "httproutes", "GRPCRoute": "grpcroutes"}[kind.Kind]
	if err := admin.Get(t.Context(), client.ObjectKey{Name: plural + "." + kind.Group}, crd); err != nil {
		t.Fatal(err)
	}
	return crd
}

// serveAs has the cluster serve a kind in one version alone, with the schema that it
// has for the newest one.
func serveAs(t *testing.T, admin client.Client, kind schema.GroupVersionKind) {
	t.Helper()
	crd := crdOf(t, admin, kind)
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	only, _ := versions[0].(map[string]any)
	only["name"], only["served"], only["storage"] = kind.Version, true, true
	fresh := &unstructured.Unstructured{Object: map[string]any{"spec": crd.Object["spec"]}}
	fresh.SetGroupVersionKind(crd.GroupVersionKind())
	fresh.SetName(crd.GetName())
	fresh.SetAnnotations(crd.GetAnnotations()) // The API approves of the group by one.
	if err := unstructured.SetNestedSlice(fresh.Object, []any{only}, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, "the CRD to go and come", func(ctx context.Context) error {
		err := admin.Create(ctx, fresh.DeepCopy())
		if apierrors.IsAlreadyExists(err) { // The former one is on its way out.
			return err
		}
		if err != nil {
			t.Fatal(err)
		}
		return nil
	})
	if err := awaitKind(t.Context(), admin, kind); err != nil {
		t.Fatal(err)
	}
}

// testNameless: where the schema of a kind does not know names of rules, by which Weir
// knows those of its own, a step with matches is refused by name rather than leave a
// rule that nobody would take away; weights go on.
func testNameless(t *testing.T, s *harness.Sandbox, admin client.Client, kind schema.GroupVersionKind) {
	crd := crdOf(t, admin, kind)
	dropName(t, crd)
	if err := admin.Update(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	ns := newNamespace(t, s)
	manifest := gatewayRoutes{older: true}.Manifest(conformance.Route{
		Kind: kind.Kind, Namespace: ns, Name: "shop",
		Rules: []conformance.Rule{{Backends: []conformance.Backend{{Service: "web", Weight: 1}}}},
	})
	harness.Eventually(t, patience, "the schema without names", func(ctx context.Context) error {
		probe := manifest.DeepCopy()
		rulesOf(probe)[0]["name"] = "probe"
		if err := admin.Create(ctx, probe, client.DryRunAll); err != nil {
			return err
		}
		if rulesOf(probe)[0]["name"] != nil {
			return errors.New("the name is kept")
		}
		return nil
	})
	route := manifest.DeepCopy()
	delete(rulesOf(route)[0], "name")
	if err := user(t, s).Create(t.Context(), route); err != nil {
		t.Fatal(err)
	}
	c := weir(t, s)
	p := gatewayapi.New(c, c)
	matches := &v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: "b"}}}}}
	target := providers.Target{
		Namespace: ns, Owner: "web",
		Routes: []v1alpha1.RouteReference{{Kind: kind.Kind, Name: "shop"}},
		Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
	}
	asked := target
	asked.Extras, asked.Planned = matches, []*v1alpha1.Extras{matches}
	err := p.Raise(t.Context(), asked, 0, 1, nil)
	var unsupported *providers.UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Field != "spec.rules[1].name" {
		t.Errorf("a rule whose name the API server would drop: error is %v", err)
	}
	if err := p.Raise(t.Context(), target, 500, 2, nil); err != nil {
		t.Error(err)
	}
	if err := admin.Get(t.Context(), client.ObjectKeyFromObject(route), route); err != nil {
		t.Fatal(err)
	}
	if rules := (gatewayRoutes{}).Rules(route); len(rules) != 1 || len(rules[0].Backends) != 2 {
		t.Errorf("rules are %+v, want the user's with the canary's backend", rules)
	}
}

// dropName takes the names of rules, and what the schema says about them, out of the
// one version of a CRD.
func dropName(t *testing.T, crd *unstructured.Unstructured) {
	t.Helper()
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	version, _ := versions[0].(map[string]any)
	rules := []string{"schema", "openAPIV3Schema", "properties", "spec", "properties", "rules"}
	unstructured.RemoveNestedField(version, append(rules, "x-kubernetes-validations")...)
	unstructured.RemoveNestedField(version, append(rules, "items", "properties", "name")...)
	if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
}
