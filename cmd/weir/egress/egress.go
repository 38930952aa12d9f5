package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	keepAlive   = 30 * time.Second
)

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
}

// Guard makes connections to allowed addresses. It is safe for use by several
// goroutines.
type Guard struct {
	options Options
	dialer  net.Dialer
	// shared is the range of carrier-grade NAT (RFC 6598), which clusters use for
	// pods and Services.
	shared netip.Prefix
	// hiding are the ranges of IPv6 in whose addresses an IPv4 address is written
	// (NAT64, 6to4, Teredo, IPv4-compatible): a gateway would connect to that one.
	hiding []netip.Prefix
}

// New makes a Guard.
func New(options Options) *Guard {
	g := &Guard{
		options: options,
		shared:  netip.MustParsePrefix("100.64.0.0/10"),
		hiding: []netip.Prefix{
			netip.MustParsePrefix("64:ff9b::/96"),
			netip.MustParsePrefix("64:ff9b:1::/48"),
			netip.MustParsePrefix("2002::/16"),
			netip.MustParsePrefix("2001::/32"),
			netip.MustParsePrefix("::/96"),
		},
	}
	// Control runs on the address that is about to be connected to. A check
	// of the name before would be one resolution too early.
	g.dialer = net.Dialer{Timeout: dialTimeout, KeepAlive: keepAlive, Control: g.control}
	return g
}

// DialContext connects to an allowed address, or says which address is refused
// and why.
func (g *Guard) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := g.dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to %s: %w", address, err)
	}
	return conn, nil
}

// control refuses addresses that are not allowed. See net.Dialer.
func (g *Guard) control(_, address string, _ syscall.RawConn) error {
	parsed, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address %q cannot be checked: %w", address, err)
	}
	return g.check(parsed.Addr())
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
	case contains(g.hiding, addr):
		return refused(addr, "hides an IPv4 address")
	case addr.IsPrivate() || g.shared.Contains(addr):
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
