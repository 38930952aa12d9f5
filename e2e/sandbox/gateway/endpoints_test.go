package gateway

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// newSlice makes an EndpointSlice of Service shop/service with one port.
func newSlice(name, service string, port discoveryv1.EndpointPort, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{port}, Endpoints: endpoints,
	}
}

func slicePortOf(name string, number int32) discoveryv1.EndpointPort {
	return discoveryv1.EndpointPort{Name: &name, Port: &number}
}

func endpoint(pod, address string, ready *bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{
		Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready},
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod},
	}
}

func at(pod, address string) proxy.Endpoint {
	return proxy.Endpoint{Pod: pod, Address: netip.MustParseAddrPort(address)}
}

func TestEndpoints(t *testing.T) {
	yes, no := ptr.To(true), ptr.To(false)
	port := slicePortOf("", 8080)
	terminating := endpoint("going", "10.0.0.9", no)
	terminating.Conditions.Serving, terminating.Conditions.Terminating = yes, yes
	cases := map[string]struct {
		reason string
		port   string
		slices []*discoveryv1.EndpointSlice
		want   []proxy.Endpoint
	}{
		"None": {reason: "no slice, no endpoint"},
		"Ready": {
			reason: "ready ones, and those that say nothing",
			slices: []*discoveryv1.EndpointSlice{newSlice("s", "web", port,
				endpoint("b", "10.0.0.2", nil), endpoint("a", "10.0.0.1", yes), endpoint("c", "10.0.0.3", no))},
			want: []proxy.Endpoint{at("a", "10.0.0.1:8080"), at("b", "10.0.0.2:8080")},
		},
		"Terminating": {
			reason: "one that goes gets nothing, though it still serves",
			slices: []*discoveryv1.EndpointSlice{newSlice("s", "web", port, terminating)},
		},
		"Several": {
			reason: "all slices of the Service, and no other's",
			slices: []*discoveryv1.EndpointSlice{
				newSlice("s1", "web", port, endpoint("a", "10.0.0.1", yes)), newSlice("s2", "web", port, endpoint("b", "10.0.0.2", yes)),
				newSlice("s3", "other", port, endpoint("c", "10.0.0.3", yes)),
			},
			want: []proxy.Endpoint{at("a", "10.0.0.1:8080"), at("b", "10.0.0.2:8080")},
		},
		"Port": {
			reason: "the port of that name, which may differ from slice to slice", port: "http",
			slices: []*discoveryv1.EndpointSlice{
				newSlice("s1", "web", slicePortOf("http", 1), endpoint("a", "10.0.0.1", yes)),
				newSlice("s2", "web", slicePortOf("http", 2), endpoint("b", "10.0.0.2", yes)),
				newSlice("s3", "web", slicePortOf("metrics", 3), endpoint("c", "10.0.0.3", yes)),
			},
			want: []proxy.Endpoint{at("a", "10.0.0.1:1"), at("b", "10.0.0.2:2")},
		},
		"NoPortName": {
			reason: "an unnamed port has no name or an empty one",
			slices: []*discoveryv1.EndpointSlice{
				newSlice("s", "web", discoveryv1.EndpointPort{Port: ptr.To[int32](1)}, endpoint("a", "10.0.0.1", yes)),
			},
			want: []proxy.Endpoint{at("a", "10.0.0.1:1")},
		},
		"UDP": {
			reason: "only TCP",
			slices: []*discoveryv1.EndpointSlice{newSlice("s", "web",
				discoveryv1.EndpointPort{Port: ptr.To[int32](1), Protocol: ptr.To(corev1.ProtocolUDP)}, endpoint("a", "10.0.0.1", yes))},
		},
		"NotAnAddress": {
			reason: "names are not addresses",
			slices: []*discoveryv1.EndpointSlice{newSlice("s", "web", port, endpoint("a", "a.example.com", yes))},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
			for _, s := range tc.slices {
				if err := indexer.Add(s); err != nil {
					t.Fatal(err)
				}
			}
			b := newBackends(discoverylisters.NewEndpointSliceLister(indexer))
			got := b.get(backendKey{namespace: "shop", service: "web", port: tc.port}).Endpoints()
			if diff := cmp.Diff(tc.want, got, cmp.Comparer(func(a, b proxy.Endpoint) bool { return a == b })); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestBackendsLiveAsLongAsTheyAreUsed(t *testing.T) {
	indexer := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	b := newBackends(discoverylisters.NewEndpointSliceLister(indexer))
	kept, dropped := backendKey{namespace: "shop", service: "kept"}, backendKey{namespace: "shop", service: "dropped"}
	first, second := b.get(kept), b.get(dropped)
	b.sweep()
	if b.get(kept) != first {
		t.Error("a backend in use was made anew, without its connections")
	}
	b.sweep()
	if b.get(dropped) == second {
		t.Error("a backend out of use was kept")
	}
}
