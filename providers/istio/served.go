package istio

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	networkingapi "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// askTimeout bounds the questions about one object. A pass waits for them.
const askTimeout = time.Second

// mesh is what stands for all sidecars where gateways are named.
const mesh = "mesh"

// Proxies tells what istiod serves to sidecars.
type Proxies interface {
	// Served are the routes that a VirtualService gives a sidecar for requests to a
	// Service at a port, in their order; none where it gives none. An error means that
	// istiod cannot be asked.
	Served(ctx context.Context, service, object client.ObjectKey, port int32) ([]ServedRoute, error)
}

// ServedRoute is one route as a sidecar has it. Routes are compared, so that what one
// says in another way must be written in one.
type ServedRoute struct {
	// Name of the rule, and of the match if it has one.
	Name string
	// Last is true when the route takes whatever comes to it, so that istiod leaves out
	// all that come after.
	Last bool
	// Conditions of the requests that it takes, sorted: exact and regular values of
	// headers and query parameters, as Weir writes them, by Condition.
	Conditions []string
	// Weights of destinations, as Destination gives them, without those of no weight
	// and without a common divisor.
	Weights map[string]uint32
	// Mirrors are destinations with their share in parts per million, in order.
	Mirrors []ServedMirror
}

// ServedMirror is where a share of the requests is mirrored to.
type ServedMirror struct {
	Destination string
	Millionths  uint32
}

// Destination names a host's subset, the same whether the host is written with the
// cluster's domain or without.
func Destination(host, subset string) string {
	host = strings.ToLower(host)
	if before, _, ok := strings.Cut(host, ".svc."); ok {
		host = before + ".svc"
	}
	return host + "|" + subset
}

const (
	// Header and Parameter are places of conditions.
	Header = "header"
	// Parameter of the query.
	Parameter = "parameter"
	// Exact and Regular are kinds of conditions.
	Exact = "exact"
	// Regular expressions match.
	Regular = "regex"
)

// Condition writes that a header or a query parameter has an exact value, or one that a
// regular expression matches.
func Condition(place, name, kind, value string) string {
	return place + " " + strings.ToLower(name) + " " + kind + " " + value
}

// Reduce weights: those of none are left out, the others have no common divisor.
func Reduce(weights map[string]uint32) {
	divisor := uint32(0)
	for name, w := range weights {
		if w == 0 {
			delete(weights, name)
			continue
		}
		for a := w; a != 0; {
			divisor, a = a, divisor%a
		}
	}
	for name := range weights {
		weights[name] /= divisor
	}
}

// same compares routes. Those after one that takes whatever comes are not served.
func same(written, served []ServedRoute) bool {
	if len(served) > len(written) {
		return false
	}
	for i, s := range served {
		if !s.equal(written[i]) {
			return false
		}
	}
	return len(served) == len(written) || len(served) > 0 && served[len(served)-1].Last
}

// equal compares all but whether a route is the last, which only istiod knows.
func (s ServedRoute) equal(w ServedRoute) bool {
	return s.Name == w.Name && maps.Equal(s.Weights, w.Weights) &&
		slices.Equal(s.Mirrors, w.Mirrors) && slices.Equal(s.Conditions, w.Conditions)
}

// pending says why an object is not in force as it is written, empty when it is.
func (d dialect) pending(ctx context.Context, object *unstructured.Unstructured) string {
	vs, err := decodeService(object)
	if err != nil {
		return err.Error()
	}
	if !sidecars(vs) {
		return ""
	}
	asked, found := 0, 0
	for _, name := range services(vs) {
		ports, err := d.ports(ctx, client.ObjectKey{Namespace: vs.Namespace, Name: name})
		if err != nil {
			return err.Error()
		}
		for _, port := range ports {
			written := writtenFor(vs, uint32(port))
			if len(written) == 0 {
				continue
			}
			served, problem := d.compare(ctx, vs, name, port, written)
			if problem != "" {
				return problem
			}
			asked++
			if served {
				found++
			}
		}
	}
	if asked > 0 && found == 0 {
		return "istiod serves nothing of it to sidecars of Weir's namespace: another VirtualService has its hosts, " +
			"or it is hidden from there by spec.exportTo or a Sidecar"
	}
	return ""
}

// compare what is served for a Service at a port with what is written. A port for
// something else than requests serves nothing, of which is nothing said.
func (d dialect) compare(ctx context.Context, vs *networkingv1.VirtualService, service string, port int32, written []ServedRoute) (bool, string) {
	routes, err := d.proxies.Served(ctx, client.ObjectKey{Namespace: vs.Namespace, Name: service}, client.ObjectKeyFromObject(vs), port)
	switch {
	case err != nil:
		return false, fmt.Sprintf("istiod cannot be asked: %v", err)
	case len(routes) > 0 && !same(written, routes):
		return false, fmt.Sprintf("istiod serves other routes for %s:%d yet", service, port)
	default:
		return len(routes) > 0, ""
	}
}

// decodeService reads a VirtualService. Fields that its type does not know are left
// out.
func decodeService(object *unstructured.Unstructured) (*networkingv1.VirtualService, error) {
	vs := &networkingv1.VirtualService{}
	text, err := object.MarshalJSON()
	if err == nil {
		err = json.Unmarshal(text, vs)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read it: %w", err)
	}
	return vs, nil
}

// sidecars tells whether sidecars of every namespace have the requests of a
// VirtualService by its own routes; see the package's comment for those that have not.
func sidecars(vs *networkingv1.VirtualService) bool {
	spec := &vs.Spec
	if len(spec.GetGateways()) > 0 && !slices.Contains(spec.GetGateways(), mesh) {
		return false
	}
	if len(spec.GetExportTo()) > 0 && !slices.Contains(spec.GetExportTo(), "*") {
		return false
	}
	return !slices.ContainsFunc(spec.GetHttp(), func(r *networkingapi.HTTPRoute) bool { return r.GetDelegate() != nil })
}

// services are the Services of its namespace that a VirtualService is for.
func services(vs *networkingv1.VirtualService) []string {
	var out []string
	for _, host := range vs.Spec.GetHosts() {
		if name := serviceOf(host, vs.Namespace); name != "" && !strings.Contains(name, "*") && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// ports of a Service; none of one that is not there.
func (d dialect) ports(ctx context.Context, key client.ObjectKey) ([]int32, error) {
	service := &corev1.Service{}
	err := d.live.Get(ctx, key, service)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read Service %q: %w", key.Name, err)
	}
	var out []int32
	for _, p := range service.Spec.Ports {
		if p.Protocol == corev1.ProtocolTCP || p.Protocol == "" {
			out = append(out, p.Port)
		}
	}
	return out, nil
}
