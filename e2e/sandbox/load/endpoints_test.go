package load

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// slice makes an EndpointSlice of Service shop/service; addresses that begin
// with "!" are not ready.
func slice(name, service string, port *int32, addresses ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		Ports:      []discoveryv1.EndpointPort{{Port: port}},
	}
	for _, a := range addresses {
		address, unready := strings.CutPrefix(a, "!")
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(!unready)},
		})
	}
	return s
}

func TestPickReadyEndpoints(t *testing.T) {
	cases := map[string]struct {
		reason string
		slices []*discoveryv1.EndpointSlice
		want   []string // nil: an error
	}{
		"None":     {reason: "no slice, no endpoint"},
		"NotReady": {reason: "none is ready", slices: []*discoveryv1.EndpointSlice{slice("a", "web", ptr.To[int32](80), "!10.0.0.1")}},
		"NoPort":   {reason: "a slice without a port", slices: []*discoveryv1.EndpointSlice{slice("a", "web", nil, "10.0.0.1")}},
		"Ready": {
			reason: "all ready ones of the Service's slices",
			slices: []*discoveryv1.EndpointSlice{
				slice("a", "web", ptr.To[int32](80), "10.0.0.1", "!10.0.0.2"), slice("b", "web", ptr.To[int32](81), "10.0.0.3"),
				slice("c", "other", ptr.To[int32](80), "10.0.0.4"),
			},
			want: []string{"10.0.0.1:80", "10.0.0.3:81"},
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
			e := &endpoints{
				slices:   discoverylisters.NewEndpointSliceLister(indexer).EndpointSlices("shop"),
				selector: labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: "web"}),
			}
			if tc.want == nil {
				if address, err := e.pick(); !errors.Is(err, errNoEndpoints) {
					t.Errorf("%s: picked %q, %v", tc.reason, address, err)
				}
				return
			}
			// A draw of 100 leaves out one of two once in 2^99 times.
			var got []string
			for range 100 {
				address, err := e.pick()
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, address)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, slices.Compact(got)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestPickIsAskedForEachConnection(t *testing.T) {
	var servers []string
	for _, version := range []string{"v1", "v2"} {
		s := httptest.NewServer(shop.New(shop.Config{Version: version}))
		t.Cleanup(s.Close)
		servers = append(servers, s.Listener.Addr().String())
	}
	n := 0
	c := newTestClient(t, Config{Target: "http://10.96.0.1/", NewConnections: true, Pick: func() (string, error) {
		if n++; n == 3 {
			return "", errNoEndpoints
		}
		return servers[n-1], nil
	}})
	want := []Key{{Version: "v1", Code: 200}, {Version: "v2", Code: 200}, {Reason: ReasonRefused}}
	var got []Key
	for range want {
		got = append(got, c.send(t.Context(), 0))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("three connections (-want +got):\n%s", diff)
	}
}

func TestWatchEndpointsRefusesBadArguments(t *testing.T) {
	cases := map[string]struct{ reason, kubeconfig, service, want string }{
		"Service":    {reason: "a Service has a namespace", service: "web", want: `invalid endpoints "web"`},
		"Kubeconfig": {reason: "a kubeconfig that there is not", kubeconfig: "/does/not/exist", service: "shop/web", want: "cannot read the kubeconfig"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := watchEndpoints(t.Context(), tc.kubeconfig, tc.service); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.want)
			}
		})
	}
}
