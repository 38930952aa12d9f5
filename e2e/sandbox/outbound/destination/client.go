// Package destination asks Linkerd's destination controller what it tells the
// proxies of a mesh: by which weights the requests for an authority are shared,
// and where the endpoints of an authority are. The outbound proxy does what it
// hears from it; tests see with it what the controller streams.
//
// The authority of a Service is NAME.NAMESPACE.svc.cluster.local:PORT.
package destination

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
)

// The pauses between attempts to connect, and between streams. A test that
// restarts the controller waits for them.
const (
	firstPause = 50 * time.Millisecond
	maxPause   = time.Second
)

// Dialer opens connections. DialContext of a net.Dialer is one, and that of a
// control.Client, which dials inside a sandbox.
type Dialer func(ctx context.Context, network, address string) (net.Conn, error)

// Client is a client of one destination controller. It is safe for concurrent
// use.
type Client struct {
	conn *grpc.ClientConn
	api  pb.DestinationClient
	log  *slog.Logger
}

// New returns a client for the controller at an address. It connects when it is
// used, and again whenever the connection breaks; log hears of that.
func New(address string, dial Dialer, log *slog.Logger) (*Client, error) {
	pauses := backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause}
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return dial(ctx, "tcp", to) }),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: 5 * time.Second}),
	)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", address, err)
	}
	return &Client{conn: conn, api: pb.NewDestinationClient(conn), log: log}, nil
}

// Close ends all that goes on.
func (c *Client) Close() error {
	if err := c.conn.Close(); err != nil {
		return fmt.Errorf("cannot close the connection: %w", err)
	}
	return nil
}

// Targets returns the targets that the controller streams for an authority at
// present.
func (c *Client) Targets(ctx context.Context, authority string) ([]Target, error) {
	return c.AwaitTargets(ctx, authority, func([]Target) bool { return true })
}

// AwaitTargets follows an authority until the controller streams targets that
// match, and returns them. When ctx ends first, the error tells the last ones.
func (c *Client) AwaitTargets(ctx context.Context, authority string, match func([]Target) bool) ([]Target, error) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	var last []Target
	heard, matched := false, false
	c.FollowTargets(following, authority, func(targets []Target) {
		if matched {
			return
		}
		last, heard, matched = targets, true, match(targets)
		if matched {
			stop()
		}
	})
	switch {
	case matched:
		return last, nil
	case !heard:
		return nil, fmt.Errorf("the destination controller says nothing of %s: %w", authority, ctx.Err())
	default:
		return nil, fmt.Errorf("the destination controller streams %v for %s: %w", last, authority, ctx.Err())
	}
}

// FollowTargets calls update with the targets of an authority and whenever they
// change, until ctx ends. While there is no connection it makes none up: nothing
// is called.
func (c *Client) FollowTargets(ctx context.Context, authority string, update func([]Target)) {
	c.follow(ctx, "profile of "+authority, func(ctx context.Context, heard func()) error {
		stream, err := c.api.GetProfile(ctx, request(authority), grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("cannot ask: %w", err)
		}
		for {
			profile, err := stream.Recv()
			if err != nil {
				return fmt.Errorf("the stream ended: %w", err)
			}
			heard()
			update(targets(profile))
		}
	})
}

// FollowEndpoints calls update with the endpoints of an authority and whenever
// they change, until ctx ends. While there is no connection nothing is called;
// what the next one says replaces all that the last one said.
func (c *Client) FollowEndpoints(ctx context.Context, authority string, update func([]Endpoint)) {
	c.follow(ctx, "endpoints of "+authority, func(ctx context.Context, heard func()) error {
		stream, err := c.api.Get(ctx, request(authority), grpc.WaitForReady(true))
		if err != nil {
			return fmt.Errorf("cannot ask: %w", err)
		}
		known := endpoints{}
		for {
			u, err := stream.Recv()
			if err != nil {
				return fmt.Errorf("the stream ended: %w", err)
			}
			heard()
			known.apply(u)
			update(known.list())
		}
	})
}

func request(authority string) *pb.GetDestination {
	return &pb.GetDestination{Scheme: "k8s", Path: authority}
}

// follow runs one stream after the other until ctx ends. The pause between them
// grows as long as no stream says anything.
func (c *Client) follow(ctx context.Context, what string, stream func(ctx context.Context, heard func()) error) {
	pause := firstPause
	for {
		err := stream(ctx, func() { pause = firstPause })
		if ctx.Err() != nil {
			return
		}
		c.log.Info("following again", slog.String("what", what), slog.Duration("in", pause), slog.Any("because", err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, maxPause)
	}
}
