package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// serve starts a server for handler, of HTTP/1.1 and of HTTP/2 without TLS.
func serve(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// says is a backend that answers with its name.
func says(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) })
}

// echo answers with the body of the request while it reads it.
func echo(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 does so anyway
	_, _ = io.Copy(w, r.Body)
}

func endpointOf(t *testing.T, s *httptest.Server, pod string) Endpoint {
	t.Helper()
	return endpointAt(t, s.Listener.Addr().String(), pod)
}

func endpointAt(t *testing.T, address, pod string) Endpoint {
	t.Helper()
	addr, err := netip.ParseAddrPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return Endpoint{Address: addr, Pod: pod}
}

// closedPort returns an address that refuses connections.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// backend returns a backend whose endpoints are the given servers.
func backend(t *testing.T, servers ...*httptest.Server) *Backend {
	t.Helper()
	b := NewBackend(false)
	var list []Endpoint
	for _, s := range servers {
		list = append(list, endpointOf(t, s, s.Listener.Addr().String()))
	}
	b.Set(list)
	return b
}

// rule is a rule that sends everything to one backend.
func rule(b *Backend) *Rule {
	return &Rule{
		Kind: "HTTPRoute", Namespace: "ns", Route: "route", Name: "0",
		Backends: []WeightedBackend{{Service: "svc", Weight: 1, Backend: b}},
	}
}

// tableOf is a table that has one rule for every request.
func tableOf(r *Rule) *Table {
	return match.NewTable([]match.Entry[*Rule]{{Match: match.Match{Path: match.Prefix("/")}, Rule: r}})
}

// fixture is a proxy behind a real server.
type fixture struct {
	*Proxy
	registry *prometheus.Registry
	server   *httptest.Server
	client   *http.Client
}

func newFixture(t *testing.T, r *Rule) *fixture {
	t.Helper()
	registry := prometheus.NewRegistry()
	p := New(registry, "sandbox_gateway")
	if r != nil {
		p.SetTable(tableOf(r))
	}
	s := serve(t, p)
	return &fixture{Proxy: p, registry: registry, server: s, client: s.Client()}
}

// do sends a request and returns the code and the body of the answer.
func (f *fixture) do(t *testing.T, method, body string, header ...string) (int, string, *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.server.URL+"/path?q=1", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	response, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read below
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(data), response
}

func (f *fixture) get(t *testing.T) (int, string) {
	t.Helper()
	code, body, _ := f.do(t, http.MethodGet, "")
	return code, body
}

// metric returns the value of a counter whose labels include those given, as
// name, value pairs.
func (f *fixture) metric(t *testing.T, name string, labels ...string) float64 {
	t.Helper()
	families, err := f.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
	metrics:
		for _, m := range family.GetMetric() {
			have := map[string]string{}
			for _, l := range m.GetLabel() {
				have[l.GetName()] = l.GetValue()
			}
			for i := 0; i < len(labels); i += 2 {
				if have[labels[i]] != labels[i+1] {
					continue metrics
				}
			}
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// dialInstead makes connections to the only endpoint of b for that address by
// dial, which gets the usual way to do so.
func dialInstead(b *Backend, at Endpoint, dial func(usual func() (net.Conn, error)) (net.Conn, error)) {
	for _, e := range *b.current.Load() {
		if e.Endpoint != at {
			continue
		}
		usual := e.transport.DialContext
		e.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			return dial(func() (net.Conn, error) { return usual(ctx, network, address) })
		}
	}
}
