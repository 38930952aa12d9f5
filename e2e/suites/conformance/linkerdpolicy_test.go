package conformance

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers/linkerd"
)

// admin gives a client that may write routes and is not Weir.
func admin(t *testing.T) client.Client {
	t.Helper()
	c, err := sandbox.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// profileOf Service web, with a spec.
func profileOf(t *testing.T, namespace, spec string) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{}}
	text := fmt.Sprintf("{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, spec: %s}", fmt.Sprintf(spec, namespace))
	if err := yaml.Unmarshal([]byte(text), &u.Object); err != nil {
		t.Fatal(err)
	}
	u.SetNamespace(namespace)
	u.SetName("web." + namespace + ".svc.cluster.local")
	return u
}

// overrides of a profile as "authority weight", less the namespace.
func overrides(u *unstructured.Unstructured) []string {
	list, _, _ := unstructured.NestedSlice(u.Object, "spec", "dstOverrides")
	var out []string
	for _, item := range list {
		entry, _ := item.(map[string]any)
		out = append(out, strings.ReplaceAll(fmt.Sprintf("%v %v", entry["authority"], entry["weight"]), "."+u.GetNamespace()+".svc.cluster.local", ""))
	}
	return out
}

// awaitProfilePolicy waits until the split policy is in force for profiles.
func awaitProfilePolicy(t *testing.T, c client.Client) {
	t.Helper()
	u := profileOf(t, newNamespace(t, sandbox), "{opaquePorts: ['%s']}")
	u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "active"})
	u.SetAnnotations(map[string]string{v1alpha1.SplitAnnotation: "web web web-canary 500 *"})
	harness.Eventually(t, patience, "the kind of profiles", func(ctx context.Context) error { return c.Create(ctx, u) })
	harness.Eventually(t, patience, "the split policy of profiles", func(ctx context.Context) error {
		written := u.DeepCopy()
		if err := c.Update(ctx, written, client.DryRunAll); err != nil {
			return err
		}
		if got := overrides(written); len(got) != 2 {
			return fmt.Errorf("overrides are %v", got)
		}
		return nil
	})
}

// TestSplitPolicyOfServiceProfile: what the policy makes of a manifest is what Weir
// wrote, at every weight, and whoever changes weights by hand changes none.
func TestSplitPolicyOfServiceProfile(t *testing.T) {
	c := admin(t)
	awaitProfilePolicy(t, c)
	const web, other = "{authority: web.%[1]s.svc.cluster.local, weight: ", "{authority: other.%[1]s.svc.cluster.local, weight: "
	cases := map[string]struct{ reason, spec string }{
		"Plain":    {"without overrides the Service stands for itself", "{routes: [{name: '%s', condition: {pathRegex: /}}]}"},
		"Mixed":    {"a user's weights keep their ratio", "{dstOverrides: [" + web + "900m}, " + other + "100m}]}"},
		"Whole":    {"weights may be whole numbers", "{dstOverrides: [" + other + "'1'}, " + web + "'100'}]}"},
		"Large":    {"and thousands", "{dstOverrides: [" + web + "1k}, " + other + "'3'}]}"},
		"WithPort": {"the port of an authority is kept", "{dstOverrides: [{authority: 'web.%[1]s.svc.cluster.local:8080', weight: '1'}]}"},
		"Twice":    {"a Service may have several ports", "{dstOverrides: [" + web + "1m}, {authority: 'web.%[1]s.svc.cluster.local:8080', weight: 2m}]}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, sandbox)
			manifest := profileOf(t, ns, tc.spec)
			live := manifest.DeepCopy()
			if err := c.Create(t.Context(), live); err != nil {
				t.Fatal(err)
			}
			target := webOn(ns)
			target.Routes[0].Kind, target.Routes[0].Name = "ServiceProfile", live.GetName()
			w := weir(t, sandbox)
			for i, weight := range []int32{10, 500, 777, 3333, 9900, 10000, 0} {
				if err := linkerd.New(w, w).Raise(t.Context(), target, weight, int64(i+1), nil); err != nil {
					t.Fatal(err)
				}
				profileStays(t, c, manifest, weight)
			}
			if err := linkerd.New(w, w).Restore(t.Context(), target, 9, nil); err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(live), live); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(manifest.Object["spec"], live.Object["spec"]); diff != "" {
				t.Errorf("%s: not given back (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// profileStays checks that tools leave a split as it is, and that the label's value off
// lets a write through.
func profileStays(t *testing.T, c client.Client, manifest *unstructured.Unstructured, weight int32) {
	t.Helper()
	live := manifest.DeepCopy()
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(manifest), live); err != nil {
		t.Fatal(err)
	}
	applied, replaced, off := manifest.DeepCopy(), manifest.DeepCopy(), manifest.DeepCopy()
	err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(applied), client.ForceOwnership, client.FieldOwner("gitops"), client.DryRunAll)
	if err != nil {
		t.Fatal(err)
	}
	off.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "off"})
	for _, u := range []*unstructured.Unstructured{replaced, off} {
		u.SetResourceVersion(live.GetResourceVersion())
		if err := c.Update(t.Context(), u, client.DryRunAll); err != nil {
			t.Fatal(err)
		}
	}
	for tool, u := range map[string]*unstructured.Unstructured{"server-side apply": applied, "replace": replaced} {
		if diff := cmp.Diff(live.Object["spec"], u.Object["spec"]); diff != "" {
			t.Errorf("at %d %s would change (-live +written):\n%s", weight, tool, diff)
		}
	}
	if diff := cmp.Diff(manifest.Object["spec"], off.Object["spec"]); diff != "" {
		t.Errorf("with the label off (-manifest +written):\n%s", diff)
	}
}

// TestSplitPolicyOfServiceProfileByHand is what the policy makes of single writes.
func TestSplitPolicyOfServiceProfileByHand(t *testing.T) {
	c := admin(t)
	awaitProfilePolicy(t, c)
	entry := func(service, weight any) any {
		return map[string]any{"authority": fmt.Sprintf("%s.%%s.svc.cluster.local", service), "weight": weight}
	}
	cases := map[string]struct {
		reason  string
		written []any
		want    []string
	}{
		"CanaryByHand":   {"a weight that somebody gives the canary is not the release's", []any{entry("web", "50m"), entry("web-canary", "50m")}, []string{"web 95m", "web-canary 5m"}},
		"CanaryTakenOut": {"an entry that is taken out comes back", []any{entry("web", "95m")}, []string{"web 9025m", "web-canary 475m"}},
		"Number":         {"a weight may be a number", []any{entry("web", int64(3)), entry("new", int64(1))}, []string{"web 2850m", "new 1", "web-canary 150m"}},
		"Elsewhere":      {"what goes elsewhere is let alone", []any{entry("new", int64(1))}, []string{"new 1"}},
		"None":           {"without any the Service stands for itself", nil, []string{"web 95m", "web-canary 5m"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t, sandbox)
			u := profileOf(t, ns, "{opaquePorts: ['%s']}")
			if err := c.Create(t.Context(), u); err != nil {
				t.Fatal(err)
			}
			target := webOn(ns)
			target.Routes[0].Kind, target.Routes[0].Name = "ServiceProfile", u.GetName()
			w := weir(t, sandbox)
			if err := linkerd.New(w, w).Raise(t.Context(), target, 500, 1, nil); err != nil {
				t.Fatal(err)
			}
			for _, item := range tc.written {
				e, _ := item.(map[string]any)
				e["authority"] = fmt.Sprintf(e["authority"].(string), ns)
			}
			err := harness.Edit(t.Context(), c, u, func(u *unstructured.Unstructured) {
				spec, _ := u.Object["spec"].(map[string]any)
				if spec["dstOverrides"] = tc.written; tc.written == nil {
					delete(spec, "dstOverrides")
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, overrides(u)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
