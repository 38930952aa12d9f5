package proxy

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswersOfTheGatewaysOwn(t *testing.T) {
	stuck := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	refused := NewBackend(false)
	refused.Set([]Endpoint{endpointAt(t, closedPort(t), "p")})
	slow := rule(backend(t, serve(t, stuck)))
	slow.Timeout = 50 * time.Millisecond
	none := rule(NewBackend(false))
	none.Backends[0].Weight = 0

	cases := map[string]struct {
		reason string
		rule   *Rule
		code   int
		status string
	}{
		"NoRoute":     {reason: "no rule matches", code: 404, status: "12"},
		"NoBackends":  {reason: "a rule without backends", rule: &Rule{Route: "route"}, code: 500, status: "14"},
		"NoWeight":    {reason: "all weights are 0", rule: none, code: 500, status: "14"},
		"Invalid":     {reason: "a reference that is not valid", rule: rule(nil), code: 500, status: "14"},
		"NoEndpoints": {reason: "a backend without endpoints", rule: rule(NewBackend(false)), code: 503, status: "14"},
		"Refused":     {reason: "an endpoint that is down", rule: rule(refused), code: 502, status: "14"},
		"Timeout":     {reason: "the timeout of the rule", rule: slow, code: 504, status: "4"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, tc.rule)
			if code, body := f.get(t); code != tc.code {
				t.Errorf("%s: code %d, want %d: %s", tc.reason, code, tc.code, body)
			}
			code, _, response := f.do(t, http.MethodPost, "", "Content-Type", "application/grpc")
			if got := response.Header.Get("Grpc-Status"); code != http.StatusOK || got != tc.status {
				t.Errorf("%s: a gRPC caller got code %d and status %q, want 200 and %q", tc.reason, code, got, tc.status)
			}
			f.server.Close() // a request is counted when it has ended
			if n := f.metric(t, "sandbox_gateway_requests_total", "code", fmt.Sprint(tc.code)); n != 2 {
				t.Errorf("%s: %v requests counted with code %d, want 2", tc.reason, n, tc.code)
			}
			if n := f.metric(t, "sandbox_gateway_grpc_calls_total", "status", tc.status); n != 1 {
				t.Errorf("%s: %v gRPC calls counted with status %s, want 1", tc.reason, n, tc.status)
			}
		})
	}
}

// near reports whether k of n is what probability p gives, within six standard
// deviations.
func near(k, n int, p float64) bool {
	return math.Abs(float64(k)-p*float64(n)) <= 6*math.Sqrt(float64(n)*p*(1-p))
}

func TestPickFollowsTheWeights(t *testing.T) {
	const n = 100_000
	cases := map[string]struct {
		reason  string
		weights []int64
		want    []float64
	}{
		"Percent":  {reason: "weights that sum to 100", weights: []int64{90, 10}, want: []float64{.9, .1}},
		"Any":      {reason: "weights of any sum", weights: []int64{1, 2, 1}, want: []float64{.25, .5, .25}},
		"Zero":     {reason: "no request for weight 0", weights: []int64{0, 1, 0}, want: []float64{0, 1, 0}},
		"Fine":     {reason: "one in a thousand", weights: []int64{999, 1}, want: []float64{.999, .001}},
		"Greatest": {reason: "the greatest weights allowed", weights: []int64{1_000_000, 1_000_000}, want: []float64{.5, .5}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &Rule{}
			for i, w := range tc.weights {
				r.Backends = append(r.Backends, WeightedBackend{Service: fmt.Sprint(i), Weight: w})
			}
			got := map[string]int{}
			for range n {
				b, ok := r.pick()
				if !ok {
					t.Fatal("no backend picked")
				}
				got[b.Service]++
			}
			for i, p := range tc.want {
				if k := got[fmt.Sprint(i)]; !near(k, n, p) {
					t.Errorf("%s: backend %d of %v got %d of %d", tc.reason, i, tc.weights, k, n)
				}
			}
		})
	}
}

func TestWeightsOverHTTP(t *testing.T) {
	// The share of a reference that is not valid is answered with 500, and not
	// given to the others.
	r := &Rule{Backends: []WeightedBackend{
		{Service: "stable", Weight: 70, Backend: backend(t, serve(t, says("stable")))},
		{Service: "canary", Weight: 20, Backend: backend(t, serve(t, says("canary")))},
		{Service: "missing", Weight: 10},
	}}
	f := newFixture(t, r)
	const n = 3000
	got := map[string]int{}
	for range n {
		code, body := f.get(t)
		if code == http.StatusInternalServerError {
			body = "missing"
		}
		got[body]++
	}
	f.server.Close() // a request is counted when it has ended
	for body, p := range map[string]float64{"stable": .7, "canary": .2, "missing": .1} {
		if !near(got[body], n, p) {
			t.Errorf("%s got %d of %d, want about %.0f", body, got[body], n, p*n)
		}
		if counted := f.metric(t, "sandbox_gateway_requests_total", "service", body); int(counted) != got[body] {
			t.Errorf("the metrics count %v for %s, the caller %d", counted, body, got[body])
		}
	}
}

func TestRequestReachesTheBackendAsItWas(t *testing.T) {
	type seen struct {
		Method, URI, Host, Body string
		Header                  http.Header
	}
	got := make(chan seen, 1)
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Del("User-Agent")
		r.Header.Del("Accept-Encoding")
		r.Header.Del("Content-Length")
		got <- seen{r.Method, r.RequestURI, r.Host, string(body), r.Header}
		w.Header()["X-Answer"] = []string{"a", "b"}
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	}))
	r := rule(backend(t, s))
	r.RequestHeaders = HeaderChange{
		Set: http.Header{"X-Set": {"rule"}, "X-Both": {"rule"}}, Add: http.Header{"X-Add": {"rule"}}, Remove: []string{"X-Secret"},
	}
	r.Backends[0].RequestHeaders = HeaderChange{Set: http.Header{"X-Both": {"backend"}}}
	r.ResponseHeaders = HeaderChange{Add: http.Header{"X-Answer": {"c"}}}
	r.Backends[0].ResponseHeaders = HeaderChange{Set: http.Header{"Set-Cookie": {"canary=1"}}}
	f := newFixture(t, r)

	request := httptest.NewRequest(http.MethodPost, "http://shop.test/a%2Fb/c;d?x=1;y&z=%20", strings.NewReader("content"))
	request.Header = http.Header{
		"X-Set": {"caller"}, "X-Add": {"caller"}, "X-Secret": {"s"}, "Connection": {"X-Hop"}, "X-Hop": {"h"},
		"X-Forwarded-For": {"10.1.1.1"},
	}
	request.RemoteAddr = "10.2.2.2:1234"
	w := httptest.NewRecorder()
	f.ServeHTTP(w, request)

	want := seen{
		Method: http.MethodPost, URI: "/a%2Fb/c;d?x=1;y&z=%20", Host: "shop.test", Body: "content",
		Header: http.Header{
			"X-Set": {"rule"}, "X-Both": {"backend"}, "X-Add": {"caller", "rule"},
			"X-Forwarded-For": {"10.1.1.1, 10.2.2.2"}, "X-Forwarded-Host": {"shop.test"}, "X-Forwarded-Proto": {"http"},
		},
	}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("request at the backend (-want +got):\n%s", diff)
	}
	if w.Code != http.StatusTeapot || w.Body.String() != "short and stout" {
		t.Errorf("answer %d %q", w.Code, w.Body)
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, w.Header()["X-Answer"]); diff != "" {
		t.Errorf("header of the answer (-want +got):\n%s", diff)
	}
	if got := w.Header().Get("Set-Cookie"); got != "canary=1" {
		t.Errorf("cookie %q, want that of the backend", got)
	}
}

func TestAnswerMayComeWhileTheRequestIsSent(t *testing.T) {
	f := newFixture(t, rule(backend(t, serve(t, http.HandlerFunc(echo)))))
	// A rest of less than 256 KiB is what net/http would take away.
	sent := strings.Repeat("0123456789", 20_000)
	for range 20 {
		if code, got, _ := f.do(t, http.MethodPost, sent); code != http.StatusOK || got != sent {
			t.Fatalf("code %d and %d bytes, want 200 and the %d bytes that were sent", code, len(got), len(sent))
		}
	}
}

func TestTableIsInForceAtOnce(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	old := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "old")
	}))
	f := newFixture(t, rule(backend(t, old)))
	under := make(chan string)
	go func() {
		r, err := http.Get(f.server.URL)
		if err != nil {
			under <- err.Error()
			return
		}
		defer r.Body.Close() //nolint:errcheck // it is read here
		body, _ := io.ReadAll(r.Body)
		under <- string(body)
	}()
	<-arrived
	f.SetTable(tableOf(rule(backend(t, serve(t, says("new"))))))
	for range 20 {
		if code, body := f.get(t); code != http.StatusOK || body != "new" {
			t.Fatalf("after SetTable: %d %q, want the new rule", code, body)
		}
	}
	close(release)
	if got := <-under; got != "old" {
		t.Errorf("a request under way got %q, want it to end as it began", got)
	}
}

func TestCallerThatGoesAwayIsCounted(t *testing.T) {
	gone := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		close(gone)
	}))
	f := newFixture(t, rule(backend(t, s)))
	f.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
	<-gone // the backend learns of it
	if n := f.metric(t, "sandbox_gateway_requests_total", "code", "499"); n != 1 {
		t.Errorf("%v requests counted with code 499, want 1", n)
	}
}

func TestAnswerCutShortIsCutShortForTheCaller(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	f := newFixture(t, rule(backend(t, s)))
	response, err := f.client.Get(f.server.URL)
	if err == nil {
		defer response.Body.Close() //nolint:errcheck // it is read here
		_, err = io.ReadAll(response.Body)
	}
	if err == nil {
		t.Error("the caller got a whole answer of half an answer")
	}
	// The server ends the request after the caller has seen the cut.
	f.server.Close()
	if n := f.metric(t, "sandbox_gateway_requests_total", "code", "0"); n != 1 {
		t.Errorf("%v requests counted with code 0, want 1", n)
	}
}

func TestGRPCOverHTTP2(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		message, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Te", r.Header.Get("Te"))
		_, _ = w.Write(message)
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "5")
	}))
	b := NewBackend(true)
	b.Set([]Endpoint{endpointOf(t, s, "p")})
	f := newFixture(t, rule(b))
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	f.client = &http.Client{Transport: &http.Transport{Protocols: protocols}}
	defer f.client.CloseIdleConnections()

	message := "\x00\x00\x00\x00\x02hi"
	code, body, response := f.do(t, http.MethodPost, message, "Content-Type", "application/grpc", "Te", "trailers")
	if code != http.StatusOK || body != message {
		t.Errorf("answer %d %q, want the message back", code, body)
	}
	want := []string{"HTTP/2.0", "HTTP/2.0", "trailers", "5"}
	got := []string{response.Proto, response.Header.Get("X-Proto"), response.Header.Get("X-Te"), response.Trailer.Get("Grpc-Status")}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("protocol to the caller, to the backend, TE, status (-want +got):\n%s", diff)
	}
	f.server.Close() // a call is counted when it has ended
	if n := f.metric(t, "sandbox_gateway_grpc_calls_total", "status", "5", "pod", "p"); n != 1 {
		t.Errorf("%v gRPC calls counted with status 5, want 1", n)
	}
}

func TestUpgradedConnectionsArePassedOn(t *testing.T) {
	s := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", r.Header.Get("Upgrade"))
		w.WriteHeader(http.StatusSwitchingProtocols)
		conn, in, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close() //nolint:errcheck // the test is over
		line, _ := in.ReadString('\n')
		_, _ = io.WriteString(conn, "heard "+line)
	}))
	f := newFixture(t, rule(backend(t, s)))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "lines")
	response, err := f.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read here
	both, ok := response.Body.(io.ReadWriter)
	if response.StatusCode != http.StatusSwitchingProtocols || !ok {
		t.Fatalf("code %d, want 101 and a connection", response.StatusCode)
	}
	if _, err := io.WriteString(both, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(both); string(got) != "heard hello\n" {
		t.Errorf("the connection answered %q, %v", got, err)
	}
}
