package admission

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
)

// service is the Service web as it stands in Git.
const service = `apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80}]
`

// narrowing is what of a Service the pin is about.
type narrowing struct {
	Pin, Rollout string
	Selector     map[string]string
}

var (
	wide   = narrowing{Selector: map[string]string{"app": "web"}}
	pinned = narrowing{Pin: "abc", Rollout: "web", Selector: map[string]string{"app": "web", "pod-template-hash": "abc"}}
)

func (c cluster) service(t *testing.T) *corev1.Service {
	t.Helper()
	s := &corev1.Service{}
	must(t, c.client(t, harness.Admin).Get(t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "web"}, s))
	return s
}

func narrowingOf(s *corev1.Service) narrowing {
	return narrowing{Pin: s.Labels[v1alpha1.PinLabel], Rollout: s.Labels[v1alpha1.RolloutLabel], Selector: s.Spec.Selector}
}

// patchService is a write of Weir's.
func (c cluster) patchService(t *testing.T, patch string) {
	t.Helper()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "web"}}
	must(t, c.client(t, harness.Weir).Patch(t.Context(), s, client.RawPatch(types.MergePatchType, []byte(patch))))
}

const (
	pin   = `{"metadata":{"labels":{"weir.dev/pin":"abc","weir.dev/rollout":"web"}}}`
	unpin = `{"metadata":{"labels":{"weir.dev/pin":null,"weir.dev/rollout":null}}}`
)

func TestPinByWeir(t *testing.T) {
	c := newNamespace(t)
	c.kubectl(t, harness.GitOps, service, "apply", "-f", "-")
	steps := []struct {
		reason, patch string
		want          narrowing
	}{
		{"the label alone narrows the Service", pin, pinned},
		{"another revision takes its place", `{"metadata":{"labels":{"weir.dev/pin":"def"}}}`,
			narrowing{Pin: "def", Rollout: "web", Selector: map[string]string{"app": "web", "pod-template-hash": "def"}}},
		{"without the label the Service is as the user wrote it", unpin, wide},
	}
	for _, step := range steps {
		c.patchService(t, step.patch)
		if diff := cmp.Diff(step.want, narrowingOf(c.service(t))); diff != "" {
			t.Errorf("%s: -want, +got:\n%s", step.reason, diff)
		}
	}
}

// A Service that Git puts back every minute must stay narrowed, or callers
// beside the route meet the canary.
func TestPinIsKept(t *testing.T) {
	cases := map[string]struct {
		reason string
		input  string
		args   []string
	}{
		"ClientSideApply":   {"GitOps in the manner of kubectl apply", service, []string{"apply", "-f", "-"}},
		"ServerSideApply":   {"no part of the selector is Weir's, so there is no conflict", service, []string{"apply", "--server-side", "-f", "-"}},
		"ForcedApply":       {"GitOps in the manner of Flux", service, []string{"apply", "--server-side", "--force-conflicts", "-f", "-"}},
		"Replace":           {"GitOps in the manner of Argo CD's Replace=true, which drops the labels", service, []string{"replace", "-f", "-"}},
		"LabelOff":          {"a tidy person", "", []string{"label", "service/web", "weir.dev/pin-"}},
		"AllLabelsOff":      {"a thorough one", "", []string{"label", "service/web", "weir.dev/pin-", "weir.dev/rollout-"}},
		"OtherRevision":     {"nobody else says which revision is stable", "", []string{"label", "--overwrite", "service/web", "weir.dev/pin=def"}},
		"SelectorRemoved":   {"an edit of the selector", "", []string{"patch", "service/web", "--type=json", "-p", `[{"op":"remove","path":"/spec/selector/pod-template-hash"}]`}},
		"SelectorToCanary":  {"an edit to what is not stable", "", []string{"patch", "service/web", "-p", `{"spec":{"selector":{"pod-template-hash":"def"}}}`}},
		"UnrelatedPortEdit": {"any other edit passes", "", []string{"patch", "service/web", "-p", `{"spec":{"ports":[{"port":80,"targetPort":8080}]}}`}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newNamespace(t)
			// The field manager of the write that made it, so that one more apply has
			// no manager of its own to argue with.
			c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
			c.patchService(t, pin)
			c.kubectl(t, harness.GitOps, tc.input, tc.args...)
			if diff := cmp.Diff(pinned, narrowingOf(c.service(t))); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// No drift: a tool that compares finds nothing to do, and writes nothing.
func TestPinIsNoDrift(t *testing.T) {
	c := newNamespace(t)
	c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
	c.patchService(t, pin)
	// kubectl diff exits with 1 when there is a difference.
	if out, _ := c.kubectl(t, harness.GitOps, service, "diff", "--server-side", "-f", "-"); out != "" {
		t.Errorf("the pin shows as a drift:\n%s", out)
	}
	before := c.service(t).ResourceVersion
	c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
	if after := c.service(t).ResourceVersion; after != before {
		t.Errorf("the same manifest was written at resourceVersion %s, again at %s", before, after)
	}
}

// An edit of the user's own selector passes, with the pin on top.
func TestPinKeepsTheUsersSelector(t *testing.T) {
	c := newNamespace(t)
	c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
	c.patchService(t, pin)
	c.kubectl(t, harness.GitOps, edit(service, "{app: web}", "{app: web, tier: front}"), "apply", "--server-side", "-f", "-")
	want := map[string]string{"app": "web", "tier": "front", "pod-template-hash": "abc"}
	if diff := cmp.Diff(want, c.service(t).Spec.Selector); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	c.patchService(t, unpin)
	delete(want, "pod-template-hash")
	if diff := cmp.Diff(want, c.service(t).Spec.Selector); diff != "" {
		t.Errorf("after the release: -want, +got:\n%s", diff)
	}
}

// Break-glass must work without Weir, by the rights of a developer.
func TestPinOff(t *testing.T) {
	c := newNamespace(t)
	c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
	c.patchService(t, pin)
	off := narrowing{Pin: v1alpha1.PinOff, Rollout: "web", Selector: wide.Selector}

	c.kubectl(t, harness.Carol, "", "label", "--overwrite", "service/web", "weir.dev/pin=off")
	if diff := cmp.Diff(off, narrowingOf(c.service(t))); diff != "" {
		t.Errorf("the pin is not off: -want, +got:\n%s", diff)
	}
	c.kubectl(t, harness.GitOps, service, "apply", "--server-side", "-f", "-")
	if diff := cmp.Diff(off, narrowingOf(c.service(t))); diff != "" {
		t.Errorf("the pin came back: -want, +got:\n%s", diff)
	}
	c.kubectl(t, harness.Carol, "", "label", "service/web", "weir.dev/pin-", "weir.dev/rollout-")
	if diff := cmp.Diff(wide, narrowingOf(c.service(t))); diff != "" {
		t.Errorf("the label cannot be taken off afterwards: -want, +got:\n%s", diff)
	}
	c.patchService(t, pin)
	if diff := cmp.Diff(pinned, narrowingOf(c.service(t))); diff != "" {
		t.Errorf("Weir cannot pin again: -want, +got:\n%s", diff)
	}
}

// What was exported during a release must not select that release's pods for
// ever after.
func TestExportedPinIsTakenOut(t *testing.T) {
	exported := edit(service, "metadata: {name: web}", "metadata: {name: web, labels: {weir.dev/pin: abc}}", "{app: web}", "{app: web, pod-template-hash: abc}")
	c := newNamespace(t)
	for _, verb := range []string{"create", "replace", "apply"} {
		c.kubectl(t, harness.GitOps, exported, verb, "-f", "-")
		if diff := cmp.Diff(wide, narrowingOf(c.service(t))); diff != "" {
			t.Errorf("kubectl %s: -want, +got:\n%s", verb, diff)
		}
	}
}

// Services that Weir has nothing to do with may select by a hash.
func TestOtherServicesAreLeftAlone(t *testing.T) {
	c := newNamespace(t)
	c.kubectl(t, harness.GitOps, edit(service, "{app: web}", "{app: web, pod-template-hash: abc}"), "apply", "-f", "-")
	if got := c.service(t).Spec.Selector["pod-template-hash"]; got != "abc" {
		t.Errorf("pod-template-hash in the selector is %q, want abc", got)
	}
}
