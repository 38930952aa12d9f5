// Package served asks Linkerd's destination controller what it streams to proxies.
//
// A question is what a proxy asks at the first request to a Service: GetProfile of
// its authority, of which the first message is the profile as it is now. Nothing is
// kept open between questions. A stream for each ServiceProfile would make both sides
// hold thousands for objects that change for minutes of a month, and one question
// takes both together less than a tenth of a millisecond (BenchmarkWeights). Of the
// Rollouts at rest nobody asks: their profiles are as their users wrote them.
//
// # How long a pass waits
//
// All questions go over one connection, made with the first of them. Of a controller
// that is gone they are told so at once, without a wait; of one that is silent, after
// the deadline of the caller. From then on one question at a time goes through, and
// all others fail with what it last found, so that a silent controller costs one
// worker and not all of them. The first answer opens the way to all again. How many
// are asked at once is bounded by how many passes there are (--concurrency).
//
// # What the answer is worth
//
// It is that of one replica of the controller, in plain text, unless Weir's pods are
// in the mesh themselves; others may be behind it by as much as their watches are.
// What proxies do in the time that a message takes to them is not known. After an outage
// they come back to the controller later than Weir may: until they are back questions
// fail.
package served

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/weir-dev/weir/providers/internal/outage"
	"github.com/weir-dev/weir/providers/linkerd"
)

const (
	// port that is asked for. A ServiceProfile is for all ports of a Service.
	port = "80"
	// Pauses between attempts to connect. Weir asks each second.
	firstPause, maxPause = 100 * time.Millisecond, time.Second
	// connectTimeout bounds one attempt.
	connectTimeout = 5 * time.Second
	// maxBackoff is the longest time that Linkerd's proxy waits between two attempts to
	// connect to its control plane: from 0.1 s, doubled each time, to 10 s, and a tenth
	// of it more by chance. That is never longer than it was away before, but for the
	// pace at which Weir asks.
	maxBackoff, backoffFactor = 11 * time.Second, 3
	// maxProfile is the largest profile that is taken. One has routes, too, and
	// cannot be larger than what the API server stores.
	maxProfile = 8 << 20
)

// errClosed says that the process ends.
var errClosed = errors.New("the client is closed")

// Options of a client.
type Options struct {
	// Address of the destination controller, HOST:PORT.
	Address string
	// Dial opens connections; nil for the network.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Client asks one destination controller. It is safe for concurrent use.
type Client struct {
	options Options

	mu     sync.Mutex
	conn   *grpc.ClientConn
	closed bool
	// problem is why the last question had no answer, nil when it had one, and
	// probing is true while one question finds out whether it is still so.
	problem error
	probing bool
	outage  outage.Outage
}

var _ linkerd.Streams = &Client{}

// New makes a client, which connects when it is first asked.
func New(options Options) *Client {
	return &Client{options: options, outage: outage.Outage{
		Name: "Linkerd's destination controller", Factor: backoffFactor, Max: maxBackoff,
	}}
}

// Start closes the connection when the context ends.
func (c *Client) Start(ctx context.Context) error {
	<-ctx.Done()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.drop(c.conn)
	return nil
}

// Weights of an authority, as package linkerd wants them.
func (c *Client) Weights(ctx context.Context, authority string) (map[string]uint32, error) {
	conn, err := c.admit()
	if err != nil {
		return nil, err
	}
	weights, err := ask(ctx, conn, authority)
	c.note(conn, err)
	if err == nil {
		err = c.settling()
	}
	return weights, err
}

// admit lets a question through, unless another one is finding out whether there is
// an answer.
func (c *Client) admit() (*grpc.ClientConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, errClosed
	case c.problem != nil && c.probing:
		return nil, c.problem
	}
	if c.conn == nil {
		conn, err := c.options.connect()
		if err != nil {
			return nil, err
		}
		c.conn = conn
	}
	c.probing = c.problem != nil
	return c.conn, nil
}

// note what became of a question.
func (c *Client) note(conn *grpc.ClientConn, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.probing = false
	switch status.Code(err) {
	case codes.Canceled: // By the caller.
	case codes.DeadlineExceeded:
		// The other end may be gone without a word. The system would find out in a
		// quarter of an hour.
		c.failed(err)
		c.drop(conn)
	case codes.Unavailable:
		c.failed(err)
	default: // Whatever it is, it is an answer.
		c.problem = nil
		c.outage.Answered(time.Now())
	}
}

// failed notes that there was no answer.
func (c *Client) failed(err error) {
	c.problem = err
	c.outage.Failed(time.Now())
}

// settling is an error while proxies may still be without the controller.
func (c *Client) settling() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if why := c.outage.Settling(time.Now()); why != "" {
		return errors.New(why)
	}
	return nil
}

// drop a connection, unless there is another one already.
func (c *Client) drop(conn *grpc.ClientConn) {
	if conn != nil && conn == c.conn {
		_ = conn.Close() // It says only that it is closed.
		c.conn = nil
	}
}

// connect makes a connection, lazily.
func (o Options) connect() (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: firstPause, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxPause},
			MinConnectTimeout: connectTimeout,
		}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxProfile)),
		grpc.WithDisableServiceConfig(),
	}
	target := "dns:///" + o.Address
	if o.Dial != nil {
		target = "passthrough:///" + o.Address
		options = append(options, grpc.WithContextDialer(o.Dial))
	}
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", o.Address, err)
	}
	return conn, nil
}

// ask opens a stream for its first message.
func ask(ctx context.Context, conn *grpc.ClientConn, authority string) (map[string]uint32, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewDestinationClient(conn).GetProfile(ctx, &pb.GetDestination{Scheme: "k8s", Path: authority + ":" + port})
	if err != nil {
		return nil, fmt.Errorf("cannot ask for the profile: %w", err)
	}
	profile, err := stream.Recv()
	if err != nil {
		return nil, fmt.Errorf("cannot read the profile: %w", err)
	}
	weights := make(map[string]uint32, len(profile.GetDstOverrides()))
	for _, o := range profile.GetDstOverrides() {
		host, _, _ := strings.Cut(o.GetAuthority(), ":")
		weights[strings.TrimSuffix(host, ".")] += o.GetWeight()
	}
	return weights, nil
}
