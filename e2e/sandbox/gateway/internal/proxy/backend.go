package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// errNoEndpoints says that a backend has no endpoint to send a request to.
var errNoEndpoints = errors.New("no ready endpoint")

// maxAttempts bounds how often one request is tried; each further attempt means
// that an endpoint was removed just as it was chosen.
const maxAttempts = 10

// Endpoint is a place to send requests to.
type Endpoint struct {
	// Address is the IP and port.
	Address netip.AddrPort
	// Pod is the name of the pod behind it, if known.
	Pod string
}

// Backend is a set of endpoints that requests go to in turn. It is safe for
// concurrent use.
type Backend struct {
	protocols *http.Protocols
	turn      atomic.Uint64
	current   atomic.Pointer[[]*endpoint]
	mu        sync.Mutex // held by Set
}

// NewBackend returns a backend without endpoints, whose endpoints speak
// HTTP/1.1 or, with h2c, HTTP/2 without TLS.
func NewBackend(h2c bool) *Backend {
	b := &Backend{protocols: new(http.Protocols)}
	b.protocols.SetHTTP1(!h2c)
	b.protocols.SetUnencryptedHTTP2(h2c)
	b.current.Store(new([]*endpoint))
	return b
}

// Set replaces the endpoints. Those that stay keep their connections. Those
// that are gone get no further request: idle connections to them are closed at
// once, others after the request they serve.
func (b *Backend) Set(endpoints []Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	gone := map[Endpoint]*endpoint{}
	for _, e := range *b.current.Load() {
		gone[e.Endpoint] = e
	}
	next := make([]*endpoint, 0, len(endpoints))
	seen := map[Endpoint]bool{}
	for _, want := range endpoints {
		if seen[want] {
			continue
		}
		seen[want] = true
		e, known := gone[want]
		if known {
			delete(gone, want)
		} else {
			e = newEndpoint(want, b.protocols)
		}
		next = append(next, e)
	}
	// In this order no request chooses an endpoint that is already marked.
	b.current.Store(&next)
	for _, e := range gone {
		e.remove()
	}
}

// Endpoints returns the present endpoints.
func (b *Backend) Endpoints() []Endpoint {
	var list []Endpoint
	for _, e := range *b.current.Load() {
		list = append(list, e.Endpoint)
	}
	return list
}

// CloseIdle closes the connections that no request uses, for a backend that is
// not going to be used any more.
func (b *Backend) CloseIdle() {
	for _, e := range *b.current.Load() {
		e.transport.CloseIdleConnections()
	}
}

// send sends a request to one endpoint, and to another only if the first has
// been removed and has not got a byte of it. It returns the endpoint that was
// sent to last.
func (b *Backend) send(r *http.Request) (*http.Response, Endpoint, error) {
	var last Endpoint
	for range maxAttempts {
		endpoints := *b.current.Load()
		if len(endpoints) == 0 {
			return nil, last, errNoEndpoints
		}
		e := endpoints[b.turn.Add(1)%uint64(len(endpoints))]
		last = e.Endpoint
		response, again, err := e.send(r)
		if err == nil || !again || r.Context().Err() != nil {
			return response, last, err
		}
	}
	return nil, last, errors.New("every endpoint chosen was removed at that moment")
}

// endpoint is an Endpoint with its connections. Each has a transport of its
// own, so that removal can close its connections and no others.
type endpoint struct {
	Endpoint
	transport *http.Transport
	removed   atomic.Bool
}

func newEndpoint(e Endpoint, protocols *http.Protocols) *endpoint {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &endpoint{Endpoint: e, transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, fmt.Errorf("cannot connect: %w", err)
			}
			return &conn{Conn: c}, nil
		},
		Protocols:           protocols,
		DisableCompression:  true,
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     time.Minute,
	}}
}

// remove marks the endpoint so that no further request is sent to it.
func (e *endpoint) remove() {
	e.removed.Store(true)
	e.transport.CloseIdleConnections()
}
