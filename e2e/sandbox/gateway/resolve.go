package gateway

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// backendKey names a port of a Service and how it is spoken to.
type backendKey struct {
	namespace, service string
	// port is the name of the port, empty for a Service with a single unnamed
	// one: it is what EndpointSlices know a port by.
	port string
	h2c  bool
}

// unresolved says why a reference cannot be used.
type unresolved struct {
	reason  gwv1.RouteConditionReason
	message string
}

// resolver resolves references to backends.
type resolver struct {
	service func(namespace, name string) (*corev1.Service, bool)
	grants  []*gwv1.ReferenceGrant
	backend func(backendKey) *proxy.Backend
}

// resolve returns the backend that a route refers to.
func (s *resolver) resolve(r *route, field string, ref gwv1.BackendObjectReference) (*proxy.Backend, *unresolved) {
	fail := func(reason gwv1.RouteConditionReason, format string, args ...any) (*proxy.Backend, *unresolved) {
		return nil, &unresolved{reason, field + ": " + fmt.Sprintf(format, args...)}
	}
	if group, kind := deref(ref.Group, ""), deref(ref.Kind, "Service"); group != "" || kind != "Service" {
		return fail(gwv1.RouteReasonInvalidKind, "kind %q of group %q is not supported: use Service", kind, group)
	}
	// The grant is looked for before the Service, so that nobody learns of the
	// Services in a namespace that does not let him refer to it.
	namespace, name := deref(ref.Namespace, r.key.namespace), string(ref.Name)
	if namespace != r.key.namespace && !s.granted(r, namespace, name) {
		return fail(gwv1.RouteReasonRefNotPermitted, "no ReferenceGrant in namespace %q lets a %s of namespace %q refer to Service %q",
			namespace, r.key.kind, r.key.namespace, name)
	}
	service, ok := s.service(namespace, name)
	if !ok {
		return fail(gwv1.RouteReasonBackendNotFound, "there is no Service %q in namespace %q", name, namespace)
	}
	if service.Spec.Type == corev1.ServiceTypeExternalName {
		return fail(gwv1.RouteReasonInvalidKind, "Service %q is of type ExternalName, which is not supported", name)
	}
	port, ok := servicePort(service, ref.Port)
	if !ok {
		return fail(gwv1.RouteReasonBackendNotFound, "Service %q has no TCP port %s", name, portText(ref.Port))
	}
	h2c, ok := speaks(r, port)
	if !ok {
		return fail(gwv1.RouteReasonUnsupportedProtocol, "port %d of Service %q has appProtocol %q, which is not supported",
			port.Port, name, *port.AppProtocol)
	}
	return s.backend(backendKey{namespace, name, port.Name, h2c}), nil
}

// granted reports whether a ReferenceGrant of the other namespace allows the
// reference.
func (s *resolver) granted(r *route, namespace, name string) bool {
	for _, g := range s.grants {
		if g.Namespace == namespace && grantsFrom(g, r) && grantsTo(g, name) {
			return true
		}
	}
	return false
}

func grantsFrom(g *gwv1.ReferenceGrant, r *route) bool {
	for _, f := range g.Spec.From {
		if f.Group == gwv1.GroupName && string(f.Kind) == r.key.kind && string(f.Namespace) == r.key.namespace {
			return true
		}
	}
	return false
}

func grantsTo(g *gwv1.ReferenceGrant, service string) bool {
	for _, t := range g.Spec.To {
		if t.Group == "" && t.Kind == "Service" && (t.Name == nil || string(*t.Name) == service) {
			return true
		}
	}
	return false
}

func servicePort(s *corev1.Service, number *gwv1.PortNumber) (corev1.ServicePort, bool) {
	for _, p := range s.Spec.Ports {
		tcp := p.Protocol == "" || p.Protocol == corev1.ProtocolTCP
		if number != nil && p.Port == *number && tcp {
			return p, true
		}
	}
	return corev1.ServicePort{}, false
}

func portText(number *gwv1.PortNumber) string {
	if number == nil {
		return "(none given)"
	}
	return fmt.Sprint(*number)
}

// speaks returns whether the port is spoken to in HTTP/2 without TLS, and
// false if its protocol is not supported. Backends of a GRPCRoute always are.
func speaks(r *route, p corev1.ServicePort) (h2c, ok bool) {
	protocol := ""
	if p.AppProtocol != nil {
		protocol = *p.AppProtocol
	}
	switch protocol {
	case "kubernetes.io/h2c", "grpc":
		return true, true
	case "", "http", "kubernetes.io/ws":
		return r.key.kind == kindGRPCRoute, true
	}
	return false, false
}
