package destination

import (
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const authority = "web.shop.svc.cluster.local:80"

// controller is a destination controller that says what a test hands it.
type controller struct {
	pb.UnimplementedDestinationServer
	profiles chan *pb.DestinationProfile
	updates  chan *pb.Update
}

// next takes what is to be said next. Nil ends the stream with an error.
func next[M any](ctx context.Context, messages <-chan *M) (*M, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case m := <-messages:
		if m == nil {
			return nil, status.Error(codes.Unavailable, "the test ends the stream")
		}
		return m, nil
	}
}

func (c *controller) GetProfile(_ *pb.GetDestination, stream grpc.ServerStreamingServer[pb.DestinationProfile]) error {
	for {
		m, err := next(stream.Context(), c.profiles)
		if err != nil {
			return err
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}

func (c *controller) Get(_ *pb.GetDestination, stream grpc.ServerStreamingServer[pb.Update]) error {
	for {
		m, err := next(stream.Context(), c.updates)
		if err != nil {
			return err
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
}

// start serves a controller and returns a client for it.
func start(t *testing.T) (*controller, *Client) {
	t.Helper()
	c := &controller{profiles: make(chan *pb.DestinationProfile), updates: make(chan *pb.Update)}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterDestinationServer(server, c)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	var dialer net.Dialer
	client, err := New(listener.Addr().String(), dialer.DialContext, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return c, client
}

func profile(weight uint32) *pb.DestinationProfile {
	return &pb.DestinationProfile{DstOverrides: []*pb.WeightedDst{{Authority: authority, Weight: weight}}}
}

func TestAwaitTargetsOverStreams(t *testing.T) {
	c, client := start(t)
	go func() {
		c.profiles <- profile(1)
		c.profiles <- nil // the stream breaks
		c.profiles <- profile(2)
	}()
	got, err := client.AwaitTargets(t.Context(), authority, func(targets []Target) bool { return targets[0].Weight == 2 })
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Target{{authority, 2}}, got); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestAwaitTargetsTellsTheLast(t *testing.T) {
	c, client := start(t)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	go func() { c.profiles <- profile(7) }()
	_, err := client.AwaitTargets(ctx, authority, func([]Target) bool {
		stop()
		return false
	})
	if err == nil || !strings.Contains(err.Error(), "7}") {
		t.Errorf("error %v, want one that tells the weight", err)
	}
}

func TestAwaitTargetsOfASilentController(t *testing.T) {
	_, client := start(t)
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	if _, err := client.Targets(ctx, authority); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error %v, want one that says that nothing was heard", err)
	}
}

// What a new stream says is all there is: endpoints that went away while there
// was no stream must not stay.
func TestEndpointsAfterABrokenStream(t *testing.T) {
	c, client := start(t)
	go func() {
		c.updates <- add(ipv4(0x0af40101, 80), ipv4(0x0af40102, 80))
		c.updates <- nil
		c.updates <- add(ipv4(0x0af40102, 80))
	}()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var sizes []int
	client.FollowEndpoints(ctx, authority, func(list []Endpoint) {
		if sizes = append(sizes, len(list)); len(sizes) == 2 {
			stop()
		}
	})
	if diff := cmp.Diff([]int{2, 1}, sizes); diff != "" {
		t.Errorf("endpoints that each update has (-want +got):\n%s", diff)
	}
}
