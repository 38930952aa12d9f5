package admission

import (
	"context"
	"os"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
)

var (
	approveGate = right{verb: "approve", group: v1alpha1.GroupVersion.Group, resource: "rollouts", subresource: "sre-leads", name: "pay"}
	create      = right{verb: "create", group: v1alpha1.GroupVersion.Group, resource: "approvals"}
)

// newPay makes the Rollout pay of the documentation, with its gate sre-leads
// and the Role by which alice and bob may answer it.
func newPay(t *testing.T) (cluster, *v1alpha1.Rollout) {
	t.Helper()
	c := newNamespace(t)
	example, err := os.ReadFile("../../../docs/examples/03-analysis-and-approval.yaml")
	must(t, err)
	c.kubectl(t, harness.Admin, string(example), "apply", "-f", "-")
	c.awaitRight(t, harness.Alice, approveGate)
	c.awaitRight(t, harness.Alice, create)
	c.awaitRight(t, harness.Carol, create)
	r := &v1alpha1.Rollout{}
	must(t, c.client(t, harness.Admin).Get(t.Context(), client.ObjectKey{Namespace: c.namespace, Name: "pay"}, r))
	return c, r
}

func approval(r *v1alpha1.Rollout, action v1alpha1.ApprovalAction, gate, approver string) *v1alpha1.Approval {
	a := &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, GenerateName: "pay-"},
		Spec: v1alpha1.ApprovalSpec{
			TargetRef: v1alpha1.ApprovalTarget{Kind: "Rollout", Name: r.Name, UID: r.UID},
			Release:   1,
			Revision:  "abc",
			Action:    action,
			Gate:      gate,
		},
	}
	if action == v1alpha1.ActionReject {
		a.Spec.Reason = "errors at checkout"
	}
	if approver != "" {
		a.Spec.Approver = &v1alpha1.Approver{Username: approver}
	}
	return a
}

func TestWhoMayDecide(t *testing.T) {
	const gate = "sre-leads"
	c, pay := newPay(t)
	other := pay.DeepCopy()
	other.Name = "other"

	cases := map[string]struct {
		reason   string
		user     harness.User
		approval *v1alpha1.Approval
		// want is part of the error; empty: it is accepted, by the user's name.
		want string
	}{
		"Alice": {"she has the verb on the gate", harness.Alice,
			approval(pay, v1alpha1.ActionApprove, gate, "alice"), ""},
		"AliceRejects": {"the same verb answers either way", harness.Alice,
			approval(pay, v1alpha1.ActionReject, gate, "alice"), ""},
		"CarolWithoutTheVerb": {"a developer may create Approvals, but not answer this gate", harness.Carol,
			approval(pay, v1alpha1.ActionApprove, gate, "carol"), "you may not answer gate sre-leads of Rollout pay: it needs verb approve on rollouts/sre-leads"},
		"CarolRejects": {"nor reject it", harness.Carol,
			approval(pay, v1alpha1.ActionReject, gate, "carol"), "it needs verb approve on rollouts/sre-leads"},
		"CarolAsAlice": {"nobody decides in another's name", harness.Carol,
			approval(pay, v1alpha1.ActionApprove, gate, "alice"), "spec.approver.username must be you: carol"},
		"AliceAsCarol": {"not even in that of somebody with fewer rights", harness.Alice,
			approval(pay, v1alpha1.ActionApprove, gate, "carol"), "spec.approver.username must be you: alice"},
		"AliceElsewhere": {"her right is about one Rollout", harness.Alice,
			approval(other, v1alpha1.ActionApprove, gate, "alice"), "you may not answer gate sre-leads of Rollout other"},
		"AliceOtherGate": {"and about one gate", harness.Alice,
			approval(pay, v1alpha1.ActionApprove, "product", "alice"), "it needs verb approve on rollouts/product"},
		"AliceAborts": {"whoever approves does not thereby command the release", harness.Alice,
			approval(pay, v1alpha1.ActionAbort, "", "alice"), "you may not abort Rollout pay: it needs verb abort on rollouts"},
		"AlicePromotes": {"nor skip its steps", harness.Alice,
			approval(pay, v1alpha1.ActionPromote, "", "alice"), "it needs verb promote on rollouts"},
		"CarolAborts": {"whoever may change the workload may abort its release", harness.Carol,
			approval(pay, v1alpha1.ActionAbort, "", "carol"), ""},
		"CarolPromotes": {"or promote it", harness.Carol,
			approval(pay, v1alpha1.ActionPromote, "", "carol"), ""},
		"CarolRetries": {"or try it again", harness.Carol,
			approval(pay, v1alpha1.ActionRetry, "", "carol"), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := c.client(t, tc.user).Create(t.Context(), tc.approval)
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: want it accepted, got %v", tc.reason, err)
			case tc.want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("%s: want a refusal with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

// The question of `kubectl auth can-i` has the same answer as the decision.
func TestCanI(t *testing.T) {
	c, _ := newPay(t)
	args := []string{"auth", "can-i", "approve", "rollouts/pay", "--subresource=sre-leads"}
	if out, _ := c.kubectl(t, harness.Alice, "", args...); strings.TrimSpace(out) != "yes" {
		t.Errorf("alice is told %q, want yes", out)
	}
	if may(t, c.client(t, harness.Carol), c.namespace, approveGate) {
		t.Error("carol is told that she may approve")
	}
}

func TestImpersonationIsRefused(t *testing.T) {
	c, pay := newPay(t)
	_, _, err := c.Kubectl(t.Context(), harness.Carol, "", "--as", "alice", "--namespace", c.namespace, "get", "rollout", pay.Name)
	if err == nil || !strings.Contains(err.Error(), `User "carol" cannot impersonate`) {
		t.Errorf("carol acts as alice: want the API server to refuse that, got %v", err)
	}
}

// Whoever decides by kubectl need not say who they are.
func TestApproverIsFilledIn(t *testing.T) {
	c, pay := newPay(t)
	alice := c.client(t, harness.Alice)
	var a *v1alpha1.Approval
	// The API server needs some seconds to learn the schemas of new CRDs; until
	// then it refuses what the policy is to fill in.
	harness.Eventually(t, patience, "an Approval without approver", func(ctx context.Context) error {
		a = approval(pay, v1alpha1.ActionApprove, "sre-leads", "")
		return alice.Create(ctx, a)
	})
	if a.Spec.Approver == nil || a.Spec.Approver.Username != "alice" {
		t.Errorf("the approver is %v, want alice", a.Spec.Approver)
	}
	if err := c.client(t, harness.Carol).Create(t.Context(), approval(pay, v1alpha1.ActionApprove, "sre-leads", "")); !apierrors.IsForbidden(err) {
		t.Errorf("carol without a name: want her refused as with it, got %v", err)
	}
}

// A decision stands as it was made, for the one who made it and for everybody
// else.
func TestApprovalIsImmutable(t *testing.T) {
	c, pay := newPay(t)
	a := approval(pay, v1alpha1.ActionApprove, "sre-leads", "alice")
	must(t, c.client(t, harness.Alice).Create(t.Context(), a))
	changes := map[string]func(*v1alpha1.Approval){
		"Release":  func(a *v1alpha1.Approval) { a.Spec.Release = 2 },
		"Gate":     func(a *v1alpha1.Approval) { a.Spec.Gate = "product" },
		"Approver": func(a *v1alpha1.Approval) { a.Spec.Approver.Username = "bob" },
		"Reason":   func(a *v1alpha1.Approval) { a.Spec.Reason = "on second thoughts" },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			changed := a.DeepCopy()
			change(changed)
			err := c.client(t, harness.Admin).Update(t.Context(), changed)
			if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "an Approval cannot be changed: create another") {
				t.Errorf("want it refused as immutable, got %v", err)
			}
		})
	}
	for _, user := range []harness.User{harness.Alice, harness.Carol} {
		if err := c.client(t, user).Delete(t.Context(), a.DeepCopy()); !apierrors.IsForbidden(err) {
			t.Errorf("%s deletes a decision: want that refused, since it is the log of who decided what, got %v", user, err)
		}
		if err := c.client(t, user).Status().Update(t.Context(), a.DeepCopy()); !apierrors.IsForbidden(err) {
			t.Errorf("%s writes whether it counted: want that refused, got %v", user, err)
		}
	}
}
