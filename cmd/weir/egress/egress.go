package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const (
	// DefaultTimeout of a whole request, the body included.
	DefaultTimeout = 10 * time.Second
	// DefaultMaxBytes of a response body.
	DefaultMaxBytes = 1 << 20

	dialTimeout      = 5 * time.Second
	handshakeTimeout = 5 * time.Second
	idleTimeout      = 90 * time.Second
	keepAlive        = 30 * time.Second
	maxRedirects     = 3
	maxConnsPerHost  = 16
)

// ErrTooLarge: the body of a response is larger than the guard allows. The
// reader of the body gets it in the place of the bytes beyond the limit.
var ErrTooLarge = errors.New("response is larger than allowed")

// Options of a Guard. The zero value allows public addresses only.
type Options struct {
	// AllowPrivate allows private addresses (RFC 1918, RFC 4193, RFC 6598), as
	// the Services of a cluster have them.
	AllowPrivate bool
	// AllowLoopback allows addresses of the machine itself.
	AllowLoopback bool
	// Deny are further addresses that are never connected to, such as those of
	// the API server.
	Deny []netip.Prefix
	// Timeout of a request. 0 means DefaultTimeout.
	Timeout time.Duration
	// MaxBytes of a response body. 0 means DefaultMaxBytes.
	MaxBytes int64
}

// Guard makes HTTP clients that keep its bounds. It is safe for use by several
// goroutines, and its clients share no state but the rules.
type Guard struct {
	options Options
	dialer  net.Dialer
}

// New makes a Guard.
func New(options Options) *Guard {
	if options.Timeout == 0 {
		options.Timeout = DefaultTimeout
	}
	if options.MaxBytes == 0 {
		options.MaxBytes = DefaultMaxBytes
	}
	g := &Guard{options: options}
	// Control runs on the address that is about to be connected to. A check
	// of the name before would be one resolution too early.
	g.dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: g.control}
	return g
}

// DialContext connects to an allowed address. It is for transports that are
// built elsewhere, such as those with TLS settings of their own; Client must
// then wrap them.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	return conn, nil
}

// Transport is a new transport with the guard's dialer and without a proxy.
// The caller closes its idle connections when it is done with it.
func (g *Guard) Transport() *http.Transport {
	return &http.Transport{
		DialContext:           g.DialContext,
		ForceAttemptHTTP2:     true,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   handshakeTimeout,
		ResponseHeaderTimeout: g.options.Timeout,
		IdleConnTimeout:       idleTimeout,
		MaxConnsPerHost:       maxConnsPerHost,
	}
}

// Client is a client over a transport whose connections are made by
// DialContext; nil means a new Transport.
func (g *Guard) Client(transport http.RoundTripper) *http.Client {
	if transport == nil {
		transport = g.Transport()
	}
	return &http.Client{
		Transport:     limited{next: transport, maxBytes: g.options.MaxBytes},
		CheckRedirect: sameHost,
		Timeout:       g.options.Timeout,
	}
}

// control refuses addresses that are not allowed. See net.Dialer.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q cannot be checked: %w", address, err)
	}
	return g.check(parsed.Addr())
}

// shared is the range of carrier-grade NAT (RFC 6598), which clusters use for
// pods and Services.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// hiding are the ranges of IPv6 in whose addresses an IPv4 address is written
// (NAT64, 6to4, Teredo, IPv4-compatible): a gateway would connect to that one.
var hiding = []netip.Prefix{
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("2001::/32"),
	netip.MustParsePrefix("::/96"),
}

// check refuses an address that is not allowed, naming it and why.
func (g *Guard) check(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	switch {
	case addr.IsLoopback():
		if !g.options.AllowLoopback {
			return refused(addr, "is a loopback address")
		}
	case addr.IsUnspecified(), addr.IsMulticast():
		return refused(addr, "is no address of a host")
	case addr.IsLinkLocalUnicast():
		return refused(addr, "is a link-local address")
	case contains(hiding, addr):
		return refused(addr, "hides an IPv4 address")
	case addr.IsPrivate() || shared.Contains(addr):
		if !g.options.AllowPrivate {
			return refused(addr, "is a private address")
		}
	}
	if contains(g.options.Deny, addr) {
		return refused(addr, "is denied by configuration")
	}
	return nil
}

// contains tells whether one of the prefixes contains the address.
func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// refused words a refusal.
func refused(addr netip.Addr, why string) error {
	return fmt.Errorf("address %s is not allowed: it %s", addr, why)
}

// sameHost lets a redirect stay on the host, with the scheme, that was asked.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if asked := via[0].URL; origin(req.URL) != origin(asked) {
		return fmt.Errorf("redirect from %s to %s is not followed: it leads to another host", origin(asked), origin(req.URL))
	}
	return nil
}

// origin is scheme, host and port of a URL, and nothing of it that may be secret.
func origin(u *url.URL) string {
	return u.Scheme + "://" + u.Host
}

// limited bounds the bodies of responses.
type limited struct {
	next     http.RoundTripper
	maxBytes int64
}

// RoundTrip implements http.RoundTripper.
func (l limited) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: l.maxBytes}
	return resp, nil
}

// limitedBody ends with ErrTooLarge, never with a silent end of file, which
// would be half an answer taken for a whole one.
type limitedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	// One byte more than is left tells a body of just the limit from a larger.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, ErrTooLarge
	}
	return n, err //nolint:wrapcheck // io.EOF must reach the reader as it is.
}
