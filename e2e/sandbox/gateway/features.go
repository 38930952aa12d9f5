package gateway

import (
	"slices"
	"strings"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// supportedFeatures returns what a GatewayClass of the gateway's claims, in the
// order that the API asks for.
func supportedFeatures() []gwv1.SupportedFeature {
	names := []features.FeatureName{
		features.SupportGateway,
		features.SupportHTTPRoute,
		features.SupportGRPCRoute,
		features.SupportReferenceGrant,
		features.SupportHTTPRouteBackendProtocolH2C,
		features.SupportHTTPRouteBackendRequestHeaderModification,
		features.SupportHTTPRouteBackendTimeout,
		features.SupportHTTPRouteMethodMatching,
		features.SupportHTTPRouteNamedRouteRule,
		features.SupportHTTPRouteParentRefPort,
		features.SupportHTTPRouteQueryParamMatching,
		features.SupportHTTPRouteRequestMirror,
		features.SupportHTTPRouteRequestMultipleMirrors,
		features.SupportHTTPRouteRequestPercentageMirror,
		features.SupportHTTPRouteRequestTimeout,
		features.SupportHTTPRouteResponseHeaderModification,
		features.SupportGRPCRouteNamedRouteRule,
	}
	slices.SortFunc(names, func(a, b features.FeatureName) int { return strings.Compare(string(a), string(b)) })
	out := make([]gwv1.SupportedFeature, 0, len(names))
	for _, name := range names {
		out = append(out, gwv1.SupportedFeature{Name: gwv1.FeatureName(name)})
	}
	return out
}
