package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

// conn counts the bytes written to a connection, which tells whether a backend
// may have got any of a request.
type conn struct {
	net.Conn
	written atomic.Int64
}

func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.written.Add(int64(n))
	return n, err //nolint:wrapcheck // net/http looks at the error as the connection made it
}

// attempt is one request to one endpoint.
type attempt struct {
	endpoint *endpoint
	body     bool // the request has one
	h2       bool
	// conn is the connection in use, start what had been written to it before.
	conn   *conn
	start  int64
	reused bool
}

// gotConn is called by net/http with the connection a request is about to be
// sent on, and again if it retries on another one by itself.
func (a *attempt) gotConn(info httptrace.GotConnInfo) {
	sent := a.sent()
	c, ours := info.Conn.(*conn)
	if !ours {
		return
	}
	a.conn, a.start, a.reused = c, c.written.Load(), info.Reused
	if a.h2 {
		return // the connection is not ours alone: it cannot be closed
	}
	// Closing the connection is how to stop net/http here: writing to it
	// fails, with nothing written. It must not send twice what a backend may
	// have begun to serve, nor send anything to an endpoint that was removed
	// while it was being dialed. A request with a body goes on, since net/http
	// may begin to read the body before it finds the connection closed: it was
	// under way when the endpoint was removed.
	if sent || a.endpoint.removed.Load() && !a.body {
		c.Close() //nolint:errcheck // the write that follows fails in any case
	}
}

// sent reports whether the endpoint may have got a byte of the request.
func (a *attempt) sent() bool { return a.conn != nil && a.conn.written.Load() != a.start }

// unsent reports whether the request, body included, is as it was before the
// attempt. Of a request with a body that is sure only if it never had a
// connection.
func (a *attempt) unsent() bool { return a.conn == nil || !a.body && !a.sent() }

// send sends a request to the endpoint. When it fails, again says whether the
// request may be sent elsewhere: it has not left, and the endpoint has been
// removed or had closed the connection that was chosen.
func (e *endpoint) send(r *http.Request) (response *http.Response, again bool, err error) {
	a := &attempt{endpoint: e, h2: e.transport.Protocols.UnencryptedHTTP2()}
	trace := &httptrace.ClientTrace{GotConn: a.gotConn}
	out := r.WithContext(httptrace.WithClientTrace(r.Context(), trace))
	target := *r.URL
	target.Scheme, target.Host = "http", e.Address.String()
	out.URL = &target
	if r.Body != nil && r.Body != http.NoBody {
		// net/http closes the body after every attempt; its owner does, too,
		// after the last.
		out.Body, a.body = io.NopCloser(r.Body), true
	}
	response, err = e.transport.RoundTrip(out)
	if err != nil {
		again = a.unsent() && (e.removed.Load() || a.reused)
		if a.conn == nil {
			err = fmt.Errorf("%w: %w", errNotConnected, err)
		}
		return nil, again, fmt.Errorf("cannot send to %s: %w", e.Address, err)
	}
	return response, false, nil
}
