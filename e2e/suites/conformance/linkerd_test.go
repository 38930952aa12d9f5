package conformance

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/linkerd"
)

// serviceProfileKind is the kind of provider linkerd.
func serviceProfileKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: linkerd.Group, Version: "v1alpha2", Kind: "ServiceProfile"}
}

// TestLinkerd is the suite with the chart's policies.
func TestLinkerd(t *testing.T) { runLinkerd(t, sandbox) }

// TestLinkerdWithoutPolicy is the suite on a cluster that has no
// MutatingAdmissionPolicy.
func TestLinkerdWithoutPolicy(t *testing.T) { runLinkerd(t, withoutPolicies(t)) }

// runLinkerd runs the suite for profiles that say where requests go, and for those
// that leave it at the Service that they are named after.
func runLinkerd(t *testing.T, s *harness.Sandbox) {
	t.Helper()
	policy := hasPolicyFor(t, s, "serviceprofiles")
	if policy {
		if err := awaitSplit(t.Context(), s, profiles{}, serviceProfileKind().Kind); err != nil {
			t.Fatal(err)
		}
	}
	for name, dialect := range map[string]profiles{"Written": {}, "Unwritten": {unwritten: true}} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, s)
			h.New = func(c client.Client) providers.Provider { return linkerd.New(c, c) }
			h.Dialect = dialect
			h.Shown = showing("", nil)
			h.Capabilities = conformance.Capabilities{
				Kinds:       []string{serviceProfileKind().Kind},
				OneRule:     true,
				Unwritten:   dialect.unwritten,
				MixedRules:  true,
				SplitPolicy: policy,
			}
			conformance.Run(t, h)
		})
	}
}

// hasPolicyFor tells whether a mutating policy of the chart looks at a resource.
func hasPolicyFor(t *testing.T, s *harness.Sandbox, resource string) bool {
	t.Helper()
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	var list admissionregistrationv1.MutatingAdmissionPolicyList
	err = admin.List(t.Context(), &list)
	if meta.IsNoMatchError(err) {
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, policy := range list.Items {
		for _, rule := range policy.Spec.MatchConstraints.ResourceRules {
			if strings.Contains(strings.Join(rule.Resources, " "), resource) {
				return true
			}
		}
	}
	return false
}

// profiles is the dialect of ServiceProfile. The profile of route NAME is that of a
// Service of that name, whose requests go to the Services of the rule. Unwritten, the
// route that most tests use is the profile of the workload's own Service, and has no
// entries.
type profiles struct{ unwritten bool }

var _ conformance.Dialect = profiles{}

// Manifest in which some entries have a port.
func (d profiles) Manifest(r conformance.Route) *unstructured.Unstructured {
	spec := map[string]any{"routes": []any{map[string]any{"name": "buy", "condition": map[string]any{"method": "POST", "pathRegex": "/buy"}}}}
	name := r.Name
	switch {
	case strings.Contains(name, "."): // It is made already.
	case d.unwritten && name == "shop":
		name = authority("web", r.Namespace)
	default:
		name = authority(name, r.Namespace)
	}
	if len(r.Rules) > 0 && name != authority(r.Rules[0].Backends[0].Service, r.Namespace) {
		var entries []any
		for i, b := range r.Rules[0].Backends {
			to := authority(b.Service, r.Namespace)
			if i%2 == 1 {
				to += ":80"
			}
			weight := resource.NewMilliQuantity(b.Weight, resource.DecimalSI)
			entries = append(entries, map[string]any{"authority": to, "weight": weight.String()})
		}
		spec["dstOverrides"] = entries
	}
	u := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	u.SetGroupVersionKind(serviceProfileKind())
	u.SetNamespace(r.Namespace)
	u.SetName(name)
	return u
}

// authority of a Service.
func authority(service, namespace string) string {
	return service + "." + namespace + ".svc.cluster.local"
}

// Rules of a profile as the API server stored it. The one rule is the workload's, and
// has the name that the suite gives to it.
func (profiles) Rules(u *unstructured.Unstructured) []conformance.Rule {
	spec, _ := u.Object["spec"].(map[string]any)
	r := conformance.Rule{Name: "web", Rest: without(spec, "dstOverrides")}
	entries, _ := spec["dstOverrides"].([]any)
	if len(entries) == 0 {
		entries = []any{map[string]any{"authority": u.GetName(), "weight": "1"}}
	}
	for _, item := range entries {
		entry, _ := item.(map[string]any)
		to, _ := entry["authority"].(string)
		service, rest, _ := strings.Cut(to, ".")
		weight := resource.MustParse(cmp.Or(fmt.Sprint(entry["weight"]), "0"))
		r.Backends = append(r.Backends, conformance.Backend{
			Service: service, Weight: weight.MilliValue(), Rest: rest + without(entry, "authority", "weight"),
		})
	}
	return []conformance.Rule{r}
}

// TwinRest is all.
func (profiles) TwinRest(rest string) string { return rest }

// Annotate sets the timeout of a route, which is what a profile calls a class of
// requests.
func (profiles) Annotate(u *unstructured.Unstructured, rule string, n int) {
	if rule != "web" {
		return
	}
	spec, _ := u.Object["spec"].(map[string]any)
	routes, _ := spec["routes"].([]any)
	buy, _ := routes[0].(map[string]any)
	buy["timeout"] = fmt.Sprintf("%ds", n)
}

// Accept is not possible: a profile has no status.
func (profiles) Accept(*unstructured.Unstructured) {}
