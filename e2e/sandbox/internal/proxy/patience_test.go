package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestPatientBackend(t *testing.T) {
	const short, long = 100 * time.Millisecond, time.Minute
	sent := strings.Repeat("x", 100) // nothing of it may be lost in attempts that fail
	works := endpointOf(t, serve(t, http.HandlerFunc(echo)), "up")
	down := func(t *testing.T) Endpoint { return endpointAt(t, closedPort(t), "down") }
	cases := map[string]struct {
		reason    string
		patience  time.Duration
		endpoints []Endpoint
		// later replaces the endpoints when the request has arrived.
		later []Endpoint
		code  int
		body  string
	}{
		"NextEndpoint":   {"of three endpoints one can be connected to", short, []Endpoint{works, down(t), down(t)}, nil, http.StatusOK, sent},
		"AllRefuse":      {"patience ends", short, []Endpoint{down(t)}, nil, http.StatusBadGateway, ""},
		"None":           {"patience ends", short, nil, nil, http.StatusServiceUnavailable, ""},
		"ComesLater":     {"the first endpoint comes while the request waits", long, nil, []Endpoint{works}, http.StatusOK, sent},
		"ReplacedLater":  {"the endpoint that refuses is replaced", long, []Endpoint{down(t)}, []Endpoint{works}, http.StatusOK, sent},
		"RefusesOnlyNow": {"an endpoint is tried again", long, []Endpoint{down(t), down(t)}, []Endpoint{down(t), works}, http.StatusOK, sent},
	}
	for name, tc := range cases {
		for _, h2c := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/h2c=%v", name, h2c), func(t *testing.T) {
				b := NewPatientBackend(h2c, tc.patience)
				b.Set(tc.endpoints)
				f := newFixture(t, rule(b))
				if tc.later != nil {
					time.AfterFunc(short, func() { b.Set(tc.later) })
				}
				code, body, _ := f.do(t, http.MethodPost, sent)
				if want := cmp.Or(tc.body, body); code != tc.code || body != want {
					t.Errorf("%s: answer %d %q, want %d %q", tc.reason, code, body, tc.code, want)
				}
			})
		}
	}
}

func TestPatientBackendPassesFailuresOn(t *testing.T) {
	other := newCounter(t, says("other"))
	breaks := newCounter(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	b := NewPatientBackend(false, time.Minute)
	b.Set([]Endpoint{endpointOf(t, other.Server, "other"), endpointOf(t, breaks.Server, "breaks")})
	f := newFixture(t, rule(b))
	code, _ := f.get(t)
	if got, want := fmt.Sprint(code, other.requests.Load()), "502 0"; got != want {
		t.Errorf("code and requests to the other endpoint: %s, want %s", got, want)
	}
}
