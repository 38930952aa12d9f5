package served

import (
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/providers/istio"
)

// TestRead: of a virtual host only what VirtualServices say is kept.
func TestRead(t *testing.T) {
	exact := func(v string) *matcherv3.StringMatcher {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: v}}
	}
	header := func(name, value string) *routev3.HeaderMatcher {
		return &routev3.HeaderMatcher{Name: name, HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: exact(value)}}
	}
	without := header("x-b", "2")
	without.InvertMatch = true
	matched := route("weir-0-web", "web", cluster("web-canary", 1))
	matched.Match.Headers = []*routev3.HeaderMatcher{header("x-a", "1"), without, header(":method", "GET")}
	matched.Match.QueryParameters = []*routev3.QueryParameterMatcher{{Name: "q", QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{
		StringMatch: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: ".+"}}},
	}}}
	single := route("", "web")
	single.Action = &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: "outbound|80|v1|web.shop.svc.cluster.local"},
		RequestMirrorPolicies: []*routev3.RouteAction_RequestMirrorPolicy{{
			Cluster:         "outbound|80||web-canary.shop.svc.cluster.local",
			RuntimeFraction: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{Numerator: 5}},
		}},
	}}
	foreign := route("", "web", cluster("other", 1))
	foreign.Metadata = nil
	redirect := route("", "moved")
	redirect.Action = &routev3.Route_Redirect{}

	got := read(&routev3.RouteConfiguration{VirtualHosts: []*routev3.VirtualHost{{Routes: []*routev3.Route{matched, single, foreign, redirect}}}})
	moved := key()
	moved.Name = "moved"
	want := served{
		key(): {
			{Name: "weir-0-web", Conditions: []string{"header x-a exact 1", "parameter q regex .+"}, Weights: map[string]uint32{"web-canary.shop.svc|": 1}},
			{Last: true, Weights: map[string]uint32{"web.shop.svc|v1": 1}, Mirrors: []istio.ServedMirror{{Destination: "web-canary.shop.svc|", Millionths: 50_000}}},
		},
		moved: {{Last: true, Weights: map[string]uint32{}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
