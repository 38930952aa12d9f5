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

// reconnect is the pause of a patient backend after which it tries again to
// connect to endpoints of which none could be.
const reconnect = 50 * time.Millisecond

// errNotConnected says that there was no connection to send a request on, so
// that nothing of it can have arrived.
var errNotConnected = errors.New("not connected")

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
	patience  time.Duration
	turn      atomic.Uint64
	current   atomic.Pointer[[]*endpoint]
	mu        sync.Mutex // held by Set
	// changed is closed by the next Set.
	changed atomic.Pointer[chan struct{}]
}

// NewBackend returns a backend without endpoints, whose endpoints speak
// HTTP/1.1 or, with h2c, HTTP/2 without TLS.
func NewBackend(h2c bool) *Backend {
	b := &Backend{protocols: new(http.Protocols)}
	b.protocols.SetHTTP1(!h2c)
	b.protocols.SetUnencryptedHTTP2(h2c)
	b.current.Store(new([]*endpoint))
	b.changed.Store(new(make(chan struct{})))
	return b
}

// NewPatientBackend returns a backend that does as the balancer of a mesh's
// proxy, which knows to which endpoints it has a connection: a request goes on
// to the next endpoint if the first cannot be connected to, and waits for that
// time in all while there is none. Other failures it passes on.
func NewPatientBackend(h2c bool, patience time.Duration) *Backend {
	b := NewBackend(h2c)
	b.patience = patience
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
	close(*b.changed.Swap(new(make(chan struct{}))))
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
// not got a byte of it and has been removed, or could not be connected to by a
// patient backend. It returns the endpoint that was sent to last.
func (b *Backend) send(r *http.Request) (*http.Response, Endpoint, error) {
	if b.patience == 0 {
		return b.try(r)
	}
	patience := time.NewTimer(b.patience)
	defer patience.Stop()
	for {
		changed := *b.changed.Load()
		response, last, err := b.try(r)
		if err == nil || !errors.Is(err, errNoEndpoints) && !errors.Is(err, errNotConnected) {
			return response, last, err
		}
		select {
		case <-changed:
		case <-time.After(reconnect):
		case <-patience.C:
			return nil, last, err
		case <-r.Context().Done():
			return nil, last, err
		}
	}
}

// try is send without the waiting.
func (b *Backend) try(r *http.Request) (*http.Response, Endpoint, error) {
	var last Endpoint
	refused := 0
	for range max(maxAttempts, len(*b.current.Load())) {
		endpoints := *b.current.Load()
		if len(endpoints) == 0 {
			return nil, last, errNoEndpoints
		}
		e := endpoints[b.turn.Add(1)%uint64(len(endpoints))]
		last = e.Endpoint
		response, again, err := e.send(r)
		switch {
		case err == nil:
			return response, last, nil
		case r.Context().Err() != nil:
			return nil, last, err
		case b.patience > 0 && errors.Is(err, errNotConnected):
			if refused++; refused >= len(endpoints) {
				return nil, last, err
			}
		case !again:
			return nil, last, err
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
