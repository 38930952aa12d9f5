package outbound

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

const (
	web    = "web.shop.svc.cluster.local:80"
	stable = "stable.shop.svc.cluster.local:80"
	canary = "canary.shop.svc.cluster.local:80"
)

// source says what a test sets, and is silent until then.
type source struct {
	mu        sync.Mutex
	targets   map[string]chan []destination.Target
	endpoints map[string]chan []destination.Endpoint
}

func newSource() *source {
	return &source{targets: map[string]chan []destination.Target{}, endpoints: map[string]chan []destination.Endpoint{}}
}

// channel returns the channel of an authority. Its next message replaces one
// that nobody has taken yet.
func channel[M any](s *source, of map[string]chan M, authority string) chan M {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of[authority] == nil {
		of[authority] = make(chan M, 1)
	}
	return of[authority]
}

func follow[M any](ctx context.Context, messages <-chan M, update func(M)) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-messages:
			update(m)
		}
	}
}

func (s *source) FollowTargets(ctx context.Context, authority string, update func([]destination.Target)) {
	follow(ctx, channel(s, s.targets, authority), update)
}

func (s *source) FollowEndpoints(ctx context.Context, authority string, update func([]destination.Endpoint)) {
	follow(ctx, channel(s, s.endpoints, authority), update)
}

// split says the weights of the stable and the canary Service.
func (s *source) split(stableWeight, canaryWeight uint32) {
	channel(s, s.targets, web) <- []destination.Target{{Authority: stable, Weight: stableWeight}, {Authority: canary, Weight: canaryWeight}}
}

// locate says where the endpoints of an authority are.
func (s *source) locate(authority string, servers ...*httptest.Server) {
	var list []destination.Endpoint
	for _, server := range servers {
		list = append(list, destination.Endpoint{Address: netip.MustParseAddrPort(server.Listener.Addr().String())})
	}
	channel(s, s.endpoints, authority) <- list
}

// serveHTTP starts a server of HTTP/1.1 and of HTTP/2 without TLS.
func serveHTTP(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// says is a server that answers with its name and what it was asked.
func says(t *testing.T, name string) *httptest.Server {
	return serveHTTP(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, name+" "+r.Proto+" "+r.Host)
	}))
}

// rig is a proxy with a source that the test speaks for.
type rig struct {
	*source
	url      string
	registry *prometheus.Registry
}

func newRig(t *testing.T, patience time.Duration) *rig {
	t.Helper()
	s := newSource()
	registry := prometheus.NewRegistry()
	p := New(t.Context(), s, registry)
	p.patience = patience
	return &rig{source: s, url: serveHTTP(t, p).URL, registry: registry}
}

// ask sends a request for an authority and returns the code and body of the
// answer.
func (r *rig) ask(t *testing.T, authority string, h2 bool) (int, string) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	q.Host = authority
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2)
	protocols.SetUnencryptedHTTP2(h2)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(q)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close() //nolint:errcheck // it has been read
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

type answer struct {
	Code int
	Body string
}

func TestRequestsGoWhereTheSourceSays(t *testing.T) {
	r := newRig(t, time.Minute)
	r.locate(web, says(t, "web"))
	r.locate(stable, says(t, "stable"))
	r.locate(canary, says(t, "canary"))
	channel(r.source, r.targets, web) <- nil // no profile
	steps := []struct {
		reason    string
		authority string
		h2        bool
		want      answer
	}{
		{"without a profile, the authority itself", web, false, answer{200, "web HTTP/1.1 " + web}},
		{"HTTP/2 stays what it is", web, true, answer{200, "web HTTP/2.0 " + web}},
		{"without a port it is 80", "web.shop.svc.cluster.local", false, answer{200, "web HTTP/1.1 web.shop.svc.cluster.local"}},
		{"it is a proxy for Services", "example.com", false, answer{404, "no route matches this request\n"}},
	}
	for _, s := range steps {
		code, body := r.ask(t, s.authority, s.h2)
		if diff := cmp.Diff(s.want, answer{code, body}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", s.reason, diff)
		}
	}
}

func TestSharesFollowTheWeights(t *testing.T) {
	r := newRig(t, time.Minute)
	r.locate(stable, says(t, "stable"))
	r.locate(canary, says(t, "canary"))
	r.split(7000, 3000)
	const of = 1000
	got := 0
	for range of {
		if _, body := r.ask(t, web, false); body == "canary HTTP/1.1 "+web {
			got++
		}
	}
	low, high := load.ShareBounds(0.3, of, 5)
	if share := float64(got) / of; !(low <= share && share <= high) {
		t.Errorf("share of the canary %v, want %v to %v", share, low, high)
	}
}

// Until the endpoints of a new target are known, requests go where they went.
func TestNewTargetsWaitForTheirEndpoints(t *testing.T) {
	r := newRig(t, time.Minute)
	r.locate(stable, says(t, "stable"))
	r.split(10000, 0)
	r.ask(t, web, false)
	r.split(0, 10000)
	for range 20 {
		if code, body := r.ask(t, web, false); code != http.StatusOK || body != "stable HTTP/1.1 "+web {
			t.Fatalf("answer %d %q while nothing is known of the canary, want that of the stable one", code, body)
		}
	}
	r.locate(canary, says(t, "canary"))
	for {
		code, body := r.ask(t, web, false)
		if code != http.StatusOK {
			t.Fatalf("answer %d %q", code, body)
		}
		if body == "canary HTTP/1.1 "+web {
			return
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	cases := map[string]struct {
		reason string
		say    func(r *rig)
	}{
		"NoProfile":   {"the source is silent", func(*rig) {}},
		"Unknown":     {"nothing is known of the endpoints", func(r *rig) { r.split(10000, 0) }},
		"NoEndpoints": {"there are none", func(r *rig) { r.locate(stable); r.split(10000, 0) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 50*time.Millisecond)
			tc.say(r)
			if code, body := r.ask(t, web, false); code != http.StatusServiceUnavailable {
				t.Errorf("%s: answer %d %q, want 503", tc.reason, code, body)
			}
		})
	}
}
