package controller

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// holdPolicy is the name of the chart's hold policy and of its binding.
const holdPolicy = "weir-hold"

// holdMode resolves Auto: the admission policy where it is bound, else paused
// Deployments. It looks once, at the start: a policy that went away while the
// controller runs is seen by its effect, as a hold that was bypassed.
func holdMode(ctx context.Context, reader client.Reader, hold Hold) (v1alpha1.HoldMode, error) {
	if hold != HoldAuto {
		return v1alpha1.HoldMode(hold), nil
	}
	// A policy without a binding does nothing, so it is the binding that counts.
	// Clusters may serve it in one of two versions.
	for _, version := range []string{"v1", "v1beta1"} {
		binding := &metav1.PartialObjectMetadata{}
		binding.SetGroupVersionKind(schema.GroupVersionKind{
			Group: "admissionregistration.k8s.io", Version: version, Kind: "MutatingAdmissionPolicyBinding",
		})
		err := reader.Get(ctx, client.ObjectKey{Name: holdPolicy}, binding)
		switch {
		case err == nil:
			return v1alpha1.HoldAdmissionPolicy, nil
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		default:
			return "", fmt.Errorf("cannot tell whether the policy %s is installed (set --hold to AdmissionPolicy or Paused): %w", holdPolicy, err)
		}
	}
	return v1alpha1.HoldPaused, nil
}
