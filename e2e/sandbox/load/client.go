package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"syscall"

	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// Reasons of requests without a whole answer.
const (
	ReasonTimeout    = "timeout"
	ReasonRefused    = "connection refused"
	ReasonReset      = "connection reset"
	ReasonClosed     = "connection closed"
	ReasonIncomplete = "answer incomplete"
	ReasonOther      = "other error"
)

// client sends the requests of a load over its own transport.
type client struct {
	cfg       Config
	transport *http.Transport
	// jars are those of the sessions, url is whose cookies they keep.
	jars []*cookiejar.Jar
	url  *url.URL
}

func newClient(cfg Config) (*client, error) {
	// The rest of a request is checked here once; it cannot fail later.
	if _, err := http.NewRequest(http.MethodGet, cfg.Target, nil); err != nil {
		return nil, fmt.Errorf("invalid target %q: %w", cfg.Target, err)
	}
	dialer := &net.Dialer{}
	if cfg.Bind != "" {
		addr, err := netip.ParseAddr(cfg.Bind)
		if err != nil {
			return nil, fmt.Errorf("invalid bind %q: %w", cfg.Bind, err)
		}
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, 0))
	}
	dial := dialer.DialContext
	if cfg.Pick != nil {
		dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
			address, err := cfg.Pick()
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, address)
		}
	}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(cfg.Protocol == HTTP)
	protocols.SetUnencryptedHTTP2(cfg.Protocol == GRPC)
	c := &client{cfg: cfg, transport: &http.Transport{
		DialContext:         dial,
		Protocols:           protocols,
		DisableKeepAlives:   cfg.NewConnections,
		DisableCompression:  true,
		MaxIdleConns:        cfg.MaxInFlight,
		MaxIdleConnsPerHost: cfg.MaxInFlight,
	}}
	return c, c.makeJars()
}

// makeJars makes a cookie jar for each session.
func (c *client) makeJars() error {
	target, err := url.Parse(c.cfg.Target)
	if err != nil {
		return fmt.Errorf("invalid target %q: %w", c.cfg.Target, err)
	}
	c.url = target
	if c.cfg.Host != "" {
		c.url.Host = c.cfg.Host
	}
	for range c.cfg.Sessions {
		jar, err := cookiejar.New(nil)
		if err != nil {
			return fmt.Errorf("cannot make a cookie jar: %w", err)
		}
		c.jars = append(c.jars, jar)
	}
	return nil
}

// jar of a session, nil for none.
func (c *client) jar(session int) *cookiejar.Jar {
	if session == 0 {
		return nil
	}
	return c.jars[session-1]
}

// send sends one request and reads the whole answer. It uses the transport
// itself, not http.Client, so that redirects are not followed.
func (c *client) send(ctx context.Context, session int) Key {
	request, jar := c.request(ctx), c.jar(session)
	if jar != nil {
		for _, cookie := range jar.Cookies(c.url) {
			request.AddCookie(cookie)
		}
	}
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return Key{Reason: reason(err)}
	}
	if jar != nil {
		jar.SetCookies(c.url, response.Cookies())
	}
	defer response.Body.Close() //nolint:errcheck // it has been read to its end or failed
	k := Key{
		Version: response.Header.Get(shop.VersionHeader),
		Pod:     response.Header.Get(shop.PodHeader),
		Code:    response.StatusCode,
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		k.Code, k.Reason = 0, ReasonIncomplete
		if why := reason(err); why == ReasonTimeout {
			k.Reason = why
		}
		return k
	}
	if c.cfg.Protocol == GRPC && k.Code == http.StatusOK {
		k.Code, k.Reason = grpcCode(response)
	}
	return k
}

// request makes a request that net/http does not send a second time. It does
// so silently when a kept connection breaks, but only if it can get the body
// again; a body of its own type without GetBody is one that it cannot.
func (c *client) request(ctx context.Context) *http.Request {
	method, content := http.MethodGet, []byte(nil)
	if c.cfg.Protocol == GRPC {
		// An empty message: not compressed, length 0.
		method, content = http.MethodPost, []byte{0, 0, 0, 0, 0}
	}
	request, err := http.NewRequestWithContext(ctx, method, c.cfg.Target, onlyOnce{bytes.NewReader(content)})
	if err != nil {
		panic(err) // newClient has made the same request
	}
	request.ContentLength = int64(len(content))
	request.Host = c.cfg.Host
	for name, values := range c.cfg.Header {
		request.Header[name] = append([]string(nil), values...)
	}
	if c.cfg.Protocol == GRPC {
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("Te", "trailers")
	}
	return request
}

// onlyOnce is a request body that net/http knows nothing about.
type onlyOnce struct{ io.Reader }

func (onlyOnce) Close() error { return nil }

// reason puts an error into a few words that are the same for every request
// that failed alike; the error's own text has port numbers in it.
func reason(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return ReasonTimeout
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, errNoEndpoints):
		return ReasonRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return ReasonReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		// net/http does not export this one.
		strings.Contains(err.Error(), "server closed idle connection"):
		return ReasonClosed
	default:
		return ReasonOther
	}
}

// grpcCode returns the code and reason of a gRPC answer, from its status.
func grpcCode(response *http.Response) (code int, why string) {
	status := response.Trailer.Get("Grpc-Status")
	if status == "" {
		// Without a message the status may be in the headers.
		status = response.Header.Get("Grpc-Status")
	}
	switch status {
	case "0":
		return http.StatusOK, ""
	case "":
		return 0, ReasonIncomplete
	}
	code = httpCode(status)
	return code, "grpc status " + status
}

// httpCode returns the HTTP code that google.rpc.Code documents for a gRPC
// status other than 0.
func httpCode(status string) int {
	switch status {
	case "1":
		return 499 // cancelled
	case "3", "9", "11":
		return http.StatusBadRequest
	case "4":
		return http.StatusGatewayTimeout
	case "5":
		return http.StatusNotFound
	case "6", "10":
		return http.StatusConflict
	case "7":
		return http.StatusForbidden
	case "8":
		return http.StatusTooManyRequests
	case "12":
		return http.StatusNotImplemented
	case "14":
		return http.StatusServiceUnavailable
	case "16":
		return http.StatusUnauthorized
	default:
		return http.StatusInternalServerError
	}
}
