package istio

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// destinationRule is the kind that says how proxies speak to a host.
const destinationRule = "DestinationRule"

// policies looks for policies on hosts, live.
type policies struct{ live client.Reader }

// attached finds a DestinationRule that says how proxies speak to a user's Service
// and not to its twin: TLS, outlier detection or pools would be lost. One for a
// wildcard is no matter: it is for both, unless one of them has its own, which wins.
// Those of other namespaces than the Service's are not known.
func (p policies) attached(ctx context.Context, target providers.Target, _ []*unstructured.Unstructured) error {
	if len(target.Pairs) == 0 {
		return nil
	}
	kind := istioKind(destinationRule)
	list, err := split.Policies(ctx, p.live, target.Namespace, kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("cannot look for a %s that is in the way: %w", destinationRule, err)
	}
	rules := make([]*networkingv1.DestinationRule, len(list))
	for i, item := range list {
		if rules[i], err = decode(item); err != nil {
			return err
		}
	}
	for _, pair := range target.Pairs {
		if slices.ContainsFunc(rules, func(r *networkingv1.DestinationRule) bool { return isFor(r, pair.Canary) }) {
			continue
		}
		for _, rule := range rules {
			if isFor(rule, pair.Stable) && hasPolicy(rule) {
				return &providers.UnsupportedError{
					Object: destinationRule + "/" + rule.Name, Field: "spec.host",
					Problem: fmt.Sprintf("has a traffic policy for Service %q that the canary's would be without", pair.Stable),
					Remedy:  fmt.Sprintf("add a DestinationRule with the same policy for host %q, which may be there before the Service", hostOf(rule.Spec.GetHost(), pair.Canary)),
				}
			}
		}
	}
	return nil
}

// decode a DestinationRule. Fields that its type does not know are left out.
func decode(item unstructured.Unstructured) (*networkingv1.DestinationRule, error) {
	rule := &networkingv1.DestinationRule{}
	text, err := item.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(text, rule)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s %q: %w", destinationRule, item.GetName(), err)
	}
	return rule, nil
}

// isFor tells whether a DestinationRule is for a Service of its namespace, and for
// no other host.
func isFor(rule *networkingv1.DestinationRule, service string) bool {
	return serviceOf(rule.Spec.GetHost(), rule.Namespace) == service
}

// hasPolicy tells whether a DestinationRule has a traffic policy, for the host or
// for a subset.
func hasPolicy(rule *networkingv1.DestinationRule) bool {
	if rule.Spec.GetTrafficPolicy() != nil {
		return true
	}
	for _, subset := range rule.Spec.GetSubsets() {
		if subset.GetTrafficPolicy() != nil {
			return true
		}
	}
	return false
}
