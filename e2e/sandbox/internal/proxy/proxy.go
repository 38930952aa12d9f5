package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// Proxy answers requests by sending them to backends. It is safe for
// concurrent use.
type Proxy struct {
	table   atomic.Pointer[Table]
	reverse httputil.ReverseProxy
	metrics *metrics
	// Answered is told of each request whose answer has ended, where it is not nil. It
	// is set before the first request.
	Answered func(Outcome)
	mirrors  chan struct{} // one place for each copy under way
}

// New returns a proxy with an empty table, which answers every request with
// 404. Its metrics are registered with registry; their names begin with name.
func New(registry prometheus.Registerer, name string) *Proxy {
	p := &Proxy{metrics: newMetrics(registry, name), mirrors: make(chan struct{}, maxMirrors)}
	p.table.Store(match.NewTable[*Rule](nil))
	p.reverse = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      roundTripper{},
		ModifyResponse: modifyResponse,
		ErrorHandler:   answerError,
		BufferPool:     &bufferPool{},
		// Streams are passed on as they come.
		FlushInterval: -1,
	}
	return p
}

// SetTable puts a table in force for all requests that arrive from now on.
func (p *Proxy) SetTable(t *Table) { p.table.Store(t) }

// Table returns the table in force.
func (p *Proxy) Table() *Table { return p.table.Load() }

// Outcome is what became of a request.
type Outcome struct {
	// Service that was drawn, empty for none.
	Service string
	// Endpoint that the request was sent to; zero when there was no connection to any.
	Endpoint Endpoint
	// Code that the caller got: 0 when the answer was cut short, 499 when nobody was
	// there to get one.
	Code int
	// GRPC says that it was a call, GRPCStatus is its status.
	GRPC       bool
	GRPCStatus string
}

// exchange is one request and what becomes of it.
type exchange struct {
	start    time.Time
	grpc     bool
	rule     *Rule
	backend  *WeightedBackend // nil when none could be drawn
	endpoint Endpoint         // zero when the request was sent nowhere
	// connected says that there was a connection to the endpoint.
	connected bool
	response  *http.Response // of the backend; nil when there was none
	code      int            // that the caller gets
	status    string         // gRPC status of an answer of the gateway's own
}

type exchangeKey struct{}

func exchangeOf(ctx context.Context) *exchange { return ctx.Value(exchangeKey{}).(*exchange) }

func (x *exchange) service() string {
	if x.backend == nil {
		return ""
	}
	return x.backend.Service
}

// grpcStatus returns the gRPC status the caller got; it is known once the
// whole answer has been passed on.
func (x *exchange) grpcStatus() string {
	if x.response == nil || x.status != "" {
		return x.status
	}
	if s := x.response.Trailer.Get("Grpc-Status"); s != "" {
		return s
	}
	return x.response.Header.Get("Grpc-Status")
}

// ServeHTTP answers one request as the table says.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rule, ok := p.table.Load().Find(r)
	if !ok {
		rule = nil
	}
	p.Serve(w, r, rule)
}

// Serve answers one request by a rule that the caller has found; nil stands for
// none.
func (p *Proxy) Serve(w http.ResponseWriter, r *http.Request, rule *Rule) {
	x := &exchange{
		start: time.Now(),
		grpc:  strings.HasPrefix(r.Header.Get("Content-Type"), "application/grpc"),
		rule:  &Rule{}, // stands in the metrics for requests that match none
	}
	defer func() {
		// net/http's way to cut an answer short: the backend failed in the
		// middle of it.
		if failure := recover(); failure != nil {
			x.code = 0
			p.answered(x)
			panic(failure)
		}
		p.answered(x)
	}()
	// A backend may answer before it has read the whole request. Without this
	// net/http would take the rest of an HTTP/1 body away from it. Writers that
	// cannot do it, as HTTP/2's, do so anyway.
	_ = http.NewResponseController(w).EnableFullDuplex()
	ctx := context.WithValue(r.Context(), exchangeKey{}, x)
	if rule == nil {
		answer(w, x, http.StatusNotFound, "no route matches this request")
		return
	}
	x.rule = rule
	var ok bool
	if x.backend, ok = rule.pick(); !ok {
		answer(w, x, http.StatusInternalServerError, "the rule has no backend with a weight")
		return
	}
	if x.backend.Backend == nil {
		answer(w, x, http.StatusInternalServerError, "the rule refers to a backend that cannot be used")
		return
	}
	if rule.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, rule.Timeout)
		defer cancel()
	}
	p.reverse.ServeHTTP(w, r.WithContext(ctx))
}

// answered tells of a request whose answer has ended.
func (p *Proxy) answered(x *exchange) {
	p.metrics.answered(x)
	if p.Answered == nil {
		return
	}
	o := Outcome{Service: x.service(), Code: x.code, GRPC: x.grpc}
	if x.connected {
		o.Endpoint = x.endpoint
	}
	if x.grpc {
		o.GRPCStatus = x.grpcStatus()
	}
	p.Answered(o)
}

// rewrite makes the request to the backend out of the caller's.
func (p *Proxy) rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	// The path and query go on as they came, even those that net/url would
	// write in another way.
	pr.Out.URL.RawQuery = pr.In.URL.RawQuery
	pr.Out.Host = pr.In.Host
	pr.Out.Header["X-Forwarded-For"] = pr.In.Header["X-Forwarded-For"]
	pr.SetXForwarded()
	x.rule.RequestHeaders.apply(pr.Out.Header)
	x.backend.RequestHeaders.apply(pr.Out.Header)
	p.mirror(x.rule, pr.Out)
}

// roundTripper sends the request of an exchange to its backend.
type roundTripper struct{}

func (roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	x := exchangeOf(r.Context())
	response, endpoint, err := x.backend.Backend.send(r)
	x.endpoint = endpoint
	x.connected = err == nil || !errors.Is(err, errNotConnected) && !errors.Is(err, errNoEndpoints)
	return response, err
}

func modifyResponse(r *http.Response) error {
	x := exchangeOf(r.Request.Context())
	x.rule.ResponseHeaders.apply(r.Header)
	x.backend.ResponseHeaders.apply(r.Header)
	x.response, x.code = r, r.StatusCode
	return nil
}

// statusClientClosed is the code that nginx made customary for requests whose
// caller went away; nobody gets it.
const statusClientClosed = 499

// answerError answers a request that no backend has answered.
func answerError(w http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r.Context())
	switch {
	case errors.Is(r.Context().Err(), context.DeadlineExceeded):
		answer(w, x, http.StatusGatewayTimeout, "the backend did not answer within the timeout of the rule")
	case r.Context().Err() != nil:
		answer(w, x, statusClientClosed, "the caller went away")
	case errors.Is(err, errNoEndpoints):
		answer(w, x, http.StatusServiceUnavailable, "the backend has no ready endpoint")
	default:
		answer(w, x, http.StatusBadGateway, "the backend did not answer: "+err.Error())
	}
}

// grpcStatus returns the gRPC status that stands for one of the gateway's own
// codes, as the gRPC specification maps HTTP codes.
func grpcStatus(code int) string {
	switch code {
	case http.StatusNotFound:
		return "12" // unimplemented
	case http.StatusGatewayTimeout:
		return "4" // deadline exceeded
	case statusClientClosed:
		return "1" // cancelled
	default:
		return "14" // unavailable: GRPCRoute wants it for 500, too
	}
}

// answer is an answer of the gateway's own. A gRPC caller gets it as a status,
// in headers only; the metrics have the HTTP code all the same.
func answer(w http.ResponseWriter, x *exchange, code int, message string) {
	x.code = code
	if x.grpc {
		x.status = grpcStatus(code)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", x.status)
		w.Header().Set("Grpc-Message", message)
		w.WriteHeader(http.StatusOK)
		return
	}
	http.Error(w, message, code)
}

// bufferPool keeps the buffers that answers are copied through.
type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if buffer, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return buffer[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(buffer []byte) { b.pool.Put((*[bufferSize]byte)(buffer)) }
