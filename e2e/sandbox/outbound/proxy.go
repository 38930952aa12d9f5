package outbound

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// Patience is how long a request waits for somewhere to go. It is the time after
// which Linkerd's balancer fails fast.
const Patience = 3 * time.Second

// Source tells where requests go; a destination.Client does. Its methods call
// update, one call after the other, until ctx ends.
type Source interface {
	FollowTargets(ctx context.Context, authority string, update func([]destination.Target))
	FollowEndpoints(ctx context.Context, authority string, update func([]destination.Endpoint))
}

// Proxy sends requests where a Source says. It is safe for concurrent use.
type Proxy struct {
	data     *proxy.Proxy
	source   Source
	patience time.Duration
	// ctx ends what is followed. Requests come and go, and what they made the
	// proxy follow stays, so it cannot be theirs.
	ctx context.Context

	mu        sync.Mutex
	logicals  map[string]*logical
	concretes map[string]*concrete
}

// New returns a proxy that follows source until ctx ends. Its metrics are
// registered with registry.
func New(ctx context.Context, source Source, registry prometheus.Registerer) *Proxy {
	data := proxy.New(registry, "sandbox_outbound")
	data.Answered = newResponses(registry).count
	return &Proxy{
		data: data, source: source, patience: Patience, ctx: ctx,
		logicals: map[string]*logical{}, concretes: map[string]*concrete{},
	}
}

// logical is an authority that callers name.
type logical struct {
	authority string
	rules     atomic.Pointer[rules]
	ready     chan struct{} // closed when there are rules
}

// rules say where requests go, by the protocol they come in.
type rules struct{ http1, http2 *proxy.Rule }

// of returns the rule for a request.
func (s *rules) of(r *http.Request) *proxy.Rule {
	if r.ProtoMajor == 2 {
		return s.http2
	}
	return s.http1
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authority, ok := canonical(r.Host)
	if !ok {
		p.data.Serve(w, r, nil)
		return
	}
	l := p.logical(authority)
	if l.rules.Load() == nil {
		ctx, stop := context.WithTimeout(r.Context(), p.patience)
		defer stop()
		await(ctx, l.ready)
	}
	if current := l.rules.Load(); current != nil {
		p.data.Serve(w, r, current.of(r))
		return
	}
	// Nobody has said where the request is to go.
	p.data.Serve(w, r, newRule(authority, []proxy.WeightedBackend{{Service: authority, Weight: 1, Backend: proxy.NewBackend(false)}}))
}

// await waits until a channel is closed or ctx ends.
func await(ctx context.Context, heard <-chan struct{}) {
	select {
	case <-heard:
	case <-ctx.Done():
	}
}

// logical returns what is known of an authority that callers name, and begins
// to follow it.
func (p *Proxy) logical(authority string) *logical {
	p.mu.Lock()
	defer p.mu.Unlock()
	l, ok := p.logicals[authority]
	if !ok {
		l = &logical{authority: authority, ready: make(chan struct{})}
		p.logicals[authority] = l
		go p.source.FollowTargets(p.ctx, authority, func(targets []destination.Target) { p.adopt(l, targets) })
	}
	return l
}

// adopt puts new targets in force, once it is known where their endpoints are:
// until then, requests go where they went.
func (p *Proxy) adopt(l *logical, targets []destination.Target) {
	var http1, http2 []proxy.WeightedBackend
	var all []*concrete
	for _, s := range shares(l.authority, targets) {
		c := p.concrete(s.authority)
		all = append(all, c)
		http1 = append(http1, proxy.WeightedBackend{Service: s.authority, Weight: s.weight, Backend: c.http1})
		http2 = append(http2, proxy.WeightedBackend{Service: s.authority, Weight: s.weight, Backend: c.http2})
	}
	ctx, stop := context.WithTimeout(p.ctx, p.patience)
	defer stop()
	for _, c := range all {
		await(ctx, c.heard)
	}
	first := l.rules.Swap(&rules{http1: newRule(l.authority, http1), http2: newRule(l.authority, http2)}) == nil
	if first {
		close(l.ready)
	}
}

func newRule(authority string, backends []proxy.WeightedBackend) *proxy.Rule {
	namespace, name := profileOf(authority)
	return &proxy.Rule{Kind: "ServiceProfile", Namespace: namespace, Route: name, Name: "dstOverrides", Backends: backends}
}

// Describe tells what is in force for each authority that callers have named.
func (p *Proxy) Describe() []proxy.Description {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := []proxy.Description{}
	for _, authority := range slices.Sorted(maps.Keys(p.logicals)) {
		if r := p.logicals[authority].rules.Load(); r != nil {
			list = append(list, r.http1.Describe(authority))
		}
	}
	return list
}

// concrete is an authority that requests are sent to.
type concrete struct {
	http1, http2 *proxy.Backend
	heard        chan struct{} // closed when its endpoints are known
	once         sync.Once
}

// concrete returns what is known of an authority that requests are sent to, and
// begins to follow it.
func (p *Proxy) concrete(authority string) *concrete {
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.concretes[authority]
	if !ok {
		c = &concrete{
			http1: proxy.NewPatientBackend(false, p.patience), http2: proxy.NewPatientBackend(true, p.patience),
			heard: make(chan struct{}),
		}
		p.concretes[authority] = c
		go p.source.FollowEndpoints(p.ctx, authority, c.set)
	}
	return c
}

// set puts new endpoints in force.
func (c *concrete) set(endpoints []destination.Endpoint) {
	var list []proxy.Endpoint
	for _, e := range endpoints {
		list = append(list, proxy.Endpoint{Address: e.Address, Pod: e.Pod})
	}
	c.http1.Set(list)
	c.http2.Set(list)
	c.once.Do(func() { close(c.heard) })
}
