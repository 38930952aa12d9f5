package linkerd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// controllerName is how Linkerd's policy controller signs what it reports on routes.
const controllerName = "linkerd.io/policy-controller"

// routes knows what Linkerd makes of routes of Gateway API, of which their status says
// little or nothing: it accepts what it passes over.
type routes struct{ live client.Reader }

// attached finds what keeps Linkerd from following those of the target's routes that
// are its own: on which it has reported.
func (r routes) attached(ctx context.Context, target providers.Target, objects []*unstructured.Unstructured) error {
	for _, route := range objects {
		if route.GroupVersionKind().Group != gatewayv1.GroupName {
			continue
		}
		services, err := meshed(route)
		if err != nil {
			return err
		}
		if len(services) == 0 {
			continue
		}
		if err := unfollowed(route, target.Planned); err != nil {
			return err
		}
		if err := r.parents(ctx, route, services); err != nil {
			return err
		}
		if err := r.profiles(ctx, route, services); err != nil {
			return err
		}
	}
	return nil
}

// meshed are the Services of the route's namespace that are parents of a route on which
// Linkerd has reported.
func meshed(route *unstructured.Unstructured) ([]string, error) {
	var r struct {
		Status gatewayv1.RouteStatus `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(route.Object, &r); err != nil {
		return nil, fmt.Errorf("cannot read the status of %s: %w", nameOf(route), err)
	}
	var services []string
	for _, p := range r.Status.Parents {
		ref := p.ParentRef
		elsewhere := ref.Namespace != nil && string(*ref.Namespace) != route.GetNamespace()
		if p.ControllerName == controllerName && ref.Kind != nil && *ref.Kind == "Service" && !elsewhere {
			services = append(services, string(ref.Name))
		}
	}
	return services, nil
}

// nameOf a route is Kind/name.
func nameOf(route *unstructured.Unstructured) string { return route.GetKind() + "/" + route.GetName() }

// knows tells whether Linkerd knows a filter.
func knows(filter string) bool {
	return slices.Contains([]gatewayv1.HTTPRouteFilterType{
		gatewayv1.HTTPRouteFilterRequestHeaderModifier, gatewayv1.HTTPRouteFilterResponseHeaderModifier,
		gatewayv1.HTTPRouteFilterRequestRedirect,
	}, gatewayv1.HTTPRouteFilterType(filter))
}

// unfollowed finds what Linkerd accepts and does not follow: a filter that it does not
// know, with which it passes over the whole change of the route and goes on with the
// weights that it had, or a backend that gets no request because of what it lacks or
// has too much.
func unfollowed(route *unstructured.Unstructured, planned []*v1alpha1.Extras) error {
	refuse := func(field, problem, remedy string) error {
		return &providers.UnsupportedError{Object: nameOf(route), Field: field, Problem: problem, Remedy: remedy}
	}
	if slices.ContainsFunc(planned, func(e *v1alpha1.Extras) bool { return e != nil && e.Mirror != nil }) {
		return refuse("spec.rules[].filters", "is of Linkerd, which mirrors nothing, and a step has a mirror",
			"take the mirror out of the steps, or send the new version real requests by weight or matches")
	}
	for i, rule := range children(route.Object["spec"], "rules") {
		at := fmt.Sprintf("spec.rules[%d]", i)
		for j, filter := range children(rule, "filters") {
			if kind, _ := filter["type"].(string); !knows(kind) {
				return refuse(fmt.Sprintf("%s.filters[%d]", at, j),
					fmt.Sprintf("is a %s, with which Linkerd accepts the route and goes on with the weights that it had", kind), "take the filter out of the route")
			}
		}
		for j, backend := range children(rule, "backendRefs") {
			to := fmt.Sprintf("%s.backendRefs[%d]", at, j)
			if backend["port"] == nil {
				return refuse(to+".port", "is missing, so that Linkerd fails the requests to this backend", "write the port of the Service")
			}
			for k, filter := range children(backend, "filters") {
				if kind, _ := filter["type"].(string); !knows(kind) {
					return refuse(fmt.Sprintf("%s.filters[%d]", to, k),
						fmt.Sprintf("is a %s, with which Linkerd fails the requests to this backend", kind), "take the filter out of the route")
				}
			}
		}
	}
	return nil
}

// children of an object in one of its lists. What is not of the expected form is none.
func children(object any, field string) []map[string]any {
	parent, _ := object.(map[string]any)
	list, _ := parent[field].([]any)
	out := make([]map[string]any, len(list))
	for i, item := range list {
		out[i], _ = item.(map[string]any)
	}
	return out
}

// parents finds a Service whose requests Linkerd cannot route, and of which it reports
// no more than that there is no matching parent: one without an address of its own.
func (r routes) parents(ctx context.Context, route *unstructured.Unstructured, services []string) error {
	for _, name := range services {
		service := &corev1.Service{}
		err := r.live.Get(ctx, client.ObjectKey{Namespace: route.GetNamespace(), Name: name}, service)
		if apierrors.IsNotFound(err) {
			continue // Of that the route's status tells.
		}
		if err != nil {
			return fmt.Errorf("cannot read Service %q, the parent of %s: %w", name, nameOf(route), err)
		}
		var problem string
		switch {
		case service.Spec.Type == corev1.ServiceTypeExternalName:
			problem = "is of type ExternalName"
		case strings.EqualFold(service.Spec.ClusterIP, corev1.ClusterIPNone):
			problem = "is headless"
		default:
			continue
		}
		return &providers.UnsupportedError{
			Object: nameOf(route), Field: "spec.parentRefs",
			Problem: fmt.Sprintf("names Service %q, which %s: Linkerd routes requests to Services with a cluster IP alone", name, problem),
			Remedy:  "name a Service with a cluster IP for the same pods, which callers then use, or release without routes",
		}
	}
	return nil
}

// profiles finds a ServiceProfile for one of the Services, beside which proxies pass
// over the route.
func (r routes) profiles(ctx context.Context, route *unstructured.Unstructured, services []string) error {
	kind := profileKind()
	list, err := split.Policies(ctx, r.live, route.GetNamespace(), kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("cannot look for a %s that is in the way: %w", kind.Kind, err)
	}
	for _, p := range list {
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
