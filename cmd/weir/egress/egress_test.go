package egress

import (
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	open := Options{AllowPrivate: true, AllowLoopback: true, Deny: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}
	cases := map[string]struct {
		reason  string
		options Options
		addr    string
		want    string
	}{
		"Public":          {reason: "public addresses are what the guard is for", addr: "93.184.216.34"},
		"Private":         {reason: "a private address needs leave", addr: "10.96.0.10", want: "address 10.96.0.10 is not allowed: it is a private address"},
		"Shared":          {reason: "carrier-grade NAT counts as private", addr: "100.64.1.1", want: "address 100.64.1.1 is not allowed: it is a private address"},
		"PrivateV6":       {reason: "so do unique local addresses", addr: "fd00::1", want: "address fd00::1 is not allowed: it is a private address"},
		"PrivateAllowed":  {reason: "Services of the cluster are private", options: open, addr: "10.96.0.10"},
		"Loopback":        {reason: "the machine itself needs leave", addr: "127.0.0.1", want: "address 127.0.0.1 is not allowed: it is a loopback address"},
		"LoopbackAllowed": {reason: "with leave it is allowed", options: open, addr: "::1"},
		"Metadata":        {reason: "metadata services are link-local and never allowed", options: open, addr: "169.254.169.254", want: "address 169.254.169.254 is not allowed: it is a link-local address"},
		"Zone":            {reason: "a zone does not hide a link-local address", options: open, addr: "fe80::1%eth0", want: "address fe80::1 is not allowed: it is a link-local address"},
		"Mapped":          {reason: "IPv4 mapped into IPv6 is that IPv4 address", options: open, addr: "::ffff:169.254.169.254", want: "address 169.254.169.254 is not allowed: it is a link-local address"},
		"NAT64":           {reason: "an embedded address would be connected to by a gateway", options: open, addr: "64:ff9b::a9fe:a9fe", want: "address 64:ff9b::a9fe:a9fe is not allowed: it hides an IPv4 address"},
		"Unspecified":     {reason: "the unspecified address means the machine itself on some systems", options: open, addr: "0.0.0.0", want: "address 0.0.0.0 is not allowed: it is no address of a host"},
		"Denied":          {reason: "what is denied by name is denied even where its range is allowed", options: open, addr: "10.0.0.1", want: "address 10.0.0.1 is not allowed: it is denied by configuration"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if err := New(tc.options).check(netip.MustParseAddr(tc.addr)); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: check(%s): -want, +got:\n%s", tc.reason, tc.addr, diff)
			}
		})
	}
}

func TestDialContext(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// A name, so that only the address that it resolves to can be the reason.
	address := net.JoinHostPort("localhost", port)

	conn, err := New(Options{AllowLoopback: true}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatalf("an allowed address is connected to: got %v", err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
	_, err = New(Options{AllowPrivate: true}).DialContext(t.Context(), "tcp", address)
	if err == nil || !strings.Contains(err.Error(), "is not allowed: it is a loopback address") {
		t.Errorf("the address is checked where the connection is made: got %v", err)
	}
}
