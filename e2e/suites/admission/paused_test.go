package admission

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
)

// TestWithoutMutatingPolicies is about clusters that do not know
// MutatingAdmissionPolicy. There the Deployment of a Rollout is paused for good,
// and what the other mode puts right is refused.
func TestWithoutMutatingPolicies(t *testing.T) {
	old, err := harness.Up(t.Context(), "admission-paused", append(noTraffic, "--disable-mutating-policies")...)
	must(t, err)
	t.Cleanup(func() {
		if err := old.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	admin, err := old.Client(harness.Admin, client.Options{Scheme: scheme})
	must(t, err)
	must(t, chart.Install(t.Context(), admin, chart.InstallOptions{
		Values:            map[string]any{"mutatingAdmissionPolicy": map[string]any{"enabled": false}},
		WithoutController: true,
	}))

	t.Run("Unpause", func(t *testing.T) { testUnpauseIsRefused(t, old) })
	t.Run("Label", func(t *testing.T) { testLabelOffEndsThePause(t, old) })
	t.Run("Approver", func(t *testing.T) { testApproverMustBeGiven(t, old) })
}

// newPaused makes the Deployment web, labelled and paused by Weir.
func newPaused(t *testing.T, s *harness.Sandbox) cluster {
	t.Helper()
	c := newNamespaceOf(t, s)
	c.deploy(t)
	c.edit(t, harness.Weir, func(d *appsv1.Deployment) { d.Spec.Paused = true })
	return c
}

func testUnpauseIsRefused(t *testing.T, s *harness.Sandbox) {
	const refusal = "spec.paused must stay true: Rollout web releases this Deployment in steps"
	cases := map[string]struct {
		reason string
		input  string
		args   []string
		want   string
	}{
		"Resume":              {"the first thing people try", "", []string{"rollout", "resume", "deployment/web"}, refusal},
		"ServerSideUnpaused":  {"a manifest that says paused: false", edit(manifest("v2"), "spec:\n  replicas", "spec:\n  paused: false\n  replicas"), []string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, refusal},
		"Replace":             {"a manifest that says nothing of it", manifest("v2"), []string{"replace", "-f", "-"}, refusal},
		"ReplacePaused":       {"the remedy that the refusal names", edit(manifest("v2"), "spec:\n  replicas", "spec:\n  paused: true\n  replicas"), []string{"replace", "-f", "-"}, ""},
		"ClientSideApply":     {"an apply leaves alone what it does not say", manifest("v2"), []string{"apply", "-f", "-"}, ""},
		"ServerSideApply":     {"a server-side one, too", manifest("v2"), []string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, ""},
		"UnpauseWithoutLabel": {"nor does a write that takes the label off", "", []string{"patch", "deployment/web", "--type=merge", "-p", `{"metadata":{"labels":{"weir.dev/rollout":null}},"spec":{"paused":false}}`}, refusal},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newPaused(t, s)
			_, _, err := c.Kubectl(t.Context(), harness.GitOps, tc.input, append([]string{"--namespace", c.namespace}, tc.args...)...)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: want it accepted, got %v", tc.reason, err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: want a refusal with %q, got %v", tc.reason, tc.want, err)
			}
			if !c.deployment(t).Spec.Paused {
				t.Errorf("%s: the Deployment is un-paused", tc.reason)
			}
		})
	}
}

func testLabelOffEndsThePause(t *testing.T, s *harness.Sandbox) {
	c := newPaused(t, s)
	c.edit(t, harness.Weir, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	if c.deployment(t).Spec.Paused {
		t.Error("Weir cannot un-pause the Deployment")
	}

	c = newPaused(t, s)
	c.kubectl(t, harness.GitOps, "", "label", "deployment/web", "weir.dev/rollout-")
	c.kubectl(t, harness.GitOps, "", "rollout", "resume", "deployment/web")
	if c.deployment(t).Spec.Paused {
		t.Error("without the label the Deployment cannot be resumed")
	}
}

func testApproverMustBeGiven(t *testing.T, s *harness.Sandbox) {
	c := newNamespaceOf(t, s)
	r := &v1alpha1.Rollout{}
	r.Namespace, r.Name, r.UID = c.namespace, "web", "u"
	carol := c.client(t, harness.Carol)
	err := carol.Create(t.Context(), approval(r, v1alpha1.ActionAbort, "", ""))
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "spec.approver.username must be you: carol") {
		t.Errorf("want a refusal that says what to write, got %v", err)
	}
	must(t, carol.Create(t.Context(), approval(r, v1alpha1.ActionAbort, "", "carol")))
}
