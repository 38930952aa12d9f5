// Package proxy is the data plane of the gateway and of the outbound proxy: it
// sends requests to the endpoints of backends as rules say, which are found in a
// table or handed over with the request.
//
// A new table is in force for every request that arrives after SetTable has
// returned, and an endpoint gets no request that arrives after Backend.Set has
// returned without it. Requests already under way end as they began.
package proxy

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// Table says which rule is for a request.
type Table = match.Table[*Rule]

// Rule is what is done with the requests that match. It must not change once
// it is in a table.
type Rule struct {
	// Kind, Namespace, Route and Name say whose rule it is; Name is its own
	// name or, if it has none, its index. They are labels of the metrics.
	Kind, Namespace, Route, Name string
	// Backends share the requests by weight.
	Backends []WeightedBackend
	// Mirrors get copies of requests.
	Mirrors []Mirror
	// RequestHeaders and ResponseHeaders change headers.
	RequestHeaders, ResponseHeaders HeaderChange
	// Timeout is the time a request has from its arrival to the end of its
	// answer; 0 means no limit.
	Timeout time.Duration
}

// WeightedBackend is one share of a rule.
type WeightedBackend struct {
	// Service is the name of the backend in the metrics.
	Service string
	// Weight is this backend's share of the sum of all weights.
	Weight int64
	// Backend is nil when the reference is not valid: its share of requests is
	// answered with 500.
	Backend *Backend
	// RequestHeaders and ResponseHeaders change headers after the rule's.
	RequestHeaders, ResponseHeaders HeaderChange
}

// pick draws a backend by weight, independently for each request. It returns
// false when no backend has a weight.
func (r *Rule) pick() (*WeightedBackend, bool) {
	var total int64
	for i := range r.Backends {
		total += r.Backends[i].Weight
	}
	if total <= 0 {
		return nil, false
	}
	draw := rand.Int64N(total) //nolint:gosec // a draw is no secret
	for i := range r.Backends {
		if draw -= r.Backends[i].Weight; draw < 0 {
			return &r.Backends[i], true
		}
	}
	panic("unreachable: the draw is less than the sum of the weights")
}

// Mirror is a share of requests that a second backend gets copies of.
type Mirror struct {
	// Service is the name of the backend in the metrics.
	Service string
	// Backend gets the copies; its answers are dropped.
	Backend *Backend
	// Numerator of Denominator requests are copied.
	Numerator, Denominator int64
}

// drawn decides, independently for each request, whether it is copied.
func (m *Mirror) drawn() bool { return rand.Int64N(m.Denominator) < m.Numerator } //nolint:gosec // a draw is no secret

// HeaderChange is a list of changes to headers, made in the order of its
// fields. The zero value changes nothing.
type HeaderChange struct {
	Set, Add http.Header
	Remove   []string
}

func (c HeaderChange) apply(h http.Header) {
	for name, values := range c.Set {
		h[name] = append([]string(nil), values...)
	}
	for name, values := range c.Add {
		h[name] = append(h[name], values...)
	}
	for _, name := range c.Remove {
		h.Del(name)
	}
}
