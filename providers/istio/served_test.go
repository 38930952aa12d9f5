package istio

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers/split"
)

// proxies serve the same at every port but those that are named.
type proxies struct {
	routes []ServedRoute
	ports  map[int32][]ServedRoute
	err    error
}

func (p proxies) Served(_ context.Context, _, _ client.ObjectKey, port int32) ([]ServedRoute, error) {
	if routes, ok := p.ports[port]; ok {
		return routes, p.err
	}
	return p.routes, p.err
}

// virtualService with a spec.
func virtualService(t *testing.T, spec string) *unstructured.Unstructured {
	t.Helper()
	raw, err := yaml.YAMLToJSON([]byte("{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web, namespace: shop}, spec: " + spec + "}"))
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

// shares of Services of namespace shop.
func shares(pairs ...any) map[string]uint32 {
	out := map[string]uint32{}
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		weight, _ := pairs[i+1].(int)
		out[name+".shop.svc|"] = uint32(weight)
	}
	return out
}

func TestServedStatus(t *testing.T) {
	const plain = "hosts: [web], http: [{route: [{destination: {host: web}, weight: 90}, {destination: {host: web-canary}, weight: 10}]}]"
	inForce := ServedRoute{Last: true, Weights: shares("web", 9, "web-canary", 1)}
	cases := map[string]struct {
		reason, spec string
		proxies      proxies
		message      string
	}{
		"Same":  {reason: "what is served is what is written", spec: "{" + plain + "}", proxies: proxies{routes: []ServedRoute{inForce}}},
		"Other": {"other weights are those of before", "{" + plain + "}", proxies{routes: []ServedRoute{{Weights: shares("web", 1)}}}, "serves other routes for web:80 yet"},
		"Full": {
			reason: "a host may be written with the domain, and a destination of weight 0 is not served",
			spec: "{hosts: [web.shop.svc.cluster.local], http: [{route: [{destination: {host: web.shop.svc.cluster.local, port: {number: 80}}, weight: 100}," +
				" {destination: {host: web-canary.shop.svc.cluster.local}, weight: 0}]}]}",
			proxies: proxies{routes: []ServedRoute{{Weights: shares("web", 1)}}},
		},
		"Only":        {reason: "a destination alone has all", spec: "{hosts: [web], http: [{route: [{destination: {host: web}}]}]}", proxies: proxies{routes: []ServedRoute{{Weights: shares("web", 1)}}}},
		"Down":        {"an istiod that cannot be asked accepts nothing", "{" + plain + "}", proxies{err: errors.New("connection refused")}, "istiod cannot be asked: connection refused"},
		"Hidden":      {"a VirtualService that is served nowhere is not in force", "{" + plain + "}", proxies{}, "serves nothing of it"},
		"OtherPort":   {reason: "a port that is not for requests serves nothing", spec: "{" + plain + "}", proxies: proxies{routes: []ServedRoute{inForce}, ports: map[int32][]ServedRoute{9000: nil}}},
		"OnePort":     {"all ports that are for requests have to follow", "{" + plain + "}", proxies{routes: []ServedRoute{inForce}, ports: map[int32][]ServedRoute{9000: {{Weights: shares("web", 1)}}}}, "web:9000"},
		"Gateway":     {reason: "what is bound to gateways alone is served to none of the sidecars", spec: "{gateways: [edge], " + plain + "}"},
		"NotExported": {reason: "what is exported to its namespace alone cannot be seen", spec: "{exportTo: ['.'], " + plain + "}"},
		"External":    {reason: "hosts that are no Services of the namespace are not asked for", spec: "{hosts: [www.example.com], http: [{route: [{destination: {host: web}}]}]}"},
		"NoService":   {reason: "a Service that is not there has no ports", spec: "{hosts: [other], http: [{route: [{destination: {host: web}}]}]}"},
		"Callers":     {reason: "a rule for some callers is served to these alone", spec: "{hosts: [web], http: [{match: [{sourceLabels: {app: a}}], route: [{destination: {host: web}}]}]}"},
		"Connections": {reason: "routes of connections are not in what is asked for", spec: "{hosts: [web], tcp: [{route: [{destination: {host: web}}]}]}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			service := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
				Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
					{Port: 80, Protocol: corev1.ProtocolTCP}, {Port: 9000}, {Port: 53, Protocol: corev1.ProtocolUDP},
				}},
			}
			d := dialect{proxies: tc.proxies, live: fake.NewClientBuilder().WithObjects(service).Build()}
			object := virtualService(t, tc.spec)
			got := d.Status(t.Context(), object, true)
			want := split.Status{Accepted: true, Processed: true}
			if tc.message != "" {
				want = split.Status{Unannounced: true, Message: got.Message}
			}
			if diff := cmp.Diff(want, got); diff != "" || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: want %q (-want +got):\n%s", tc.reason, tc.message, diff)
			}
			if got := d.Status(t.Context(), object, false); !got.Accepted {
				t.Errorf("an object at rest is not asked for: %+v", got)
			}
			object.SetAnnotations(map[string]string{v1alpha1.SeqAnnotation: "web=1"})
			if diff := cmp.Diff(want, d.Status(t.Context(), object, false)); diff != "" {
				t.Errorf("one with a release is (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWritten(t *testing.T) {
	all := func(r ServedRoute) ServedRoute { r.Weights = shares("web", 1); return r }
	cases := map[string]struct {
		reason, http string
		want         []ServedRoute
	}{
		"Ratio": {"weights count by their ratio", "[{route: [{destination: {host: web}, weight: 60}, {destination: {host: other, subset: v1}, weight: 40}]}]",
			[]ServedRoute{{Weights: map[string]uint32{"web.shop.svc|": 3, "other.shop.svc|v1": 2}}}},
		"Matches": {"each match is a route, with what Weir writes in it", "[{name: weir-0-web, match: [{name: a, headers: {X-A: {exact: '1'}, b: {prefix: p}}, queryParams: {q: {regex: '.+'}}}, {port: 81}, {headers: {c: {regex: '*'}}}], route: [{destination: {host: web}}]}, " +
			"{route: [{destination: {host: web}}]}, {name: never, route: [{destination: {host: web}}]}]",
			[]ServedRoute{all(ServedRoute{Name: "weir-0-web.a", Conditions: []string{"header x-a exact 1", "parameter q regex .+"}}), all(ServedRoute{Name: "weir-0-web"}), all(ServedRoute{})}},
		"Mirrors": {"mirrors count with their share", "[{mirror: {host: a}, mirrors: [{destination: {host: b}, percentage: {value: 12.5}}, {destination: {host: c}, percentage: {value: 0}}], route: [{destination: {host: web}}]}]",
			[]ServedRoute{all(ServedRoute{Mirrors: []ServedMirror{{"a.shop.svc|", 1_000_000}, {"b.shop.svc|", 125_000}}})}},
		"Redirect": {"a redirect has no weights", "[{redirect: {uri: /}}]", []ServedRoute{{Weights: map[string]uint32{}}}},
		"Gateways": {"matches of gateways are theirs", "[{match: [{gateways: [edge]}, {gateways: [edge, mesh]}], route: [{destination: {host: web}}]}]", []ServedRoute{all(ServedRoute{})}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			vs, err := decodeService(virtualService(t, "{hosts: [web], http: "+tc.http+"}"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, writtenFor(vs, 80)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSame(t *testing.T) {
	a, b := ServedRoute{Name: "a"}, ServedRoute{Name: "b"}
	last := ServedRoute{Name: "a", Last: true}
	cases := map[string]struct {
		reason          string
		written, served []ServedRoute
		want            bool
	}{
		"Order":   {"routes are met in their order", []ServedRoute{a, b}, []ServedRoute{b, a}, false},
		"Fewer":   {"a route that is not served yet is missing", []ServedRoute{a, b}, []ServedRoute{a}, false},
		"Cut":     {"what comes after one that takes all is left out", []ServedRoute{a, b}, []ServedRoute{last}, true},
		"More":    {"a route that is served still is one too many", []ServedRoute{a}, []ServedRoute{a, b}, false},
		"Weights": {"weights count", []ServedRoute{{Weights: shares("a", 1)}}, []ServedRoute{{Weights: shares("b", 1)}}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := same(tc.written, tc.served); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}
