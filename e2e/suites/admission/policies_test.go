package admission

import (
	"context"
	"fmt"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
)

// A field that is misspelt in an expression is found when the expression is
// evaluated: too late. The control plane checks the types beforehand.
func TestValidatingPoliciesHaveNoTypeErrors(t *testing.T) {
	admin := newNamespace(t).client(t, harness.Admin)
	var policies admissionregistrationv1.ValidatingAdmissionPolicyList
	harness.Eventually(t, patience, "the policies to be checked", func(ctx context.Context) error {
		if err := admin.List(ctx, &policies, client.MatchingLabels{"app.kubernetes.io/name": "weir"}); err != nil {
			return err
		}
		for _, p := range policies.Items {
			if p.Status.ObservedGeneration != p.Generation {
				return fmt.Errorf("%s is not", p.Name)
			}
		}
		return nil
	})
	if len(policies.Items) == 0 {
		t.Error("there are no policies")
	}
	for _, p := range policies.Items {
		if p.Status.TypeChecking == nil {
			continue
		}
		for _, w := range p.Status.TypeChecking.ExpressionWarnings {
			t.Errorf("%s: %s: %s", p.Name, w.FieldRef, w.Warning)
		}
	}
}
