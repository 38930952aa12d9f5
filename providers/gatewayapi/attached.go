package gatewayapi

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// tlsPolicy is the kind that tells gateways to speak TLS to a Service.
const tlsPolicy = "BackendTLSPolicy"

// tlsPolicyVersions are those in which the kind may be served, the newest first:
// Gateway API has it as v1 since 1.4, before that as v1alpha3 alone. What is read
// here is the same in both.
func tlsPolicyVersions() []string {
	return []string{gatewayv1.GroupVersion.Version, "v1alpha3"}
}

// policies looks for policies on Services, live.
type policies struct{ live client.Reader }

// attached finds a policy that applies to a user's Service and not to its twin:
// the gateway would speak plain text to a canary that expects TLS.
func (p policies) attached(ctx context.Context, target providers.Target, _ []*unstructured.Unstructured) error {
	if len(target.Pairs) == 0 {
		return nil
	}
	kind := schema.GroupKind{Group: gatewayv1.GroupName, Kind: tlsPolicy}
	list, err := split.Policies(ctx, p.live, target.Namespace, kind, tlsPolicyVersions()...)
	if err != nil {
		return fmt.Errorf("cannot look for a %s that is in the way: %w", tlsPolicy, err)
	}
	for _, item := range list {
		if err := covers(item, target.Pairs); err != nil {
			return err
		}
	}
	return nil
}

// covers is an error when the policy is for a stable Service alone.
func covers(item unstructured.Unstructured, pairs []providers.Pair) error {
	var policy struct {
		Spec struct {
			TargetRefs []gatewayv1.LocalPolicyTargetReference `json:"targetRefs"`
		} `json:"spec"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(item.Object, &policy); err != nil {
		return fmt.Errorf("cannot read %s %q: %w", tlsPolicy, item.GetName(), err)
	}
	targets := func(service string) bool {
		return slices.ContainsFunc(policy.Spec.TargetRefs, func(ref gatewayv1.LocalPolicyTargetReference) bool {
			return ref.Group == "" && ref.Kind == "Service" && string(ref.Name) == service
		})
	}
	for _, pair := range pairs {
		if targets(pair.Stable) && !targets(pair.Canary) {
			return &providers.UnsupportedError{
				Object: tlsPolicy + "/" + item.GetName(), Field: "spec.targetRefs",
				Problem: fmt.Sprintf("is for Service %q and not for the canary's", pair.Stable),
				Remedy:  fmt.Sprintf("name Service %q there, too", pair.Canary),
			}
		}
	}
	return nil
}
