package conformance

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/istio"
)

// awaitRights waits until the GitOps tool's rights in the namespace are in force.
func awaitRights(t *testing.T, s *harness.Sandbox, namespace string) {
	t.Helper()
	c, err := s.Client(harness.GitOps, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, patience, "the rights of "+string(harness.GitOps), func(ctx context.Context) error {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: namespace, Verb: "watch", Group: istio.Group, Resource: "virtualservices",
			},
		}}
		if err := c.Create(ctx, review); err != nil {
			return err
		}
		if !review.Status.Allowed {
			return errors.New("not in force")
		}
		return nil
	})
}

// awaitSplit waits until the split policy is in force for kinds of routes. An API
// server takes some seconds to apply policies to kinds that come from CRDs.
func awaitSplit(ctx context.Context, s *harness.Sandbox, d conformance.Dialect, kinds ...string) error {
	admin, err := s.Client(harness.Admin, client.Options{Scheme: scheme})
	if err != nil {
		return err
	}
	for _, kind := range kinds {
		u := d.Manifest(conformance.Route{
			Kind: kind, Namespace: "default", Name: "await-split",
			Rules: []conformance.Rule{{Name: "web", Backends: []conformance.Backend{{Service: "web", Weight: 1}}}},
		})
		u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "active"})
		u.SetAnnotations(map[string]string{v1alpha1.SplitAnnotation: "web web web-canary 500 *"})
		if err := admin.Create(ctx, u); err != nil {
			return err
		}
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			written := u.DeepCopy()
			if err := admin.Update(ctx, written, client.DryRunAll); err != nil {
				return false, nil //nolint:nilerr // Refusals are what is waited out.
			}
			return len(d.Rules(written)[0].Backends) == 2, nil
		})
		if err != nil {
			return fmt.Errorf("the split policy is not in force for %s: %w", kind, err)
		}
		if err := admin.Delete(ctx, u); err != nil {
			return err
		}
	}
	return nil
}
