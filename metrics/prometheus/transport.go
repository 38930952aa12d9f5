package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/common/config"
)

// Dial opens a connection. It is where addresses are checked.
type Dial = func(ctx context.Context, network, address string) (net.Conn, error)

// Why the transport gives up.
var (
	errTooLarge = errors.New("the answer is larger than the limit")
	errRedirect = errors.New("the server redirects: spec.prometheus.url must be the address that it redirects to")
)

// newTransport is a transport with TLS and credentials as the configuration
// says, whose every connection, those to a token server among them, is made by
// dial.
func newTransport(cfg config.HTTPClientConfig, dial Dial, timeout time.Duration, maxBytes int64) (http.RoundTripper, error) {
	transport, err := config.NewRoundTripperFromConfig(cfg, "metrics",
		// Longer than a query may take, so that queries end by their own time-out.
		config.WithDialContextFunc(answering(dial, 2*timeout)),
		config.WithUserAgent("weir"),
	)
	if err != nil {
		// The cause may show key material; the kind of mistake it does not.
		return nil, fmt.Errorf("%s: the certificates or the key of tls_config cannot be used", ConfigKey)
	}
	if cfg.OAuth2 != nil {
		// The library fetches tokens without the deadline of the request.
		transport = prompt{next: transport}
	}
	return bounded{next: transport, maxBytes: maxBytes}, nil
}

// bounded refuses redirects and bodies beyond a limit.
type bounded struct {
	next     http.RoundTripper
	maxBytes int64
}

// CloseIdleConnections is what http.Client looks for.
func (b bounded) CloseIdleConnections() { closeIdle(b.next) }

// closeIdle closes the idle connections of a transport.
func closeIdle(transport http.RoundTripper) {
	(&http.Client{Transport: transport}).CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.next.RoundTrip(request)
	if err != nil {
		return nil, err //nolint:wrapcheck // http.Client adds the method and the URL.
	}
	switch {
	case response.StatusCode >= 300 && response.StatusCode < 400:
		err = errRedirect
	case response.ContentLength > b.maxBytes:
		err = errTooLarge
	default:
		response.Body = &limitedBody{body: response.Body, left: b.maxBytes}
		return response, nil
	}
	_ = response.Body.Close() // Nothing of it is wanted.
	return nil, err
}

// limitedBody is a body that ends in errTooLarge, not in silence, when more
// comes than is left.
type limitedBody struct {
	body io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (l *limitedBody) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, errTooLarge
	}
	// One byte more than is left tells a body that ends there from one that goes on.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.body.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return n, errTooLarge
	}
	return n, err //nolint:wrapcheck // Readers are compared with io.EOF.
}

// Close implements io.Closer.
func (l *limitedBody) Close() error { return l.body.Close() } //nolint:wrapcheck // It adds nothing of its own.

// prompt returns when the request's context ends, even if the transport below
// is in something that does not know the context.
type prompt struct{ next http.RoundTripper }

// CloseIdleConnections is what http.Client looks for.
func (p prompt) CloseIdleConnections() { closeIdle(p.next) }

// RoundTrip implements http.RoundTripper.
func (p prompt) RoundTrip(request *http.Request) (*http.Response, error) {
	type result struct {
		response *http.Response
		err      error
	}
	done := make(chan result, 1)
	go func() {
		response, err := p.next.RoundTrip(request) //nolint:bodyclose // The reader of the channel closes it.
		done <- result{response, err}
	}()
	select {
	case r := <-done:
		return r.response, r.err
	case <-request.Context().Done():
		// What is under way ends by the deadline of its connection.
		go func() {
			if r := <-done; r.response != nil {
				_ = r.response.Body.Close() // Nobody waits for it.
			}
		}()
		return nil, request.Context().Err() //nolint:wrapcheck // Callers compare it.
	}
}

// answering makes connections whose peer must answer each write within a time.
// It bounds what has no deadline of its own, such as the fetch of a token, and
// also how long an idle connection is kept.
func answering(dial Dial, within time.Duration) Dial {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &answeringConn{Conn: conn, within: within}, nil
	}
}

type answeringConn struct {
	net.Conn
	within time.Duration
}

// Write implements net.Conn.
func (c *answeringConn) Write(p []byte) (int, error) {
	if err := c.SetDeadline(time.Now().Add(c.within)); err != nil {
		return 0, err //nolint:wrapcheck // It is the connection's own error.
	}
	return c.Conn.Write(p) //nolint:wrapcheck // As above.
}
