package gateway

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func isAccepted() said { return said{"Accepted", "True", "Accepted"} }
func isResolved() said { return said{"ResolvedRefs", "True", "ResolvedRefs"} }

func refused(reason string) said  { return said{"Accepted", "False", reason} }
func unusable(reason string) said { return said{"ResolvedRefs", "False", reason} }

func TestParentsAcceptRoutes(t *testing.T) {
	section := func(name gwv1.SectionName) func(*gwv1.HTTPRoute) {
		return func(r *gwv1.HTTPRoute) { r.Spec.ParentRefs[0].SectionName = &name }
	}
	hosts := func(list ...gwv1.Hostname) func(*gwv1.HTTPRoute) {
		return func(r *gwv1.HTTPRoute) { r.Spec.Hostnames = list }
	}
	from := func(f gwv1.FromNamespaces, selector *metav1.LabelSelector) func(*gwv1.Listener) {
		return func(l *gwv1.Listener) {
			l.AllowedRoutes.Namespaces = &gwv1.RouteNamespaces{From: &f, Selector: selector}
		}
	}
	cases := map[string]struct {
		reason    string
		listeners []gwv1.Listener
		route     *gwv1.HTTPRoute
		want      []said // of the one parent; nil: nothing is said
		served    []string
		not       []string
	}{
		"Plain": {
			reason:    "a route at a listener for all gets all requests",
			listeners: []gwv1.Listener{open("http")}, route: newHTTPRoute("web"),
			want: []said{isAccepted(), isResolved()}, served: []string{"GET http://any.host/x", "POST http://10.0.0.3/"},
		},
		"Hostnames": {
			reason:    "a route gets the requests for its hostnames",
			listeners: []gwv1.Listener{open("http")}, route: newHTTPRoute("web", hosts("a.com", "*.b.com")),
			want:   []said{isAccepted(), isResolved()},
			served: []string{"GET http://a.com/", "GET http://x.b.com/"}, not: []string{"GET http://b.com/", "GET http://c.com/"},
		},
		"ListenerHostname": {
			reason:    "a listener's hostname is the route's that has none",
			listeners: []gwv1.Listener{open("http", hostname("*.a.com"))}, route: newHTTPRoute("web"),
			want: []said{isAccepted(), isResolved()}, served: []string{"GET http://x.a.com/"}, not: []string{"GET http://a.com/"},
		},
		"Intersection": {
			reason:    "only hostnames that both have count",
			listeners: []gwv1.Listener{open("http", hostname("*.a.com"))}, route: newHTTPRoute("web", hosts("x.a.com", "b.com")),
			want: []said{isAccepted(), isResolved()}, served: []string{"GET http://x.a.com/"},
			not: []string{"GET http://b.com/", "GET http://y.a.com/"},
		},
		"NoIntersection": {
			reason:    "no hostname in common",
			listeners: []gwv1.Listener{open("http", hostname("a.com"))}, route: newHTTPRoute("web", hosts("b.com")),
			want: []said{refused("NoMatchingListenerHostname"), isResolved()}, not: []string{"GET http://a.com/", "GET http://b.com/"},
		},
		"Section": {
			reason:    "a section name picks one listener",
			listeners: []gwv1.Listener{open("one", hostname("one.com")), open("two", hostname("two.com"))},
			route:     newHTTPRoute("web", section("two")),
			want:      []said{isAccepted(), isResolved()}, served: []string{"GET http://two.com/"}, not: []string{"GET http://one.com/"},
		},
		"NoSection": {
			reason:    "a section that there is not",
			listeners: []gwv1.Listener{open("one")}, route: newHTTPRoute("web", section("two")),
			want: []said{refused("NoMatchingParent"), isResolved()}, not: []string{"GET http://one.com/"},
		},
		"Port": {
			reason:    "a port that no listener has",
			listeners: []gwv1.Listener{open("one")},
			route: newHTTPRoute("web", func(r *gwv1.HTTPRoute) {
				r.Spec.ParentRefs[0].Port = ptr.To(gwv1.PortNumber(81))
			}),
			want: []said{refused("NoMatchingParent"), isResolved()}, not: []string{"GET http://one.com/"},
		},
		"OtherNamespace": {
			reason:    "without allowedRoutes only routes of the Gateway's namespace may attach",
			listeners: []gwv1.Listener{open("http", func(l *gwv1.Listener) { l.AllowedRoutes = nil })}, route: newHTTPRoute("web"),
			want: []said{refused("NotAllowedByListeners"), isResolved()}, not: []string{"GET http://a.com/"},
		},
		"Selector": {
			reason: "a selector of the route's namespace",
			listeners: []gwv1.Listener{open("http", from(gwv1.NamespacesFromSelector,
				&metav1.LabelSelector{MatchLabels: map[string]string{"team": "shop"}}))},
			route: newHTTPRoute("web"), want: []said{isAccepted(), isResolved()}, served: []string{"GET http://a.com/"},
		},
		"SelectorOther": {
			reason: "a selector of other namespaces",
			listeners: []gwv1.Listener{open("http", from(gwv1.NamespacesFromSelector,
				&metav1.LabelSelector{MatchLabels: map[string]string{"team": "other"}}))},
			route: newHTTPRoute("web"), want: []said{refused("NotAllowedByListeners"), isResolved()}, not: []string{"GET http://a.com/"},
		},
		"Kind": {
			reason: "a listener for another kind of route",
			listeners: []gwv1.Listener{open("http", func(l *gwv1.Listener) {
				l.AllowedRoutes.Kinds = []gwv1.RouteGroupKind{{Kind: "GRPCRoute"}}
			})},
			route: newHTTPRoute("web"), want: []said{refused("NotAllowedByListeners"), isResolved()}, not: []string{"GET http://a.com/"},
		},
		"OneOfTwo": {
			reason:    "one listener that takes the route is enough",
			listeners: []gwv1.Listener{open("other", hostname("b.com")), open("own", hostname("a.com"))},
			route:     newHTTPRoute("web", hosts("a.com")), want: []said{isAccepted(), isResolved()}, served: []string{"GET http://a.com/"},
		},
		"UnusableListener": {
			reason:    "a listener that is not served takes no route",
			listeners: []gwv1.Listener{open("tls", func(l *gwv1.Listener) { l.Protocol = gwv1.HTTPSProtocolType })},
			route:     newHTTPRoute("web"), want: []said{refused("NoMatchingParent"), isResolved()}, not: []string{"GET http://a.com/"},
		},
		"OtherParent": {
			reason:    "nothing is said of Gateways that are not the gateway's",
			listeners: []gwv1.Listener{open("http")},
			route:     newHTTPRoute("web", func(r *gwv1.HTTPRoute) { r.Spec.ParentRefs[0].Name = "other" }),
			not:       []string{"GET http://a.com/"},
		},
		"Mesh": {
			reason:    "nor of parents that are no Gateways",
			listeners: []gwv1.Listener{open("http")},
			route: newHTTPRoute("web", func(r *gwv1.HTTPRoute) {
				r.Spec.ParentRefs[0].Group, r.Spec.ParentRefs[0].Kind = ptr.To(gwv1.Group("")), ptr.To(gwv1.Kind("Service"))
			}),
			not: []string{"GET http://a.com/"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{
				gateways: []*gwv1.Gateway{newGateway(tc.listeners...)}, httpRoutes: []*gwv1.HTTPRoute{tc.route},
				services: []*corev1.Service{newService("shop", "web")}, namespaces: map[string]labels.Set{"shop": {"team": "shop"}},
			}
			tr := s.translate(t)
			var got []said
			for _, p := range tr.routes[objectKey{kindHTTPRoute, "shop", "web"}].parents {
				got = append(got, say(p.conditions)...)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: conditions (-want +got):\n%s", tc.reason, diff)
			}
			for _, line := range tc.served {
				if find(tr, line) == nil {
					t.Errorf("%s: %s is not served", tc.reason, line)
				}
			}
			for _, line := range tc.not {
				if find(tr, line) != nil {
					t.Errorf("%s: %s is served", tc.reason, line)
				}
			}
		})
	}
}

func TestReferencesAreResolved(t *testing.T) {
	grant := func(namespace, kind, service string) *gwv1.ReferenceGrant {
		g := &gwv1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "backend", Name: "grant"}}
		g.Spec.From = []gwv1.ReferenceGrantFrom{{
			Group: gwv1.GroupName, Kind: gwv1.Kind(kind), Namespace: gwv1.Namespace(namespace),
		}}
		g.Spec.To = []gwv1.ReferenceGrantTo{{Kind: "Service"}}
		if service != "" {
			g.Spec.To[0].Name = ptr.To(gwv1.ObjectName(service))
		}
		return g
	}
	elsewhere := httpBackend("web", func(b *gwv1.HTTPBackendRef) { b.Namespace = ptr.To(gwv1.Namespace("backend")) })
	protocol := func(p string) *corev1.Service {
		return newService("shop", "web", corev1.ServicePort{Name: "main", Port: 80, AppProtocol: &p})
	}
	web := backendKey{namespace: "shop", service: "web"}
	cases := map[string]struct {
		reason  string
		ref     gwv1.HTTPBackendRef
		service *corev1.Service
		grants  []*gwv1.ReferenceGrant
		want    said
		message string
		backend *backendKey // nil: none
	}{
		"Service": {
			reason: "a Service of the route's namespace", ref: httpBackend("web"), service: newService("shop", "web"),
			want: isResolved(), backend: &web,
		},
		"NamedPort": {
			reason: "the backend is the port's name", ref: httpBackend("web"),
			service: newService("shop", "web", corev1.ServicePort{Name: "x", Port: 81}, corev1.ServicePort{Name: "main", Port: 80}),
			want:    isResolved(), backend: &backendKey{namespace: "shop", service: "web", port: "main"},
		},
		"Missing": {
			reason: "no such Service", ref: httpBackend("web"), service: newService("shop", "other"),
			want: unusable("BackendNotFound"), message: `spec.rules[0].backendRefs[0]: there is no Service "web" in namespace "shop"`,
		},
		"MissingPort": {
			reason: "no such port", ref: httpBackend("web"), service: newService("shop", "web", corev1.ServicePort{Port: 81}),
			want: unusable("BackendNotFound"), message: `Service "web" has no TCP port 80`,
		},
		"UDP": {
			reason: "not a TCP port", ref: httpBackend("web"),
			service: newService("shop", "web", corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolUDP}),
			want:    unusable("BackendNotFound"), message: "no TCP port 80",
		},
		"Kind": {
			reason: "not a Service", service: newService("shop", "web"),
			ref: httpBackend("web", func(b *gwv1.HTTPBackendRef) {
				b.Group, b.Kind = ptr.To(gwv1.Group("example.com")), ptr.To(gwv1.Kind("Bucket"))
			}),
			want: unusable("InvalidKind"), message: `kind "Bucket" of group "example.com" is not supported: use Service`,
		},
		"ExternalName": {
			reason: "a Service without endpoints of its own", ref: httpBackend("web"),
			service: func() *corev1.Service {
				s := newService("shop", "web")
				s.Spec.Type = corev1.ServiceTypeExternalName
				return s
			}(),
			want: unusable("InvalidKind"), message: "ExternalName",
		},
		"NoGrant": {
			reason: "another namespace, not granted", ref: elsewhere, service: newService("backend", "web"),
			want: unusable("RefNotPermitted"), message: `no ReferenceGrant in namespace "backend"`,
		},
		"Grant": {
			reason: "another namespace, granted", ref: elsewhere, service: newService("backend", "web"),
			grants: []*gwv1.ReferenceGrant{grant("shop", "HTTPRoute", "")},
			want:   isResolved(), backend: &backendKey{namespace: "backend", service: "web"},
		},
		"GrantByName": {
			reason: "this very Service is granted", ref: elsewhere, service: newService("backend", "web"),
			grants: []*gwv1.ReferenceGrant{grant("shop", "HTTPRoute", "other"), grant("shop", "HTTPRoute", "web")},
			want:   isResolved(), backend: &backendKey{namespace: "backend", service: "web"},
		},
		"GrantOther": {
			reason: "grants for others do not count", ref: elsewhere, service: newService("backend", "web"),
			grants: []*gwv1.ReferenceGrant{
				grant("other", "HTTPRoute", ""), grant("shop", "GRPCRoute", ""), grant("shop", "HTTPRoute", "other"),
			},
			want: unusable("RefNotPermitted"), message: `lets a HTTPRoute of namespace "shop" refer to Service "web"`,
		},
		"H2C": {
			reason: "a port that speaks HTTP/2", ref: httpBackend("web"), service: protocol("kubernetes.io/h2c"),
			want: isResolved(), backend: &backendKey{namespace: "shop", service: "web", port: "main", h2c: true},
		},
		"Protocol": {
			reason: "a port that speaks something else", ref: httpBackend("web"), service: protocol("https"),
			want: unusable("UnsupportedProtocol"), message: `appProtocol "https"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			route := newHTTPRoute("web", func(r *gwv1.HTTPRoute) {
				r.Spec.Rules[0].BackendRefs = []gwv1.HTTPBackendRef{tc.ref}
			})
			s := &scene{
				gateways: []*gwv1.Gateway{newGateway(open("http"))}, httpRoutes: []*gwv1.HTTPRoute{route},
				services: []*corev1.Service{tc.service}, grants: tc.grants,
			}
			tr := s.translate(t)
			conditions := tr.routes[objectKey{kindHTTPRoute, "shop", "web"}].parents[0].conditions
			if diff := cmp.Diff([]said{isAccepted(), tc.want}, say(conditions)); diff != "" {
				t.Errorf("%s: conditions (-want +got):\n%s", tc.reason, diff)
			}
			if got := conditions[1].Message; !strings.Contains(got, tc.message) {
				t.Errorf("%s: message %q, want it to contain %q", tc.reason, got, tc.message)
			}
			rule := find(tr, "GET http://a.com/")
			if rule == nil || len(rule.Backends) != 1 || rule.Backends[0].Weight != 1 {
				t.Fatalf("%s: rule %+v, want one backend of weight 1, usable or not", tc.reason, rule)
			}
			var want, got any
			if tc.backend != nil {
				want = s.made[*tc.backend]
			}
			if b := rule.Backends[0].Backend; b != nil {
				got = b
			}
			if got != want {
				t.Errorf("%s: the rule has not the backend %v", tc.reason, tc.backend)
			}
		})
	}
}

func TestAllUnusableReferencesAreNamed(t *testing.T) {
	route := newHTTPRoute("web", func(r *gwv1.HTTPRoute) {
		r.Spec.Rules[0].BackendRefs = append(r.Spec.Rules[0].BackendRefs, httpBackend("gone", func(b *gwv1.HTTPBackendRef) {
			b.Weight = ptr.To[int32](0)
		}))
		r.Spec.Rules[0].Filters = []gwv1.HTTPRouteFilter{{
			Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwv1.HTTPRequestMirrorFilter{BackendRef: serviceRef("shadow")},
		}}
	})
	s := &scene{
		gateways: []*gwv1.Gateway{newGateway(open("http"))}, httpRoutes: []*gwv1.HTTPRoute{route},
		services: []*corev1.Service{newService("shop", "web")},
	}
	tr := s.translate(t)
	got := tr.routes[objectKey{kindHTTPRoute, "shop", "web"}].parents[0].conditions[1].Message
	want := `spec.rules[0].backendRefs[1]: there is no Service "gone" in namespace "shop"; ` +
		`spec.rules[0].filters[0].requestMirror.backendRef: there is no Service "shadow" in namespace "shop"`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	if m := find(tr, "GET http://a.com/").Mirrors; len(m) != 1 || m[0].Backend != nil {
		t.Errorf("mirrors %+v, want one without a backend", m)
	}
}

func TestOlderRouteComesFirst(t *testing.T) {
	of := func(name string, age int) *gwv1.HTTPRoute {
		return newHTTPRoute(name, func(r *gwv1.HTTPRoute) { r.ObjectMeta = aged(name, age) })
	}
	cases := map[string]struct {
		reason string
		routes []*gwv1.HTTPRoute
		want   string
	}{
		"Age":  {reason: "the older route", routes: []*gwv1.HTTPRoute{of("a", 2), of("b", 1)}, want: "b"},
		"Name": {reason: "of the same age, the first by name", routes: []*gwv1.HTTPRoute{of("b", 1), of("a", 1)}, want: "a"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{
				gateways: []*gwv1.Gateway{newGateway(open("http"))}, httpRoutes: tc.routes,
				services: []*corev1.Service{newService("shop", "a"), newService("shop", "b")},
			}
			if got := find(s.translate(t), "GET http://x.com/"); got == nil || got.Route != tc.want {
				t.Errorf("%s: got %+v, want route %s", tc.reason, got, tc.want)
			}
		})
	}
}

func TestKindsDoNotShareAHostname(t *testing.T) {
	s := &scene{
		gateways:   []*gwv1.Gateway{newGateway(open("http"))},
		httpRoutes: []*gwv1.HTTPRoute{newHTTPRoute("web", func(r *gwv1.HTTPRoute) { r.Spec.Hostnames = []gwv1.Hostname{"*.a.com"} })},
		grpcRoutes: []*gwv1.GRPCRoute{
			newGRPCRoute("same", func(r *gwv1.GRPCRoute) {
				r.ObjectMeta, r.Spec.Hostnames = aged("same", 1), []gwv1.Hostname{"x.a.com"}
			}),
			newGRPCRoute("apart", func(r *gwv1.GRPCRoute) {
				r.ObjectMeta, r.Spec.Hostnames = aged("apart", 1), []gwv1.Hostname{"b.com"}
			}),
		},
		services: []*corev1.Service{newService("shop", "web"), newService("shop", "same"), newService("shop", "apart")},
	}
	tr := s.translate(t)
	want := map[string]said{"web": isAccepted(), "same": refused("HostnameConflict"), "apart": isAccepted()}
	for name, kind := range map[string]string{"web": kindHTTPRoute, "same": kindGRPCRoute, "apart": kindGRPCRoute} {
		got := say(tr.routes[objectKey{kind, "shop", name}].parents[0].conditions)[0]
		if diff := cmp.Diff(want[name], got); diff != "" {
			t.Errorf("route %s (-want +got):\n%s", name, diff)
		}
	}
	if got := find(tr, "POST http://x.a.com/s/m"); got == nil || got.Route != "web" {
		t.Errorf("got %+v, want the older route", got)
	}
}

func TestGatewayStatus(t *testing.T) {
	accepts := func(reason string) said { return said{"Accepted", "True", reason} }
	cases := map[string]struct {
		reason  string
		gateway *gwv1.Gateway
		want    []said
		first   []said // of the first listener
	}{
		"Good": {
			reason: "served", gateway: newGateway(open("http")),
			want:  []said{accepts("Accepted"), {"Programmed", "True", "Programmed"}},
			first: []said{accepts("Accepted"), {"Programmed", "True", "Programmed"}, isResolved(), {"Conflicted", "False", "NoConflicts"}},
		},
		"Protocol": {
			reason:  "one listener of two is not served",
			gateway: newGateway(open("tls", func(l *gwv1.Listener) { l.Protocol = gwv1.HTTPSProtocolType }), open("http")),
			want:    []said{accepts("ListenersNotValid"), {"Programmed", "True", "Programmed"}},
			first: []said{
				{"Accepted", "False", "UnsupportedProtocol"}, {"Programmed", "False", "Invalid"}, isResolved(), {"Conflicted", "False", "NoConflicts"},
			},
		},
		"Port": {
			reason:  "no listener is served",
			gateway: newGateway(open("http", func(l *gwv1.Listener) { l.Port = 8080 })),
			want:    []said{{"Accepted", "False", "ListenersNotValid"}, {"Programmed", "False", "Invalid"}},
			first: []said{
				{"Accepted", "False", "PortUnavailable"}, {"Programmed", "False", "Invalid"}, isResolved(), {"Conflicted", "False", "NoConflicts"},
			},
		},
		"Kinds": {
			reason: "a kind that is not supported, and one that is",
			gateway: newGateway(open("http", func(l *gwv1.Listener) {
				l.AllowedRoutes.Kinds = []gwv1.RouteGroupKind{{Kind: "TCPRoute"}, {Kind: "HTTPRoute"}}
			})),
			want: []said{accepts("Accepted"), {"Programmed", "True", "Programmed"}},
			first: []said{
				accepts("Accepted"), {"Programmed", "True", "Programmed"},
				{"ResolvedRefs", "False", "InvalidRouteKinds"}, {"Conflicted", "False", "NoConflicts"},
			},
		},
		"Address": {
			reason: "an address that the gateway has not",
			gateway: func() *gwv1.Gateway {
				g := newGateway(open("http"))
				g.Spec.Addresses = []gwv1.GatewaySpecAddress{{Value: "10.9.9.9"}}
				return g
			}(),
			want: []said{{"Accepted", "False", "UnsupportedAddress"}, {"Programmed", "False", "AddressNotUsable"}},
			first: []said{
				{"Accepted", "False", "PortUnavailable"}, {"Programmed", "False", "Invalid"}, isResolved(), {"Conflicted", "False", "NoConflicts"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{gateways: []*gwv1.Gateway{tc.gateway}}
			got := s.translate(t).gateways[objectKey{kindGateway, "infra", "gw"}]
			if diff := cmp.Diff(tc.want, say(got.conditions)); diff != "" {
				t.Errorf("%s: conditions (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.first, say(got.listeners[0].conditions)); diff != "" {
				t.Errorf("%s: conditions of the listener (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestListenersCountRoutes(t *testing.T) {
	twice := newHTTPRoute("twice", func(r *gwv1.HTTPRoute) {
		r.Spec.ParentRefs = append(r.Spec.ParentRefs, parent(func(p *gwv1.ParentReference) {
			p.SectionName = ptr.To(gwv1.SectionName("one"))
		}))
	})
	other := newHTTPRoute("other", func(r *gwv1.HTTPRoute) { r.Spec.Hostnames = []gwv1.Hostname{"two.com"} })
	s := &scene{
		gateways:   []*gwv1.Gateway{newGateway(open("one", hostname("one.com")), open("two", hostname("two.com")))},
		httpRoutes: []*gwv1.HTTPRoute{twice, other},
	}
	got := map[string]int32{}
	for _, l := range s.translate(t).gateways[objectKey{kindGateway, "infra", "gw"}].listeners {
		got[string(l.name)] = l.attached
	}
	if diff := cmp.Diff(map[string]int32{"one": 1, "two": 2}, got); diff != "" {
		t.Errorf("routes attached (-want +got):\n%s", diff)
	}
}
