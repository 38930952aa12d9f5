package linkerd

import (
	"context"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/providers"
)

// controllerName is how Linkerd's policy controller signs what it reports on routes.
const controllerName = "linkerd.io/policy-controller"

// routes knows what Linkerd makes of routes of Gateway API, of which their status
// says nothing: it accepts what it passes over.
type routes struct{ live client.Reader }

// attached finds what keeps Linkerd from following the target's routes: a
// ServiceProfile for the same Service, beside which proxies pass over routes, or a
// filter that it does not know, with which it goes on with the weights that it had.
func (r routes) attached(ctx context.Context, target providers.Target) error {
	for _, ref := range target.Routes {
		if ref.Kind != "HTTPRoute" && ref.Kind != "GRPCRoute" {
			continue
		}
		route := &unstructured.Unstructured{}
		route.SetGroupVersionKind(schema.GroupVersionKind{Group: gatewayv1.GroupName, Version: gatewayv1.GroupVersion.Version, Kind: ref.Kind})
		err := r.live.Get(ctx, client.ObjectKey{Namespace: target.Namespace, Name: ref.Name}, route)
		switch {
		case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
			continue // That is said elsewhere.
		case err != nil:
			return fmt.Errorf("cannot read %s %q: %w", ref.Kind, ref.Name, err)
		}
		services, err := meshed(route)
		if err != nil {
			return err
		}
		if len(services) == 0 {
			continue
		}
		if err := unknownFilter(route); err != nil {
			return err
		}
		if err := r.profiles(ctx, route, services); err != nil {
			return err
		}
	}
	return nil
}

// meshed are the Services that are parents of a route on which Linkerd has reported.
func meshed(route *unstructured.Unstructured) ([]string, error) {
	var r struct {
		Status gatewayv1.RouteStatus `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(route.Object, &r); err != nil {
		return nil, fmt.Errorf("cannot read the status of %s %q: %w", route.GetKind(), route.GetName(), err)
	}
	var services []string
	for _, p := range r.Status.Parents {
		if p.ControllerName == controllerName && p.ParentRef.Kind != nil && *p.ParentRef.Kind == "Service" {
			services = append(services, string(p.ParentRef.Name))
		}
	}
	return services, nil
}

// filters of a rule that Linkerd knows.
func knownFilters() []string {
	return []string{
		string(gatewayv1.HTTPRouteFilterRequestHeaderModifier), string(gatewayv1.HTTPRouteFilterResponseHeaderModifier),
		string(gatewayv1.HTTPRouteFilterRequestRedirect),
	}
}

// unknownFilter finds a filter that Linkerd accepts, and then passes over the whole
// change of the route: it goes on with the weights that it had.
func unknownFilter(route *unstructured.Unstructured) error {
	spec, _ := route.Object["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	for i, item := range rules {
		rule, _ := item.(map[string]any)
		filters, _ := rule["filters"].([]any)
		for j, item := range filters {
			filter, _ := item.(map[string]any)
			kind, _ := filter["type"].(string)
			if slices.Contains(knownFilters(), kind) {
				continue
			}
			return &providers.UnsupportedError{
				Object: route.GetKind() + "/" + route.GetName(), Field: fmt.Sprintf("spec.rules[%d].filters[%d]", i, j),
				Problem: fmt.Sprintf("is a %s, with which Linkerd accepts the route and goes on with the weights that it had", kind),
				Remedy:  "take the filter out of the route, and a mirror out of the steps",
			}
		}
	}
	return nil
}

// profiles finds a ServiceProfile for one of the Services. Clusters without the kind
// have none; without the right to read it, none is known.
func (r routes) profiles(ctx context.Context, route *unstructured.Unstructured, services []string) error {
	list := &unstructured.UnstructuredList{}
	kind := profileKind()
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := r.live.List(ctx, list, client.InNamespace(route.GetNamespace()))
	switch {
	case meta.IsNoMatchError(err), apierrors.IsNotFound(err), apierrors.IsForbidden(err):
		return nil
	case err != nil:
		return fmt.Errorf("cannot list ServiceProfiles: %w", err)
	}
	for _, p := range list.Items {
		service := serviceOf(p.GetName(), route.GetNamespace())
		if slices.Contains(services, service) {
			return &providers.UnsupportedError{
				Object: "ServiceProfile/" + p.GetName(), Field: "metadata.name",
				Problem: fmt.Sprintf("is for Service %q, so that proxies pass over %s %q", service, route.GetKind(), route.GetName()),
				Remedy:  "delete the ServiceProfile, or name it in spec.traffic.routeRefs instead of the route",
			}
		}
	}
	return nil
}
