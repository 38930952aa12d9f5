package envoy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestActive(t *testing.T) {
	cases := map[string]struct {
		reason string
		code   int
		stats  string
		want   int
		fails  bool
	}{
		"Several": {"the requests of all listeners count", 200, "http.http-80.downstream_rq_active: 2\nhttp.http-81.downstream_rq_active: 3\n", 5, false},
		"None":    {"no listener has a request yet", 200, "", 0, false},
		"Garbage": {"what cannot be read is not 0", 200, "upgrade required", 0, true},
		"Error":   {"an error is not 0", 500, "", 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.code)
				_, _ = io.WriteString(w, tc.stats)
			}))
			defer server.Close()
			got, err := (&proxy{admin: server.URL, http: server.Client()}).active(t.Context())
			if diff := cmp.Diff(tc.want, got); diff != "" || (err != nil) != tc.fails {
				t.Errorf("%s: error %v (-want +got):\n%s", tc.reason, err, diff)
			}
		})
	}
}

// The drain waits for the requests that are left, and for nothing else.
func TestDrain(t *testing.T) {
	var calls []string
	left := []string{"2", "1", "0"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls = append(calls, r.Method+" "+r.URL.Path)
		if r.URL.Path == "/stats" {
			_, _ = io.WriteString(w, "http.http-80.downstream_rq_active: "+left[0]+"\n")
			left = left[1:]
		}
	}))
	defer server.Close()
	p := &proxy{admin: server.URL, http: server.Client(), ended: make(chan struct{})}
	if err := p.drain(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	want := []string{"POST /drain_listeners", "GET /stats", "GET /stats", "GET /stats"}
	if diff := cmp.Diff(want, calls); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

func TestProgramIsMissing(t *testing.T) {
	_, err := (&flags{binary: "/does/not/exist"}).program()
	if err == nil || !strings.Contains(err.Error(), "make envoy") {
		t.Errorf("got error %v, want one that says how to get Envoy", err)
	}
}
