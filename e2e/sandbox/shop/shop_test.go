package shop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// get asks the app for a path.
func get(app http.Handler, path string, header ...string) *http.Response {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, r *http.Response) string {
	t.Helper()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestAnswer(t *testing.T) {
	cases := map[string]struct {
		reason string
		cfg    Config
		code   int
		body   string
	}{
		"Good": {
			reason: "an answer says who gave it",
			cfg:    Config{Version: "v1", Pod: "p"}, code: 200, body: `{"version":"v1","pod":"p"}`,
		},
		"Revision": {
			reason: "the revision is there when it is known",
			cfg:    Config{Version: "v1", Pod: "p", Revision: "abc"}, code: 200, body: `{"version":"v1","pod":"p","revision":"abc"}`,
		},
		"Bad": {
			reason: "an error says who gave it, too",
			cfg:    Config{Version: "v2", Pod: "q", ErrorRate: 1}, code: 500, body: `{"version":"v2","pod":"q"}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := get(New(tc.cfg), "/any/path")
			if r.StatusCode != tc.code {
				t.Errorf("%s: code %d, want %d", tc.reason, r.StatusCode, tc.code)
			}
			if diff := cmp.Diff(tc.body+"\n", text(t, r)); diff != "" {
				t.Errorf("%s: body (-want +got):\n%s", tc.reason, diff)
			}
			if v, p := r.Header.Get(VersionHeader), r.Header.Get(PodHeader); v != tc.cfg.Version || p != tc.cfg.Pod {
				t.Errorf("%s: headers say version %q and pod %q", tc.reason, v, p)
			}
		})
	}
}

func TestErrorRate(t *testing.T) {
	app := New(Config{ErrorRate: 0.05})
	const n = 20_000
	failed := 0
	for range n {
		if get(app, "/").StatusCode == http.StatusInternalServerError {
			failed++
		}
	}
	// Six standard deviations: 0.05 +/- 0.0093.
	if got := float64(failed) / n; got < 0.0407 || got > 0.0593 {
		t.Errorf("%.4f of requests failed, want about 0.05", got)
	}
	metrics := text(t, get(app, "/metrics"))
	for _, want := range []string{
		fmt.Sprintf(`http_requests_total{code="500"} %d`, failed),
		fmt.Sprintf(`http_requests_total{code="200"} %d`, n-failed),
		fmt.Sprintf("http_request_duration_seconds_count %d", n),
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %q in the metrics:\n%s", want, metrics)
		}
	}
}

func TestMetricsStartAtZero(t *testing.T) {
	app := New(Config{ErrorRate: 1})
	get(app, "/healthz")
	metrics := text(t, get(app, "/metrics"))
	for _, want := range []string{`http_requests_total{code="200"} 0`, `http_requests_total{code="500"} 0`} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %q before the first request; neither /healthz nor /metrics counts:\n%s", want, metrics)
		}
	}
}

func TestHealth(t *testing.T) {
	cases := map[string]struct {
		reason string
		cfg    Config
		after  time.Duration
		want   int
	}{
		"AtOnce":   {reason: "ready from the start", want: 200},
		"Starting": {reason: "not ready before the start delay has passed", cfg: Config{StartDelay: 3 * time.Second}, after: 2999 * time.Millisecond, want: 503},
		"Started":  {reason: "ready after it", cfg: Config{StartDelay: 3 * time.Second}, after: 3 * time.Second, want: 200},
		"Never":    {reason: "never ready", cfg: Config{NeverReady: true}, after: time.Hour, want: 503},
		"Errors":   {reason: "the error rate does not touch readiness", cfg: Config{ErrorRate: 1}, want: 200},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				app := New(tc.cfg)
				time.Sleep(tc.after) // of the bubble's clock
				if got := get(app, "/healthz").StatusCode; got != tc.want {
					t.Errorf("%s: code %d, want %d", tc.reason, got, tc.want)
				}
			})
		})
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := New(Config{Latency: 20 * time.Millisecond, Jitter: 5 * time.Millisecond})
		var low, high time.Duration = time.Hour, 0
		for range 2000 {
			start := time.Now()
			get(app, "/")
			took := time.Since(start)
			low, high = min(low, took), max(high, took)
		}
		// Within the bounds, and making use of nearly all of them.
		if low < 15*time.Millisecond || low > 16*time.Millisecond || high > 25*time.Millisecond || high < 24*time.Millisecond {
			t.Errorf("answers took %s to %s, want 15ms to 25ms", low, high)
		}
	})
}

func TestRequestGivenUpIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := New(Config{Latency: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		app.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
		if metrics := text(t, get(app, "/metrics")); !strings.Contains(metrics, "http_request_duration_seconds_count 0\n") {
			t.Errorf("a request that its caller gave up was counted:\n%s", metrics)
		}
	})
}

// start serves cfg on a loopback port and returns its URL and how it ended.
func start(ctx context.Context, t *testing.T, cfg Config) (string, <-chan error) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, cfg, listener) }()
	return "http://" + listener.Addr().String(), ended
}

func TestDrainServesOnWithoutKeepAlive(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	url, ended := start(ctx, t, Config{Version: "v1", Drain: 400 * time.Millisecond})
	client := &http.Client{Transport: &http.Transport{}}
	ask := func() (closes bool) {
		r, err := client.Get(url)
		if err != nil {
			t.Fatalf("a request failed: %v", err)
		}
		r.Body.Close() //nolint:errcheck // only its headers matter
		return r.Close
	}
	if ask() {
		t.Error("the connection was closed before the drain")
	}
	stop()
	// The drain begins a moment after stop; from then on every answer closes
	// its connection, until the end of the drain.
	for deadline := time.Now().Add(300 * time.Millisecond); !ask(); {
		if time.Now().After(deadline) {
			t.Fatal("connections are still kept while draining")
		}
	}
	if !ask() {
		t.Error("a connection was kept while draining")
	}
	if err := <-ended; err != nil {
		t.Errorf("drained and ended with: %v", err)
	}
}

func TestCrash(t *testing.T) {
	soon, now := 50*time.Millisecond, time.Duration(0)
	t.Run("Later", func(t *testing.T) {
		url, ended := start(t.Context(), t, Config{CrashAfter: &soon, ExitCode: 7})
		if r, err := http.Get(url); err != nil || r.StatusCode != http.StatusOK {
			t.Errorf("before the crash: %v", err)
		}
		var crash *ExitError
		if err := <-ended; !errors.As(err, &crash) || crash.Code != 7 {
			t.Errorf("ended with %v, want an exit with code 7", err)
		}
		if _, err := http.Get(url); err == nil {
			t.Error("it still serves after the crash")
		}
	})
	t.Run("AtOnce", func(t *testing.T) {
		var crash *ExitError
		if err := Run(t.Context(), Config{CrashAfter: &now, ExitCode: 3}); !errors.As(err, &crash) || crash.Code != 3 {
			t.Errorf("ended with %v, want an exit with code 3", err)
		}
	})
	t.Run("WhileDraining", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		_, ended := start(ctx, t, Config{CrashAfter: &soon, ExitCode: 4, Drain: time.Hour})
		stop()
		var crash *ExitError
		if err := <-ended; !errors.As(err, &crash) || crash.Code != 4 {
			t.Errorf("ended with %v, want an exit with code 4", err)
		}
	})
}

func TestGRPC(t *testing.T) {
	cases := map[string]struct {
		reason         string
		rate           float64
		status, answer string
	}{
		"Good": {reason: "an empty message and status 0", status: "0", answer: "\x00\x00\x00\x00\x00"},
		"Bad":  {reason: "no message and status 13", rate: 1, status: "13"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := get(New(Config{Version: "v1", ErrorRate: tc.rate}), "/shop.Shop/Buy", "Content-Type", "application/grpc+proto")
			if r.StatusCode != http.StatusOK || r.Header.Get(VersionHeader) != "v1" {
				t.Errorf("%s: code %d, version %q", tc.reason, r.StatusCode, r.Header.Get(VersionHeader))
			}
			if got := text(t, r); got != tc.answer {
				t.Errorf("%s: message %q, want %q", tc.reason, got, tc.answer)
			}
			if got := r.Trailer.Get("Grpc-Status"); got != tc.status {
				t.Errorf("%s: status %q, want %q", tc.reason, got, tc.status)
			}
		})
	}
}
