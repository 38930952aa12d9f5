package served

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// routesType is the type of route configurations.
	routesType = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 5 * time.Second
	// pingAfter is how long a stream may be silent before the other end is asked
	// whether it is there, and pingTimeout how long that takes at most. istiod allows
	// it, and its own agents do it.
	pingAfter, pingTimeout = 30 * time.Second, 10 * time.Second
	// answerTimeout bounds the time until new names are answered. istiod answers them
	// always, also with nothing.
	answerTimeout = 15 * time.Second
	// maxResponse is the largest response that is taken.
	maxResponse = 64 << 20
)

// errSilent says that istiod holds a stream and does not answer on it.
var errSilent = errors.New("no answer on the stream")

// stream of discovery.
type stream = discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesClient

// session is the life of one stream. It ends with an error when that breaks, and
// without when nobody asks for anything any more. heard is called with every response.
func (c *Client) session(ctx context.Context, heard func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := c.options.connect()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // It says only that it is closed.
	ctx, err = c.options.identify(ctx)
	if err != nil {
		return err
	}
	s, err := discoveryv3.NewAggregatedDiscoveryServiceClient(conn).StreamAggregatedResources(ctx)
	if err != nil {
		return fmt.Errorf("cannot open a stream: %w", err)
	}
	responses, broken := make(chan *discoveryv3.DiscoveryResponse), make(chan error, 1)
	go func() { broken <- receive(s, responses) }()
	return c.talk(s, responses, broken, heard)
}

// receive what comes until the stream ends.
func receive(s stream, responses chan<- *discoveryv3.DiscoveryResponse) error {
	for {
		r, err := s.Recv()
		if err != nil {
			return fmt.Errorf("the stream ended: %w", err)
		}
		select {
		case responses <- r:
		case <-s.Context().Done():
			return fmt.Errorf("the stream ended: %w", s.Context().Err())
		}
	}
}

// talk asks for the names and takes what is served.
func (c *Client) talk(s stream, responses <-chan *discoveryv3.DiscoveryResponse, broken <-chan error, heard func()) error {
	forget := time.NewTicker(forgetPace)
	defer forget.Stop()
	asked := &subscriber{stream: s, node: c.options.node()}
	var oldest time.Time
	for {
		names := c.current(oldest)
		if len(names) == 0 {
			return nil
		}
		if err := asked.send(names); err != nil {
			return err
		}
		select {
		case err := <-broken:
			return err
		case <-asked.silence:
			return errSilent
		case <-c.wanted:
			time.Sleep(gather) // Others may come. What is served waits as well.
		case now := <-forget.C:
			oldest = now.Add(-forgetAfter)
		case r := <-responses:
			configs, err := decode(r)
			if err != nil {
				return err
			}
			heard()
			c.got(configs)
			asked.took(r)
		}
	}
}

// subscriber sends what is asked for.
type subscriber struct {
	stream stream
	node   *corev3.Node
	names  []string
	// version and nonce are those of the last response. It has to be acknowledged when
	// that is due; a request with an older nonce is passed over.
	version, nonce string
	due            bool
	// silence tells when an answer has been waited for too long.
	silence <-chan time.Time
}

// took a response, which is to be acknowledged.
func (s *subscriber) took(r *discoveryv3.DiscoveryResponse) {
	s.version, s.nonce, s.due, s.silence = r.GetVersionInfo(), r.GetNonce(), true, nil
}

// send the names, if they are others than were sent, or a response is to be
// acknowledged. An acknowledgement says all names, too.
func (s *subscriber) send(names []string) error {
	if !s.due && slices.Equal(s.names, names) {
		return nil
	}
	err := s.stream.Send(&discoveryv3.DiscoveryRequest{
		Node: s.node, TypeUrl: routesType, ResourceNames: names, VersionInfo: s.version, ResponseNonce: s.nonce,
	})
	if err != nil {
		return fmt.Errorf("cannot ask on the stream: %w", err)
	}
	if s.silence == nil && !subset(names, s.names) {
		s.silence = time.After(answerTimeout)
	}
	s.node, s.names, s.due = nil, names, false // The node is said once.
	return nil
}

// subset tells whether all names are among others, both in order.
func subset(names, others []string) bool {
	return !slices.ContainsFunc(names, func(n string) bool {
		_, found := slices.BinarySearch(others, n)
		return !found
	})
}

// decode a response.
func decode(r *discoveryv3.DiscoveryResponse) (map[string]served, error) {
	if r.GetTypeUrl() != routesType {
		return nil, fmt.Errorf("asked for routes and got %q", r.GetTypeUrl())
	}
	out := make(map[string]served, len(r.GetResources()))
	for _, resource := range r.GetResources() {
		config := &routev3.RouteConfiguration{}
		if err := resource.UnmarshalTo(config); err != nil {
			return nil, fmt.Errorf("cannot read a route configuration: %w", err)
		}
		out[config.GetName()] = read(config)
	}
	return out, nil
}

// connect makes a connection, lazily.
func (o Options) connect() (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, fmt.Errorf("cannot read the certificates of istiod's CA: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificates", o.CA)
		}
		transport = credentials.NewTLS(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12})
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(transport),
		grpc.WithConnectParams(grpc.ConnectParams{MinConnectTimeout: connectTimeout}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponse)),
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

// identify adds the token as it is now. It never goes out in plain text.
func (o Options) identify(ctx context.Context) (context.Context, error) {
	if o.Token == "" {
		return ctx, nil
	}
	if o.CA == "" {
		return nil, errors.New("a token goes to an istiod only whose certificate can be checked")
	}
	token, err := os.ReadFile(o.Token)
	if err != nil {
		return nil, fmt.Errorf("cannot read the token for istiod: %w", err)
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+strings.TrimSpace(string(token))), nil
}

// node that asks: a sidecar of Weir's namespace, of which istiod knows no pod, so that
// no labels change what it is served.
func (o Options) node() *corev3.Node {
	text := structpb.NewStringValue
	return &corev3.Node{
		Id: fmt.Sprintf("sidecar~127.0.0.1~weir.%s~%[1]s.svc.%s", o.Namespace, o.Domain),
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"NAMESPACE": text(o.Namespace), "CLUSTER_ID": text("Kubernetes"),
		}},
	}
}
