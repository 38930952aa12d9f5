package gateway

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

func TestHTTPRules(t *testing.T) {
	headers := &gwv1.HTTPHeaderFilter{
		Set: []gwv1.HTTPHeader{{Name: "x-a", Value: "1"}}, Add: []gwv1.HTTPHeader{{Name: "x-b", Value: "2"}, {Name: "x-b", Value: "3"}},
		Remove: []string{"x-c"},
	}
	change := proxy.HeaderChange{Set: http.Header{"X-A": {"1"}}, Add: http.Header{"X-B": {"2", "3"}}, Remove: []string{"x-c"}}
	mirror := func(m gwv1.HTTPRequestMirrorFilter) gwv1.HTTPRouteRule {
		m.BackendRef = serviceRef("web")
		return gwv1.HTTPRouteRule{Filters: []gwv1.HTTPRouteFilter{{Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &m}}}
	}
	timeouts := func(request, backend gwv1.Duration) gwv1.HTTPRouteRule {
		out := &gwv1.HTTPRouteTimeouts{}
		if request != "" {
			out.Request = &request
		}
		if backend != "" {
			out.BackendRequest = &backend
		}
		return gwv1.HTTPRouteRule{Timeouts: out}
	}
	cases := map[string]struct {
		reason string
		rule   gwv1.HTTPRouteRule
		want   proxy.Rule
	}{
		"Name": {
			reason: "a rule has its name", rule: gwv1.HTTPRouteRule{Name: ptr.To(gwv1.SectionName("main"))}, want: proxy.Rule{Name: "main"},
		},
		"Index": {reason: "or its index", want: proxy.Rule{Name: "0"}},
		"Weights": {
			reason: "weights are as given, 1 unless given",
			rule: gwv1.HTTPRouteRule{BackendRefs: []gwv1.HTTPBackendRef{
				httpBackend("web", func(b *gwv1.HTTPBackendRef) { b.Weight = ptr.To[int32](90) }),
				httpBackend("web", func(b *gwv1.HTTPBackendRef) { b.Weight = ptr.To[int32](0) }), httpBackend("web"),
			}},
			want: proxy.Rule{Name: "0", Backends: []proxy.WeightedBackend{
				{Service: "web", Weight: 90}, {Service: "web", Weight: 0}, {Service: "web", Weight: 1},
			}},
		},
		"Headers": {
			reason: "headers of the rule and of a backend",
			rule: gwv1.HTTPRouteRule{
				Filters: []gwv1.HTTPRouteFilter{
					{Type: gwv1.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: headers},
					{Type: gwv1.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: headers},
				},
				BackendRefs: []gwv1.HTTPBackendRef{httpBackend("web", func(b *gwv1.HTTPBackendRef) {
					b.Filters = []gwv1.HTTPRouteFilter{{Type: gwv1.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: headers}}
				})},
			},
			want: proxy.Rule{
				Name: "0", RequestHeaders: change, ResponseHeaders: change,
				Backends: []proxy.WeightedBackend{{Service: "web", Weight: 1, ResponseHeaders: change}},
			},
		},
		"Mirror": {
			reason: "all requests unless said otherwise", rule: mirror(gwv1.HTTPRequestMirrorFilter{}),
			want: proxy.Rule{Name: "0", Mirrors: []proxy.Mirror{{Service: "web", Numerator: 1, Denominator: 1}}},
		},
		"MirrorPercent": {
			reason: "a percentage", rule: mirror(gwv1.HTTPRequestMirrorFilter{Percent: ptr.To[int32](0)}),
			want: proxy.Rule{Name: "0", Mirrors: []proxy.Mirror{{Service: "web", Numerator: 0, Denominator: 100}}},
		},
		"MirrorFraction": {
			reason: "a fraction", rule: mirror(gwv1.HTTPRequestMirrorFilter{Fraction: &gwv1.Fraction{Numerator: 3, Denominator: ptr.To[int32](1000)}}),
			want: proxy.Rule{Name: "0", Mirrors: []proxy.Mirror{{Service: "web", Numerator: 3, Denominator: 1000}}},
		},
		"Timeout":        {reason: "a request's", rule: timeouts("2s", ""), want: proxy.Rule{Name: "0", Timeout: 2 * time.Second}},
		"BackendTimeout": {reason: "the shorter one", rule: timeouts("2s", "500ms"), want: proxy.Rule{Name: "0", Timeout: 500 * time.Millisecond}},
		"NoTimeout":      {reason: "0 is none", rule: timeouts("0s", "1m"), want: proxy.Rule{Name: "0", Timeout: time.Minute}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{
				gateways:   []*gwv1.Gateway{newGateway(open("http"))},
				httpRoutes: []*gwv1.HTTPRoute{newHTTPRoute("r", func(r *gwv1.HTTPRoute) { r.Spec.Rules = []gwv1.HTTPRouteRule{tc.rule} })},
				services:   []*corev1.Service{newService("shop", "web")},
			}
			tc.want.Kind, tc.want.Namespace, tc.want.Route = kindHTTPRoute, "shop", "r"
			opts := []cmp.Option{
				cmpopts.IgnoreFields(proxy.WeightedBackend{}, "Backend"), cmpopts.IgnoreFields(proxy.Mirror{}, "Backend"), cmpopts.EquateEmpty(),
			}
			if diff := cmp.Diff(&tc.want, find(s.translate(t), "GET http://a.com/"), opts...); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHTTPMatches(t *testing.T) {
	path := func(kind gwv1.PathMatchType, value string) *gwv1.HTTPPathMatch {
		return &gwv1.HTTPPathMatch{Type: &kind, Value: &value}
	}
	regex := gwv1.HeaderMatchRegularExpression
	cases := map[string]struct {
		reason  string
		matches []gwv1.HTTPRouteMatch
		yes, no []string
		header  []string
	}{
		"None":   {reason: "no match is a match", yes: []string{"GET http://a/", "POST http://a/x"}},
		"Empty":  {reason: "an empty match, too", matches: []gwv1.HTTPRouteMatch{{}}, yes: []string{"GET http://a/x"}},
		"Exact":  {reason: "exact", matches: []gwv1.HTTPRouteMatch{{Path: path(gwv1.PathMatchExact, "/x")}}, yes: []string{"GET http://a/x"}, no: []string{"GET http://a/x/y"}},
		"Prefix": {reason: "prefix", matches: []gwv1.HTTPRouteMatch{{Path: path(gwv1.PathMatchPathPrefix, "/x")}}, yes: []string{"GET http://a/x/y"}, no: []string{"GET http://a/xy"}},
		"Regex": {
			reason: "expression", matches: []gwv1.HTTPRouteMatch{{Path: path(gwv1.PathMatchRegularExpression, "/x[0-9]")}},
			yes: []string{"GET http://a/x1"}, no: []string{"GET http://a/x"},
		},
		"Either": {
			reason: "one of several", matches: []gwv1.HTTPRouteMatch{{Path: path(gwv1.PathMatchExact, "/x")}, {Method: ptr.To(gwv1.HTTPMethodPut)}},
			yes: []string{"GET http://a/x", "PUT http://a/y"}, no: []string{"GET http://a/y"},
		},
		"Both": {
			reason:  "all of one",
			matches: []gwv1.HTTPRouteMatch{{Path: path(gwv1.PathMatchExact, "/x"), Method: ptr.To(gwv1.HTTPMethodPut)}},
			yes:     []string{"PUT http://a/x"}, no: []string{"GET http://a/x", "PUT http://a/y"},
		},
		"Header": {
			reason: "headers, by value and by expression; of one name the first counts",
			matches: []gwv1.HTTPRouteMatch{{Headers: []gwv1.HTTPHeaderMatch{
				{Name: "x-one", Value: "1"}, {Name: "X-Two", Type: &regex, Value: "[0-9]+"}, {Name: "X-One", Value: "other"},
			}}},
			yes: []string{"GET http://a/"}, header: []string{"X-One", "1", "X-Two", "22"},
		},
		"HeaderNot": {
			reason:  "headers",
			matches: []gwv1.HTTPRouteMatch{{Headers: []gwv1.HTTPHeaderMatch{{Name: "x-one", Value: "1"}}}},
			no:      []string{"GET http://a/"}, header: []string{"X-One", "2"},
		},
		"Query": {
			reason: "query parameters",
			matches: []gwv1.HTTPRouteMatch{{QueryParams: []gwv1.HTTPQueryParamMatch{
				{Name: "q", Value: "1"}, {Name: "r", Type: ptr.To(gwv1.QueryParamMatchRegularExpression), Value: "a|b"},
			}}},
			yes: []string{"GET http://a/?q=1&r=b"}, no: []string{"GET http://a/?q=1&r=c", "GET http://a/?r=a"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{
				gateways: []*gwv1.Gateway{newGateway(open("http"))},
				httpRoutes: []*gwv1.HTTPRoute{newHTTPRoute("r", func(r *gwv1.HTTPRoute) {
					r.Spec.Rules = []gwv1.HTTPRouteRule{{Matches: tc.matches}}
				})},
			}
			tr := s.translate(t)
			for _, line := range tc.yes {
				if find(tr, line, tc.header...) == nil {
					t.Errorf("%s: %s does not match", tc.reason, line)
				}
			}
			for _, line := range tc.no {
				if find(tr, line, tc.header...) != nil {
					t.Errorf("%s: %s matches", tc.reason, line)
				}
			}
		})
	}
}

func TestGRPCMatchesAndPrecedence(t *testing.T) {
	method := func(kind gwv1.GRPCMethodMatchType, service, method string) *gwv1.GRPCMethodMatch {
		m := &gwv1.GRPCMethodMatch{Type: &kind}
		if service != "" {
			m.Service = &service
		}
		if method != "" {
			m.Method = &method
		}
		return m
	}
	exact, regex := gwv1.GRPCMethodMatchExact, gwv1.GRPCMethodMatchRegularExpression
	rules := map[string][]gwv1.GRPCRouteMatch{
		"all":            nil,
		"method":         {{Method: method(exact, "", "Buy")}},
		"service":        {{Method: method(exact, "shop.Shop", "")}},
		"service+header": {{Method: method(exact, "shop.Shop", ""), Headers: []gwv1.GRPCHeaderMatch{{Name: "x-user", Value: "ann"}}}},
		"exact":          {{Method: method(exact, "shop.Shop", "Buy")}},
		"regex":          {{Method: method(regex, "stock\\.(In|Out)", "")}},
	}
	s := &scene{gateways: []*gwv1.Gateway{newGateway(open("http"))}}
	for name, matches := range rules {
		s.grpcRoutes = append(s.grpcRoutes, newGRPCRoute(name, func(r *gwv1.GRPCRoute) {
			r.Spec.Rules[0].Matches = matches
		}))
		s.services = append(s.services, newService("shop", name))
	}
	tr := s.translate(t)
	cases := map[string]struct {
		reason, path, want string
		header             []string
	}{
		"Exact":   {reason: "service and method", path: "/shop.Shop/Buy", want: "exact"},
		"Service": {reason: "service alone", path: "/shop.Shop/Sell", want: "service"},
		"Header":  {reason: "more headers", path: "/shop.Shop/Sell", header: []string{"X-User", "ann"}, want: "service+header"},
		"Method":  {reason: "method of any service", path: "/other.Shop/Buy", want: "method"},
		"Regex":   {reason: "expression", path: "/stock.In/Any", want: "regex"},
		"Whole":   {reason: "expressions match names as a whole", path: "/stock.Inn/Any", want: "all"},
		"All":     {reason: "all others", path: "/x.Y/Z", want: "all"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := find(tr, "POST http://a.com"+tc.path, tc.header...)
			if got == nil || got.Route != tc.want {
				t.Fatalf("%s: got %+v, want route %s", tc.reason, got, tc.want)
			}
			if got.Backends[0].Backend != s.made[backendKey{namespace: "shop", service: tc.want, h2c: true}] {
				t.Errorf("%s: the backend does not speak HTTP/2", tc.reason)
			}
		})
	}
}

func TestUnsupportedRoutesAreRefusedWhole(t *testing.T) {
	rule := func(change func(*gwv1.HTTPRouteRule)) *gwv1.HTTPRoute {
		return newHTTPRoute("web", func(r *gwv1.HTTPRoute) {
			r.Spec.Rules = append(r.Spec.Rules, gwv1.HTTPRouteRule{BackendRefs: []gwv1.HTTPBackendRef{httpBackend("web")}})
			change(&r.Spec.Rules[1])
		})
	}
	redirect := gwv1.HTTPRouteFilter{Type: gwv1.HTTPRouteFilterRequestRedirect, RequestRedirect: &gwv1.HTTPRequestRedirectFilter{}}
	mirror := gwv1.HTTPRouteFilter{
		Type: gwv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwv1.HTTPRequestMirrorFilter{BackendRef: serviceRef("web")},
	}
	cases := map[string]struct {
		reason string
		route  *gwv1.HTTPRoute
		want   string
	}{
		"Filter": {
			reason: "a filter of the rule", route: rule(func(r *gwv1.HTTPRouteRule) { r.Filters = []gwv1.HTTPRouteFilter{redirect} }),
			want: "spec.rules[1].filters[0].type RequestRedirect is not supported",
		},
		"BackendFilter": {
			reason: "a filter of a backend",
			route:  rule(func(r *gwv1.HTTPRouteRule) { r.BackendRefs[0].Filters = []gwv1.HTTPRouteFilter{redirect} }),
			want:   "spec.rules[1].backendRefs[0].filters[0].type RequestRedirect",
		},
		"BackendMirror": {
			reason: "a mirror of a backend",
			route:  rule(func(r *gwv1.HTTPRouteRule) { r.BackendRefs[0].Filters = []gwv1.HTTPRouteFilter{mirror} }),
			want:   "not supported for a single backend",
		},
		"Path": {
			reason: "a bad expression",
			route: rule(func(r *gwv1.HTTPRouteRule) {
				r.Matches = []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Type: ptr.To(gwv1.PathMatchRegularExpression), Value: ptr.To("(")}}}
			}),
			want: `spec.rules[1].matches[0].path.value "(" is no regular expression`,
		},
		"Header": {
			reason: "a bad expression of a header",
			route: rule(func(r *gwv1.HTTPRouteRule) {
				r.Matches = []gwv1.HTTPRouteMatch{{Headers: []gwv1.HTTPHeaderMatch{{Name: "x", Type: ptr.To(gwv1.HeaderMatchRegularExpression), Value: "["}}}}
			}),
			want: `spec.rules[1].matches[0].headers[0].value "[" is no regular expression`,
		},
		"Retry": {
			reason: "retries", route: rule(func(r *gwv1.HTTPRouteRule) { r.Retry = &gwv1.HTTPRouteRetry{} }),
			want: "spec.rules[1].retry is not supported",
		},
		"Session": {
			reason: "sessions", route: rule(func(r *gwv1.HTTPRouteRule) { r.SessionPersistence = &gwv1.SessionPersistence{} }),
			want: "spec.rules[1].sessionPersistence is not supported",
		},
		"Timeout": {
			reason: "a bad duration",
			route: rule(func(r *gwv1.HTTPRouteRule) {
				r.Timeouts = &gwv1.HTTPRouteTimeouts{Request: ptr.To(gwv1.Duration("soon"))}
			}),
			want: `spec.rules[1].timeouts.request "soon" is no duration`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &scene{
				gateways: []*gwv1.Gateway{newGateway(open("http"))}, httpRoutes: []*gwv1.HTTPRoute{tc.route},
				services: []*corev1.Service{newService("shop", "web")},
			}
			tr := s.translate(t)
			conditions := tr.routes[objectKey{kindHTTPRoute, "shop", "web"}].parents[0].conditions
			if diff := cmp.Diff(refused("UnsupportedValue"), say(conditions)[0]); diff != "" {
				t.Errorf("%s: condition (-want +got):\n%s", tc.reason, diff)
			}
			if got := conditions[0].Message; !strings.Contains(got, tc.want) {
				t.Errorf("%s: message %q, want it to contain %q", tc.reason, got, tc.want)
			}
			if got := find(tr, "GET http://a.com/"); got != nil {
				t.Errorf("%s: a rule is in force: %+v", tc.reason, got)
			}
		})
	}
}
