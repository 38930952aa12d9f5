package gateway

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// epoch is when the oldest object of a test was made.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// aged makes the metadata of an object in namespace shop; age counts seconds
// from epoch.
func aged(name string, age int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: "shop", Name: name, Generation: 1,
		CreationTimestamp: metav1.NewTime(epoch().Add(time.Duration(age) * time.Second)),
	}
}

// newGateway makes Gateway infra/gw with listeners.
func newGateway(listeners ...gwv1.Listener) *gwv1.Gateway {
	return &gwv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "gw", Generation: 1},
		Spec:       gwv1.GatewaySpec{GatewayClassName: "sandbox", Listeners: listeners},
	}
}

// open is a listener for every route.
func open(name string, changes ...func(*gwv1.Listener)) gwv1.Listener {
	l := gwv1.Listener{
		Name: gwv1.SectionName(name), Port: 80, Protocol: gwv1.HTTPProtocolType,
		AllowedRoutes: &gwv1.AllowedRoutes{Namespaces: &gwv1.RouteNamespaces{From: ptr.To(gwv1.NamespacesFromAll)}},
	}
	for _, change := range changes {
		change(&l)
	}
	return l
}

func hostname(h gwv1.Hostname) func(*gwv1.Listener) {
	return func(l *gwv1.Listener) { l.Hostname = &h }
}

// parent refers to Gateway infra/gw.
func parent(changes ...func(*gwv1.ParentReference)) gwv1.ParentReference {
	ref := gwv1.ParentReference{Name: "gw", Namespace: ptr.To(gwv1.Namespace("infra"))}
	for _, change := range changes {
		change(&ref)
	}
	return ref
}

// newHTTPRoute makes a route that sends everything to Service name at the
// parent infra/gw.
func newHTTPRoute(name string, changes ...func(*gwv1.HTTPRoute)) *gwv1.HTTPRoute {
	r := &gwv1.HTTPRoute{ObjectMeta: aged(name, 0)}
	r.Spec.ParentRefs = []gwv1.ParentReference{parent()}
	r.Spec.Rules = []gwv1.HTTPRouteRule{{BackendRefs: []gwv1.HTTPBackendRef{httpBackend(name)}}}
	for _, change := range changes {
		change(r)
	}
	return r
}

func httpBackend(service string, changes ...func(*gwv1.HTTPBackendRef)) gwv1.HTTPBackendRef {
	ref := gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{BackendObjectReference: serviceRef(service)}}
	for _, change := range changes {
		change(&ref)
	}
	return ref
}

func serviceRef(service string) gwv1.BackendObjectReference {
	return gwv1.BackendObjectReference{Name: gwv1.ObjectName(service), Port: ptr.To(gwv1.PortNumber(80))}
}

// newGRPCRoute is newHTTPRoute for gRPC.
func newGRPCRoute(name string, changes ...func(*gwv1.GRPCRoute)) *gwv1.GRPCRoute {
	r := &gwv1.GRPCRoute{ObjectMeta: aged(name, 0)}
	r.Spec.ParentRefs = []gwv1.ParentReference{parent()}
	r.Spec.Rules = []gwv1.GRPCRouteRule{{BackendRefs: []gwv1.GRPCBackendRef{
		{BackendRef: gwv1.BackendRef{BackendObjectReference: serviceRef(name)}},
	}}}
	for _, change := range changes {
		change(r)
	}
	return r
}

func newService(namespace, name string, ports ...corev1.ServicePort) *corev1.Service {
	if len(ports) == 0 {
		ports = []corev1.ServicePort{{Port: 80}}
	}
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.ServiceSpec{Ports: ports},
	}
}

// scene is a world for translate, and the backends it has made.
type scene struct {
	gateways   []*gwv1.Gateway
	httpRoutes []*gwv1.HTTPRoute
	grpcRoutes []*gwv1.GRPCRoute
	services   []*corev1.Service
	grants     []*gwv1.ReferenceGrant
	namespaces map[string]labels.Set

	made map[backendKey]*proxy.Backend
}

func (s *scene) translate(t *testing.T) *translation {
	t.Helper()
	s.made = map[backendKey]*proxy.Backend{}
	w := &world{address: "10.0.0.3", port: 80, gateways: s.gateways}
	for _, r := range s.httpRoutes {
		w.routes = append(w.routes, fromHTTPRoute(r))
	}
	for _, r := range s.grpcRoutes {
		w.routes = append(w.routes, fromGRPCRoute(r))
	}
	w.namespaceLabels = func(name string) (labels.Set, bool) { set, ok := s.namespaces[name]; return set, ok }
	w.resolver = resolver{grants: s.grants, service: s.service, backend: func(key backendKey) *proxy.Backend {
		if s.made[key] == nil {
			s.made[key] = proxy.NewBackend(key.h2c)
		}
		return s.made[key]
	}}
	return translate(w)
}

func (s *scene) service(namespace, name string) (*corev1.Service, bool) {
	for _, service := range s.services {
		if service.Namespace == namespace && service.Name == name {
			return service, true
		}
	}
	return nil, false
}

// find returns the rule for "METHOD URL", and nil if there is none.
func find(tr *translation, line string, header ...string) *proxy.Rule {
	var r *http.Request
	if method, url, ok := cut(line); ok {
		r = httptest.NewRequest(method, url, nil)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	rule, _ := tr.table.Find(r)
	return rule
}

func cut(line string) (method, url string, ok bool) {
	for i := range line {
		if line[i] == ' ' {
			return line[:i], line[i+1:], true
		}
	}
	return "", "", false
}

// said is a condition in short.
type said struct{ Type, Status, Reason string }

func say(conditions []metav1.Condition) []said {
	var out []said
	for _, c := range conditions {
		out = append(out, said{c.Type, string(c.Status), c.Reason})
	}
	return out
}
