package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestProbes(t *testing.T) {
	ready := &readiness{}
	handler := probes(ready)
	is := func(reason, path string, want int) {
		t.Helper()
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: %s is %d, want %d", reason, path, w.Code, want)
		}
	}
	is("the process lives before its first life", "/healthz", http.StatusOK)
	is("and cannot take over yet", "/readyz", http.StatusInternalServerError)
	filled := errors.New("the caches are not filled yet")
	end := ready.begin(func(*http.Request) error { return filled })
	is("a life whose caches are not filled is not ready", "/readyz", http.StatusInternalServerError)
	filled = nil
	is("one whose caches are filled is", "/readyz", http.StatusOK)
	is("one check can be asked for alone", "/readyz/caches", http.StatusOK)
	next := ready.begin(func(*http.Request) error { return nil })
	end()
	is("the end of a life is not that of the next", "/readyz", http.StatusOK)
	next()
	is("between two lives nobody can take over", "/readyz", http.StatusInternalServerError)
	is("and the process lives", "/healthz", http.StatusOK)
	is("profiles have an endpoint of their own", "/debug/pprof/", http.StatusNotFound)
}

// freeAddress is one that nobody listens to.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return listener.Addr().String()
}

func TestServe(t *testing.T) {
	options := Options{HealthAddress: freeAddress(t), ProfilingAddress: noAddress}
	stop, err := serve(t.Context(), &readiness{}, options)
	if err != nil {
		t.Fatal(err)
	}
	second := Options{HealthAddress: freeAddress(t), ProfilingAddress: options.HealthAddress}
	if _, err := serve(t.Context(), &readiness{}, second); err == nil || !strings.Contains(err.Error(), "cannot serve the profiling endpoint") {
		t.Errorf("an address that is taken is named: got %v", err)
	}
	stop()
	for _, address := range []string{options.HealthAddress, second.HealthAddress} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			t.Errorf("what was stopped, or has not begun, keeps no address: %v", err)
			continue
		}
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRunWithoutAPIServer: the process is alive, through all its attempts, or it
// would be killed and come back later than the API server.
func TestRunWithoutAPIServer(t *testing.T) {
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := `{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c}}],
  clusters: [{name: c, cluster: {server: "http://` + freeAddress(t) + `"}}]}`
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	options := Options{}
	options.bind(pflag.NewFlagSet("controller", pflag.ContinueOnError))
	options.Kubeconfig, options.HealthAddress, options.MetricsAddress = kubeconfig, freeAddress(t), noAddress
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, options) }()
	status := func(path string) int {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+options.HealthAddress+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := (&http.Client{}).Do(request)
		if err != nil {
			return 0
		}
		defer response.Body.Close() //nolint:errcheck // Nothing of it is wanted.
		return response.StatusCode
	}
	for deadline := time.Now().Add(10 * time.Second); status("/healthz") == 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	for end := time.Now().Add(2 * minRestart); time.Now().Before(end); time.Sleep(minRestart / 10) {
		if health, ready := status("/healthz"), status("/readyz"); health != http.StatusOK || ready != http.StatusInternalServerError {
			t.Fatalf("/healthz is %d, want 200; /readyz is %d, want 500", health, ready)
		}
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("the process ends when it is told to: got %v", err)
	}
}
