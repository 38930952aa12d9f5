package served

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers/istio"
)

// key of the VirtualService and the Service of the tests.
func key() client.ObjectKey { return client.ObjectKey{Namespace: "shop", Name: "web"} }

// istiod is one of which the tests say what it serves.
type istiod struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	mu       sync.Mutex
	listener *bufconn.Listener
	server   *grpc.Server
	// answer makes the resources of names; nil for silence.
	answer func(names []string) []proto.Message
	// push is closed when something else is served, and requests are all that came.
	push     chan struct{}
	requests []*discoveryv3.DiscoveryRequest
}

func (i *istiod) StreamAggregatedResources(s discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	requests := make(chan *discoveryv3.DiscoveryRequest)
	go func() {
		defer close(requests)
		for {
			r, err := s.Recv()
			if err != nil {
				return
			}
			requests <- r
		}
	}()
	var names, sent []string
	for n := 0; ; {
		i.mu.Lock()
		push := i.push
		i.mu.Unlock()
		select {
		case <-push:
			sent = nil
		case r, ok := <-requests:
			if !ok {
				return nil
			}
			i.mu.Lock()
			i.requests = append(i.requests, r)
			i.mu.Unlock()
			if n > 0 && r.GetResponseNonce() != fmt.Sprint(n) {
				continue
			}
			names = r.GetResourceNames()
		}
		added := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return slices.Contains(sent, n) })
		i.mu.Lock()
		answer := i.answer
		i.mu.Unlock()
		if answer == nil || len(added) == 0 {
			continue
		}
		n++
		response := &discoveryv3.DiscoveryResponse{TypeUrl: routesType, Nonce: fmt.Sprint(n), VersionInfo: fmt.Sprint("v", n)}
		for _, m := range answer(added) {
			packed, err := anypb.New(m)
			if err != nil {
				return err
			}
			response.Resources = append(response.Resources, packed)
		}
		if err := s.Send(response); err != nil {
			return err
		}
		sent = names
	}
}

// start istiod, which serves answer.
func (i *istiod) start(t testing.TB, answer func([]string) []proto.Message) {
	t.Helper()
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, i)
	i.mu.Lock()
	i.listener, i.server, i.answer, i.push = listener, server, answer, make(chan struct{})
	i.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
}

// serve something else from now on.
func (i *istiod) serve(answer func([]string) []proto.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
	close(i.push)
	i.push = make(chan struct{})
}

// stop istiod.
func (i *istiod) stop() {
	i.mu.Lock()
	server := i.server
	i.listener = nil
	i.mu.Unlock()
	server.Stop()
}

func (i *istiod) dial(ctx context.Context, _ string) (net.Conn, error) {
	i.mu.Lock()
	listener := i.listener
	i.mu.Unlock()
	if listener == nil {
		return nil, errors.New("connection refused")
	}
	return listener.DialContext(ctx)
}

// newClient of an istiod, which runs for as long as the test.
func newClient(t testing.TB, i *istiod) *Client {
	t.Helper()
	c := New(Options{Address: "istiod:15010", Namespace: "weir-system", Domain: "cluster.local", Dial: i.dial})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := c.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return c
}

// weighted serves a canary's weight of 100 for every name.
func weighted(canary uint32) func([]string) []proto.Message {
	return func(names []string) []proto.Message {
		var out []proto.Message
		for _, name := range names {
			out = append(out, &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{
				Name: name, Routes: []*routev3.Route{route("", "web", cluster("web", 100-canary), cluster("web-canary", canary))},
			}}})
		}
		return out
	}
}

// route of a VirtualService in namespace shop.
func route(name, of string, clusters ...*routev3.WeightedCluster_ClusterWeight) *routev3.Route {
	return &routev3.Route{
		Name:  name,
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{"istio": {Fields: map[string]*structpb.Value{
			"config": structpb.NewStringValue("/apis/networking.istio.io/v1alpha3/namespaces/shop/virtual-service/" + of),
		}}}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_WeightedClusters{
			WeightedClusters: &routev3.WeightedCluster{Clusters: clusters},
		}}},
	}
}

// cluster of a Service with a weight.
func cluster(service string, weight uint32) *routev3.WeightedCluster_ClusterWeight {
	return &routev3.WeightedCluster_ClusterWeight{Name: "outbound|80||" + service + ".shop.svc.cluster.local", Weight: wrapperspb.UInt32(weight)}
}

// ask for what is served, within a time.
func ask(t testing.TB, c *Client, within time.Duration) ([]istio.ServedRoute, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	return c.Served(ctx, key(), key(), 80)
}

// await a canary's weight, asking as Weir does.
func await(t testing.TB, c *Client, canary uint32) {
	t.Helper()
	for tick := time.Tick(5 * time.Millisecond); ; <-tick {
		got, err := ask(t, c, time.Minute)
		if err == nil && len(got) == 1 && got[0].Weights["web-canary.shop.svc|"] == canary {
			return
		}
		if t.Context().Err() != nil {
			t.Fatalf("got %v and error %v, want weight %d", got, err, canary)
		}
	}
}

// What is pushed is what is known, and a stream that breaks is opened again.
func TestFollow(t *testing.T) {
	i := &istiod{}
	i.start(t, weighted(11))
	c := newClient(t, i)
	got, err := ask(t, c, time.Minute)
	want := []istio.ServedRoute{{Last: true, Weights: map[string]uint32{"web.shop.svc|": 89, "web-canary.shop.svc|": 11}}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("the first question waits for its answer: error %v (-want +got):\n%s", err, diff)
	}
	i.serve(weighted(23))
	await(t, c, 23)
	if got, err := c.Served(t.Context(), key(), client.ObjectKey{Namespace: "shop", Name: "other"}, 80); err != nil || got != nil {
		t.Errorf("of a VirtualService without routes there: got %v and error %v", got, err)
	}
	i.stop()
	for tick := time.Tick(time.Millisecond); ; <-tick {
		if _, err := ask(t, c, time.Minute); err != nil {
			break
		}
	}
	began := time.Now()
	if _, err := ask(t, c, time.Minute); err == nil || time.Since(began) > 10*time.Second {
		t.Errorf("without istiod it is said at once: took %s, error %v", time.Since(began), err)
	}
	i.start(t, weighted(31))
	for tick := time.Tick(time.Millisecond); ; <-tick {
		_, err := ask(t, c, time.Minute)
		if err != nil && strings.Contains(err.Error(), "was away and is back") {
			break
		}
		if err == nil || t.Context().Err() != nil {
			t.Fatalf("proxies may not be back yet, and all is well: error %v", err)
		}
	}
	await(t, c, 31)
}

// New names are asked for together, each acknowledgement says them all, and the node is
// said once.
func TestNames(t *testing.T) {
	i := &istiod{}
	i.start(t, weighted(1))
	c := newClient(t, i)
	await(t, c, 1)
	const many = 200
	var asking sync.WaitGroup
	for n := range many {
		asking.Go(func() {
			service := client.ObjectKey{Namespace: "shop", Name: fmt.Sprint("s", n)}
			if _, err := c.Served(t.Context(), service, service, 80); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	i.mu.Lock()
	defer i.mu.Unlock()
	last := i.requests[len(i.requests)-1]
	if len(i.requests) > many/2 || len(last.GetResourceNames()) != many+1 {
		t.Errorf("%d requests, the last for %d names", len(i.requests), len(last.GetResourceNames()))
	}
	first := i.requests[0]
	if diff := cmp.Diff([]string{"web.shop.svc.cluster.local:80"}, first.GetResourceNames()); diff != "" {
		t.Errorf("the name of a sidecar's route configuration (-want +got):\n%s", diff)
	}
	if id := first.GetNode().GetId(); id != "sidecar~127.0.0.1~weir.weir-system~weir-system.svc.cluster.local" {
		t.Errorf("the node is %q", id)
	}
	if last.GetNode() != nil || last.GetTypeUrl() != routesType {
		t.Errorf("the last request is %v", last)
	}
}

// Nothing waits longer than its context says.
func TestSilent(t *testing.T) {
	i := &istiod{}
	i.start(t, nil)
	if _, err := ask(t, newClient(t, i), 20*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got error %v", err)
	}
}

// What cannot be read ends the stream.
func TestGarbage(t *testing.T) {
	i := &istiod{}
	i.start(t, func([]string) []proto.Message { return []proto.Message{wrapperspb.String("garbage")} })
	c := newClient(t, i)
	if _, err := ask(t, c, time.Minute); err == nil || !strings.Contains(err.Error(), "cannot read a route configuration") {
		t.Errorf("got error %v", err)
	}
	i.serve(weighted(7))
	await(t, c, 7)
}

// Names that nobody asks for are left out.
func TestForget(t *testing.T) {
	c := New(Options{Domain: "cluster.local"})
	began := time.Now()
	for _, name := range []string{"a", "b"} {
		if routes, _, err := c.look(name); routes != nil || err != nil {
			t.Fatalf("got %v and error %v", routes, err)
		}
	}
	c.names["a"].asked = began.Add(-time.Second)
	if diff := cmp.Diff([]string{"b"}, c.current(began)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c.got(map[string]served{"a": {}}); c.names["a"] != nil {
		t.Error("what is served of a forgotten name is kept")
	}
}

// A token is not sent in plain text.
func TestPlainToken(t *testing.T) {
	if _, err := (Options{Token: "/token"}).identify(t.Context()); err == nil {
		t.Error("a token goes out in plain text")
	}
}

// BenchmarkPush is what one push costs, by the names in it.
func BenchmarkPush(b *testing.B) {
	for _, names := range []int{1, 200} {
		b.Run(fmt.Sprint(names), func(b *testing.B) {
			var list []string
			for n := range names {
				list = append(list, fmt.Sprint("s", n))
			}
			r := &discoveryv3.DiscoveryResponse{TypeUrl: routesType}
			for _, m := range weighted(5)(list) {
				packed, err := anypb.New(m)
				if err != nil {
					b.Fatal(err)
				}
				r.Resources = append(r.Resources, packed)
			}
			for b.Loop() {
				if _, err := decode(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
