package served

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
)

// authority that the tests ask for.
const authority = "web.shop.svc.cluster.local"

// controller is a destination controller of which the tests say what it does.
type controller struct {
	pb.UnimplementedDestinationServer
	answer func(*pb.GetDestination, pb.Destination_GetProfileServer) error
}

func (c *controller) GetProfile(r *pb.GetDestination, s pb.Destination_GetProfileServer) error {
	return c.answer(r, s)
}

// network leads to a controller, or to none.
type network struct {
	mu       sync.Mutex
	listener *bufconn.Listener
	server   *grpc.Server
	dials    int
}

// start a controller with what it answers.
func (n *network) start(t testing.TB, answer func(*pb.GetDestination, pb.Destination_GetProfileServer) error) {
	t.Helper()
	listener, server := bufconn.Listen(1<<20), grpc.NewServer()
	pb.RegisterDestinationServer(server, &controller{answer: answer})
	n.mu.Lock()
	n.listener, n.server = listener, server
	n.mu.Unlock()
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
}

// stop the controller.
func (n *network) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.server.Stop()
	n.listener = nil
}

func (n *network) dial(ctx context.Context, _ string) (net.Conn, error) {
	n.mu.Lock()
	listener := n.listener
	n.dials++
	n.mu.Unlock()
	if listener == nil {
		return nil, errors.New("connection refused")
	}
	return listener.DialContext(ctx)
}

// newClient of whatever is on the network.
func newClient(t testing.TB, n *network) *Client {
	t.Helper()
	c := New(Options{Address: "controller:8086", Dial: n.dial})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if err := c.Start(ctx); err != nil {
			t.Error(err)
		}
	})
	return c
}

// streams of weights, one message each.
func streams(messages ...[]*pb.WeightedDst) func(*pb.GetDestination, pb.Destination_GetProfileServer) error {
	return func(_ *pb.GetDestination, s pb.Destination_GetProfileServer) error {
		for _, m := range messages {
			if err := s.Send(&pb.DestinationProfile{DstOverrides: m}); err != nil {
				return err
			}
		}
		<-s.Context().Done()
		return s.Context().Err()
	}
}

// dst is a weighted authority.
func dst(authority string, weight uint32) *pb.WeightedDst {
	return &pb.WeightedDst{Authority: authority, Weight: weight}
}

func TestWeights(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer func(*pb.GetDestination, pb.Destination_GetProfileServer) error
		want   map[string]uint32
		err    string
	}{
		"Split": {
			reason: "authorities come with ports, and newer controllers end them with a dot",
			answer: streams([]*pb.WeightedDst{dst("web.shop.svc.cluster.local.:80", 9000), dst("web-canary.shop.svc.cluster.local:80", 1000)}),
			want:   map[string]uint32{authority: 9000, "web-canary.shop.svc.cluster.local": 1000},
		},
		"None": {reason: "no overrides are an answer", answer: streams(nil), want: map[string]uint32{}},
		"First": {
			reason: "the first message is the profile as it is, and nothing waits for another",
			answer: streams([]*pb.WeightedDst{dst(authority, 1)}, []*pb.WeightedDst{dst(authority, 2)}),
			want:   map[string]uint32{authority: 1},
		},
		"Twice": {
			reason: "entries of one authority add up, as they do in proxies",
			answer: streams([]*pb.WeightedDst{dst(authority+":80", 1000), dst(authority+":80", 2000)}),
			want:   map[string]uint32{authority: 3000},
		},
		"Refused": {
			reason: "what is no Service's authority is refused",
			answer: func(*pb.GetDestination, pb.Destination_GetProfileServer) error {
				return status.Error(codes.InvalidArgument, "not a service")
			},
			err: "not a service",
		},
		"Ended": {
			reason: "a stream that ends before it says anything is no answer",
			answer: func(*pb.GetDestination, pb.Destination_GetProfileServer) error { return nil },
			err:    "EOF",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			n := &network{}
			n.start(t, func(r *pb.GetDestination, s pb.Destination_GetProfileServer) error {
				if r.GetScheme() != "k8s" || r.GetPath() != authority+":80" {
					return status.Errorf(codes.InvalidArgument, "asked for %v", r)
				}
				return tc.answer(r, s)
			})
			got, err := newClient(t, n).Weights(t.Context(), authority)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got error %v, want %q", tc.reason, err, tc.err)
			}
		})
	}
}

// A controller that is gone is said so at once, and asked again when it is back.
func TestReconnect(t *testing.T) {
	n := &network{}
	c := newClient(t, n)
	if _, err := c.Weights(t.Context(), authority); status.Code(err) != codes.Unavailable {
		t.Errorf("nobody is there: got error %v", err)
	}
	for range 2 {
		n.start(t, streams([]*pb.WeightedDst{dst(authority, 1)}))
		for tick := time.Tick(10 * time.Millisecond); ; <-tick {
			got, err := c.Weights(t.Context(), authority)
			if err == nil && got[authority] == 1 {
				break
			}
			if t.Context().Err() != nil {
				t.Fatalf("a controller that is back is not asked: %v", err)
			}
		}
		n.stop()
		if _, err := c.Weights(t.Context(), authority); err == nil {
			t.Error("a controller that is gone has answered")
		}
	}
}

// Of a controller that is silent one question at a time waits.
func TestSilent(t *testing.T) {
	n, silent := &network{}, make(chan struct{})
	var asked sync.WaitGroup
	n.start(t, func(r *pb.GetDestination, s pb.Destination_GetProfileServer) error {
		select {
		case <-silent:
			return streams(nil)(r, s)
		case <-s.Context().Done():
			return s.Context().Err()
		}
	})
	c := newClient(t, n)
	ask := func(wait time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		defer cancel()
		_, err := c.Weights(ctx, authority)
		return err
	}
	if err := ask(50 * time.Millisecond); status.Code(err) != codes.DeadlineExceeded {
		t.Fatalf("the deadline of the caller counts: got error %v", err)
	}
	probe := make(chan error, 1)
	asked.Go(func() { probe <- ask(time.Minute) })
	for tick := time.Tick(time.Millisecond); ; <-tick {
		c.mu.Lock()
		probing := c.probing
		c.mu.Unlock()
		if probing {
			break
		}
	}
	began := time.Now()
	for range 1000 {
		if err := ask(time.Minute); status.Code(err) != codes.DeadlineExceeded {
			t.Fatalf("others are told what the last one found: got error %v", err)
		}
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("1000 questions beside the one that waits took %s", took)
	}
	close(silent)
	asked.Wait()
	if err := <-probe; err == nil || !strings.Contains(err.Error(), "was away and is back") {
		t.Errorf("the one that waited learns that proxies may not be back: got error %v", err)
	}
	for tick := time.Tick(10 * time.Millisecond); ; <-tick {
		err := ask(time.Minute)
		if err == nil {
			break
		}
		if t.Context().Err() != nil {
			t.Fatalf("after it all are answered: %v", err)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dials != 2 {
		t.Errorf("a silent connection is replaced once: dialled %d times", n.dials)
	}
}

// The connection ends with the process.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Address: "controller:8086"})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Start(ctx) }()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := c.Weights(t.Context(), authority); !errors.Is(err, errClosed) {
			t.Errorf("got error %v", err)
		}
	})
}

// BenchmarkWeights is what a question costs both sides, without a network.
func BenchmarkWeights(b *testing.B) {
	n := &network{}
	n.start(b, streams([]*pb.WeightedDst{dst(authority, 9000), dst("web-canary.shop.svc.cluster.local", 1000)}))
	c := newClient(b, n)
	for b.Loop() {
		if _, err := c.Weights(b.Context(), authority); err != nil {
			b.Fatal(err)
		}
	}
}
