package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// counter is a backend that counts requests and connections.
type counter struct {
	*httptest.Server
	requests, connections atomic.Int64
}

func newCounter(t *testing.T, handler http.Handler) *counter {
	t.Helper()
	c := new(counter)
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.requests.Add(1)
		handler.ServeHTTP(w, r)
	}))
	c.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			c.connections.Add(1)
		}
	}
	c.Start()
	t.Cleanup(c.Close)
	return c
}

func TestEndpointsTakeTurnsAndConnectionsAreKept(t *testing.T) {
	a, b, c := newCounter(t, says("a")), newCounter(t, says("b")), newCounter(t, says("c"))
	f := newFixture(t, rule(backend(t, a.Server, b.Server, c.Server)))
	for range 30 {
		f.get(t)
	}
	got := []int64{a.requests.Load(), b.requests.Load(), c.requests.Load(), a.connections.Load(), b.connections.Load(), c.connections.Load()}
	if diff := cmp.Diff([]int64{10, 10, 10, 1, 1, 1}, got); diff != "" {
		t.Errorf("requests and connections of three endpoints (-want +got):\n%s", diff)
	}
}

func TestSetKeepsConnectionsOfEndpointsThatStay(t *testing.T) {
	a, b := newCounter(t, says("a")), newCounter(t, says("b"))
	set := backend(t, a.Server)
	f := newFixture(t, rule(set))
	f.get(t)
	one := endpointOf(t, a.Server, a.Listener.Addr().String())
	two := endpointOf(t, b.Server, "b")
	set.Set([]Endpoint{two, one, one})
	if diff := cmp.Diff([]Endpoint{two, one}, set.Endpoints(), cmp.Comparer(func(x, y Endpoint) bool { return x == y })); diff != "" {
		t.Errorf("endpoints, without the repeated one (-want +got):\n%s", diff)
	}
	for range 10 {
		f.get(t)
	}
	if n := a.connections.Load(); n != 1 {
		t.Errorf("%d connections to the endpoint that stayed, want 1", n)
	}
	set.Set(nil)
	if code, _ := f.get(t); code != http.StatusServiceUnavailable {
		t.Errorf("code %d without endpoints, want 503", code)
	}
}

// vanishing is a set of two endpoints of which the first is chosen and then
// removed while it is dialed; dial is what the dialing comes to.
func vanishing(t *testing.T, stays, goes *counter, dial func(usual func() (net.Conn, error)) (net.Conn, error)) *fixture {
	t.Helper()
	b := NewBackend(false)
	first, second := endpointOf(t, goes.Server, "goes"), endpointOf(t, stays.Server, "stays")
	b.Set([]Endpoint{second, first}) // the first turn is that of index 1
	dialInstead(b, first, func(usual func() (net.Conn, error)) (net.Conn, error) {
		b.Set([]Endpoint{second})
		return dial(usual)
	})
	return newFixture(t, rule(b))
}

func TestEndpointRemovedWhileDialed(t *testing.T) {
	refused := func(func() (net.Conn, error)) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	connected := func(usual func() (net.Conn, error)) (net.Conn, error) { return usual() }
	cases := map[string]struct {
		reason string
		method string
		body   string
		dial   func(func() (net.Conn, error)) (net.Conn, error)
	}{
		"Refused":         {reason: "it is gone already", method: http.MethodGet, dial: refused},
		"RefusedWithBody": {reason: "nothing of the body was read", method: http.MethodPost, body: "content", dial: refused},
		"Connected":       {reason: "it is there, but must not get a request any more", method: http.MethodGet, dial: connected},
		"ConnectedPost":   {reason: "without a body, a POST is as good as a GET", method: http.MethodPost, dial: connected},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			goes := newCounter(t, says("goes"))
			stays := newCounter(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				_, _ = fmt.Fprintf(w, "stays got %q", body)
			}))
			f := vanishing(t, stays, goes, tc.dial)
			code, body, _ := f.do(t, tc.method, tc.body)
			if want := fmt.Sprintf("stays got %q", tc.body); code != http.StatusOK || body != want {
				t.Errorf("%s: answer %d %q, want 200 %q", tc.reason, code, body, want)
			}
			if n := goes.requests.Load(); n != 0 {
				t.Errorf("%s: the removed endpoint got %d requests", tc.reason, n)
			}
			f.server.Close() // a request is counted when it has ended
			if n := f.metric(t, "sandbox_gateway_requests_total", "pod", "stays", "code", "200"); n != 1 {
				t.Errorf("%s: %v requests counted for the endpoint that answered, want 1", tc.reason, n)
			}
		})
	}
}

func TestNothingIsSentTwice(t *testing.T) {
	// A backend that serves the first request of a connection and breaks the
	// connection at the second, once it has read it. net/http, left alone,
	// would repeat a GET on a connection used before.
	breaks := func(t *testing.T) *counter {
		seen := map[string]bool{}
		var mu sync.Mutex
		return newCounter(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			again := seen[r.RemoteAddr]
			seen[r.RemoteAddr] = true
			mu.Unlock()
			if again {
				panic(http.ErrAbortHandler)
			}
			_, _ = io.WriteString(w, "ok")
		}))
	}
	for name, header := range map[string][]string{"Plain": nil, "Idempotent": {"Idempotency-Key", "1"}} {
		t.Run(name, func(t *testing.T) {
			s := breaks(t)
			other := newCounter(t, says("other"))
			b := backend(t, s.Server)
			f := newFixture(t, rule(b))
			if code, _, _ := f.do(t, http.MethodGet, "", header...); code != http.StatusOK {
				t.Fatalf("first request: code %d", code)
			}
			code, _, _ := f.do(t, http.MethodGet, "", header...)
			if code != http.StatusBadGateway || s.requests.Load() != 2 || other.requests.Load() != 0 {
				t.Errorf("second request: code %d after %d requests, want 502 after 2", code, s.requests.Load())
			}
		})
	}
}

func TestFailureAfterSendingIsNotRetriedElsewhere(t *testing.T) {
	other := newCounter(t, says("other"))
	b := NewBackend(false)
	second := endpointOf(t, other.Server, "other")
	s := newCounter(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		b.Set([]Endpoint{second}) // removed while it serves
		panic(http.ErrAbortHandler)
	}))
	b.Set([]Endpoint{second, endpointOf(t, s.Server, "breaks")})
	f := newFixture(t, rule(b))
	if code, _ := f.get(t); code != http.StatusBadGateway {
		t.Errorf("code %d, want 502", code)
	}
	if n := other.requests.Load(); n != 0 {
		t.Errorf("the request was sent again: %d times", n)
	}
}

func TestRefusedByAnEndpointThatIsNotRemoved(t *testing.T) {
	other := newCounter(t, says("other"))
	b := NewBackend(false)
	b.Set([]Endpoint{endpointOf(t, other.Server, "other"), endpointAt(t, closedPort(t), "down")})
	f := newFixture(t, rule(b))
	if code, _ := f.get(t); code != http.StatusBadGateway {
		t.Errorf("code %d, want 502: a pod that is down is not hidden", code)
	}
}

// rolling is the test of endpoints that come and go under load.
type rolling struct {
	t   *testing.T
	f   *fixture
	set *Backend
	// epoch is the number of removals so far; every request says in which
	// epoch it was made.
	epoch atomic.Int64
	// late counts requests that reached a pod removed before they were made.
	late    atomic.Int64
	current []Endpoint
	callers []caller
	ended   chan struct{} // gets a value, if there is room, when a request ends
}

// caller makes one request after the other.
type caller struct {
	body     string
	under    atomic.Int64 // the epoch of the request under way
	requests atomic.Int64
}

// idle is the epoch of a caller without a request.
const idle = 1 << 60

// pod is a backend with the epoch from which on it is removed.
type pod struct {
	*httptest.Server
	removed atomic.Int64
	name    string
}

func (r *rolling) start(n int) *pod {
	p := &pod{name: "pod" + strconv.Itoa(n)}
	p.removed.Store(idle)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		made, err := strconv.ParseInt(q.Header.Get("X-Epoch"), 10, 64)
		if err != nil || made >= p.removed.Load() {
			r.late.Add(1)
		}
		_, _ = io.Copy(io.Discard, q.Body)
		_, _ = io.WriteString(w, p.name)
	}))
	return p
}

// replace adds one pod, removes another and takes it down as soon as the
// requests made before have ended, as a rollout with a drain does.
func (r *rolling) replace(ctx context.Context, old, next *pod) {
	r.current = append(r.current, endpointOf(r.t, next.Server, next.name))
	r.set.Set(r.current)
	r.current = r.current[1:]
	r.set.Set(r.current)
	epoch := r.epoch.Add(1)
	old.removed.Store(epoch)
	r.wait(ctx, func(c *caller) bool { return c.under.Load() >= epoch })
	old.CloseClientConnections()
	old.Close()
}

// wait waits until every caller satisfies done.
func (r *rolling) wait(ctx context.Context, done func(c *caller) bool) {
	for i := range r.callers {
		for !done(&r.callers[i]) {
			select {
			case <-r.ended:
			case <-ctx.Done():
				return
			}
		}
	}
}

// ask makes one request.
func (r *rolling) ask(ctx context.Context, c *caller) error {
	// The epoch must be known before it is read again for the header, so that
	// a removal in between waits for this request.
	c.under.Store(r.epoch.Load())
	defer func() {
		c.under.Store(idle)
		c.requests.Add(1)
		select {
		case r.ended <- struct{}{}:
		default:
		}
	}()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, r.f.server.URL, strings.NewReader(c.body))
	if err != nil {
		return fmt.Errorf("cannot make a request: %w", err)
	}
	if c.body == "" {
		q.Method, q.Body = http.MethodGet, nil
	}
	q.Header.Set("X-Epoch", strconv.FormatInt(r.epoch.Load(), 10))
	answer, err := r.f.client.Do(q)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is read here
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("code %d: %s", answer.StatusCode, text)
	}
	return err
}

func TestEndpointsComeAndGoUnderLoad(t *testing.T) {
	r := &rolling{t: t, set: NewBackend(false), callers: make([]caller, 8), ended: make(chan struct{}, 1)}
	r.f = newFixture(t, rule(r.set))
	pods := []*pod{r.start(0), r.start(1), r.start(2)}
	for _, p := range pods {
		r.current = append(r.current, endpointOf(t, p.Server, p.name))
	}
	r.set.Set(r.current)

	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i := range r.callers {
		c := &r.callers[i]
		c.body = strings.Repeat("x", i%2*100)
		c.under.Store(idle)
		running.Go(func() {
			for ctx.Err() == nil {
				// A request that has begun is not given up at the end.
				if err := r.ask(context.WithoutCancel(ctx), c); err != nil {
					t.Errorf("a request failed: %v", err)
					stop()
				}
			}
		})
	}
	const rounds = 150
	for n := 0; n < rounds && ctx.Err() == nil; n++ {
		next := r.start(n + 3)
		pods = append(pods, next)
		seen := make(map[*caller]int64)
		for i := range r.callers {
			seen[&r.callers[i]] = r.callers[i].requests.Load()
		}
		r.replace(ctx, pods[n], next)
		// Each round is to meet load from every caller.
		r.wait(ctx, func(c *caller) bool { return c.requests.Load() > seen[c] })
	}
	stop()
	running.Wait()
	for _, p := range pods {
		p.Close()
	}
	if n := r.late.Load(); n != 0 {
		t.Errorf("%d requests reached a pod that had been removed before they were made", n)
	}
}
