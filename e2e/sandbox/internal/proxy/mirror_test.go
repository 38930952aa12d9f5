package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// copyOf is what a mirror got.
type copyOf struct{ Method, URI, Host, Body, Tag string }

// collector is a mirror that hands over what it gets.
func collector(size int) (http.Handler, chan copyOf) {
	got := make(chan copyOf, size)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- copyOf{r.Method, r.RequestURI, r.Host, string(body), r.Header.Get("X-Tag")}
		w.WriteHeader(http.StatusInternalServerError) // nobody is to see this
	}), got
}

// mirrored is a rule with one backend that echoes and one mirror.
func mirrored(t *testing.T, mirror *Backend, of, in int64) *Rule {
	t.Helper()
	r := rule(backend(t, serve(t, http.HandlerFunc(echo))))
	r.RequestHeaders = HeaderChange{Set: http.Header{"X-Tag": {"rule"}}}
	r.Mirrors = []Mirror{{Service: "shadow", Backend: mirror, Numerator: of, Denominator: in}}
	return r
}

// await waits until the metrics count n copies with the code.
func (f *fixture) await(t *testing.T, code string, n float64) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for tick := time.Tick(5 * time.Millisecond); ; {
		got := f.metric(t, "sandbox_gateway_mirrored_requests_total", "code", code)
		if got == n {
			return
		}
		select {
		case <-tick:
		case <-deadline:
			t.Fatalf("%v copies counted with code %s, want %v", got, code, n)
		}
	}
}

func TestMirrorGetsWhatTheBackendGets(t *testing.T) {
	cases := map[string]struct{ reason, method, body string }{
		"Get":  {reason: "a request without a body", method: http.MethodGet},
		"Post": {reason: "a request with one", method: http.MethodPost, body: "content"},
		"Long": {reason: "the longest body that is copied", method: http.MethodPost, body: strings.Repeat("x", maxMirrorBody)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			handler, got := collector(1)
			f := newFixture(t, mirrored(t, backend(t, serve(t, handler)), 1, 1))
			code, body, _ := f.do(t, tc.method, tc.body)
			if code != http.StatusOK || body != tc.body {
				t.Errorf("%s: the caller got %d and %d bytes, want the backend's answer", tc.reason, code, len(body))
			}
			host := strings.TrimPrefix(f.server.URL, "http://")
			want := copyOf{Method: tc.method, URI: "/path?q=1", Host: host, Body: tc.body, Tag: "rule"}
			if diff := cmp.Diff(want, <-got); diff != "" {
				t.Errorf("%s: copy (-want +got):\n%s", tc.reason, diff)
			}
			f.await(t, "500", 1)
			f.server.Close() // a request is counted when it has ended
			if n := f.metric(t, "sandbox_gateway_requests_total"); n != 1 {
				t.Errorf("%s: %v requests counted, want 1: a copy is none", tc.reason, n)
			}
		})
	}
}

func TestMirrorShare(t *testing.T) {
	const n = 2000
	handler, got := collector(n)
	f := newFixture(t, mirrored(t, backend(t, serve(t, handler)), 3, 10))
	for range n {
		f.get(t)
	}
	// Every place for a copy is free once all copies have ended.
	for range maxMirrors {
		f.mirrors <- struct{}{}
	}
	if k := len(got); !near(k, n, 0.3) {
		t.Errorf("%d of %d requests were copied, want about 600", k, n)
	}
	if k := f.metric(t, "sandbox_gateway_mirrored_requests_total", "code", "500"); int(k) != len(got) {
		t.Errorf("%v copies counted, the mirror got %d", k, len(got))
	}
}

// hanging is a server that answers nothing until the end of the test.
func hanging(t *testing.T) *httptest.Server {
	t.Helper()
	stuck := make(chan struct{})
	s := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck }))
	t.Cleanup(func() { close(stuck) }) // before the server is closed, which waits for it
	return s
}

func TestMirrorNeverTouchesTheRequest(t *testing.T) {
	down := NewBackend(false)
	down.Set([]Endpoint{endpointAt(t, closedPort(t), "down")})
	hangs := hanging(t)
	handler, _ := collector(1)
	cases := map[string]struct {
		reason string
		mirror *Backend
		body   string
		code   string // that the copy is counted with; empty: it is not
	}{
		"Invalid":     {reason: "a reference that is not valid is dropped"},
		"NoEndpoints": {reason: "a mirror without endpoints", mirror: NewBackend(false), code: "error"},
		"Down":        {reason: "a mirror that is down", mirror: down, code: "error"},
		"Hangs":       {reason: "a mirror that does not answer", mirror: backend(t, hangs)},
		"TooLong": {
			reason: "a body too long to copy", mirror: backend(t, serve(t, handler)),
			body: strings.Repeat("x", maxMirrorBody+1), code: "dropped",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, mirrored(t, tc.mirror, 1, 1))
			if code, body, _ := f.do(t, http.MethodPost, tc.body+"."); code != http.StatusOK || body != tc.body+"." {
				t.Errorf("%s: the caller got %d and %d bytes", tc.reason, code, len(body))
			}
			if tc.code != "" {
				f.await(t, tc.code, 1)
			}
		})
	}
}

func TestMirrorsAreBounded(t *testing.T) {
	hangs := hanging(t)
	f := newFixture(t, mirrored(t, backend(t, hangs), 1, 1))
	for range maxMirrors + 5 {
		if code, _ := f.get(t); code != http.StatusOK {
			t.Fatalf("code %d", code)
		}
	}
	if n := f.metric(t, "sandbox_gateway_mirrored_requests_total", "code", "dropped"); n != 5 {
		t.Errorf("%v copies dropped, want 5", n)
	}
}
