package controller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// noAddress turns an endpoint off.
	noAddress = "0"
	// probeTimeout of the check behind /readyz.
	probeTimeout = time.Second
	// headerTimeout bounds how long a request may take to say what it wants.
	headerTimeout = 32 * time.Second
)

// readiness asks the present life of the controller whether it can take over.
// Between two lives nobody can.
type readiness struct {
	check atomic.Pointer[healthz.Checker]
}

// begin a life, which answers by check until its end.
func (r *readiness) begin(check healthz.Checker) (end func()) {
	r.check.Store(&check)
	return func() { r.check.CompareAndSwap(&check, nil) }
}

// ask the present life.
func (r *readiness) ask(request *http.Request) error {
	check := r.check.Load()
	if check == nil {
		return errors.New("the controller has not started yet")
	}
	return (*check)(request)
}

// synced tells whether the caches are filled: before that the process can take
// over from no other.
func synced(c cache.Cache) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), probeTimeout)
		defer cancel()
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

// serve the endpoints of the process until it is stopped. They are the process's
// and not those of a life of the controller: while the API server is not there, no
// life begins, and whoever restarted the process for that would only have the next
// one come back later.
func serve(ctx context.Context, ready *readiness, options Options) (stop func(), err error) {
	var open []io.Closer
	stop = func() {
		for _, c := range open {
			_ = c.Close() // The process ends.
		}
	}
	for _, endpoint := range []struct {
		name, address string
		handler       http.Handler
	}{
		{"health", options.HealthAddress, probes(ready)},
		{"profiling", options.ProfilingAddress, profiles()},
	} {
		if endpoint.address == noAddress || endpoint.address == "" {
			continue
		}
		listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", endpoint.address)
		if err != nil {
			stop()
			return nil, fmt.Errorf("cannot serve the %s endpoint: %w", endpoint.name, err)
		}
		server := &http.Server{Handler: endpoint.handler, ReadHeaderTimeout: headerTimeout}
		open = append(open, server, listener) // The server may not know of the listener yet.
		go func() {
			if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
				log.FromContext(ctx).Error(err, "An endpoint is served no more", "endpoint", endpoint.name)
			}
		}()
	}
	return stop, nil
}

// probes says that the process lives, and whether the controller is ready.
func probes(ready *readiness) http.Handler {
	mux := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{
		"/healthz": {"ping": healthz.Ping},
		"/readyz":  {"caches": ready.ask},
	} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		mux.Handle(path, handler)
		mux.Handle(path+"/", handler) // one check alone
	}
	return mux
}

// profiles of the process.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
