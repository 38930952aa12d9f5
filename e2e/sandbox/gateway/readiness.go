package gateway

import (
	"net/http"
	"sync/atomic"
)

// readiness answers whether the first configuration is in force.
type readiness struct{ ready atomic.Bool }

func (r *readiness) set() { r.ready.Store(true) }

func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if !r.ready.Load() {
		http.Error(w, "not ready: the first configuration is not in force", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}
