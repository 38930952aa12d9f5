package egress

import (
	"io"
	"net/http"
	"net/http/httptest"
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

// get asks for a URL with a client of the guard and gives body and error.
func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestClient(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "elsewhere")
	}))
	defer elsewhere.Close()
	mux := http.NewServeMux()
	mux.HandleFunc("/small", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345678") })
	mux.HandleFunc("/large", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "123456789") })
	mux.Handle("/near", http.RedirectHandler("/small", http.StatusFound))
	mux.Handle("/far", http.RedirectHandler(elsewhere.URL+"/secret?token=1", http.StatusFound))
	mux.Handle("/loop", http.RedirectHandler("/loop", http.StatusFound))
	server := httptest.NewServer(mux)
	defer server.Close()

	cases := map[string]struct {
		reason  string
		options Options
		path    string
		want    string
		err     string
	}{
		"AtLimit":      {reason: "a body of just the limit is read whole", options: Options{AllowLoopback: true, MaxBytes: 8}, path: "/small", want: "12345678"},
		"OverLimit":    {reason: "a larger one ends with an error", options: Options{AllowLoopback: true, MaxBytes: 8}, path: "/large", want: "12345678", err: ErrTooLarge.Error()},
		"Redirect":     {reason: "a redirect on the same host is followed", options: Options{AllowLoopback: true}, path: "/near", want: "12345678"},
		"CrossHost":    {reason: "one to another host is not", options: Options{AllowLoopback: true}, path: "/far", err: "leads to another host"},
		"RedirectLoop": {reason: "redirects end", options: Options{AllowLoopback: true}, path: "/loop", err: "more than 3 redirects"},
		"Address":      {reason: "the address is checked where the connection is made", path: "/small", err: "is a loopback address"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := get(t, New(tc.options).Client(nil), server.URL+tc.path)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: body: -want, +got:\n%s", tc.reason, diff)
			}
			if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s: error is %v, want %q", tc.reason, err, tc.err)
			}
		})
	}
}

func TestRefusalShowsNoQuery(t *testing.T) {
	ask := func(raw string) *http.Request {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, raw, nil)
		if err != nil {
			t.Fatal(err)
		}
		return req
	}
	err := sameHost(ask("https://b.example/p?token=1"), []*http.Request{ask("https://a.example/p?token=1")})
	want := "redirect from https://a.example to https://b.example is not followed: it leads to another host"
	if err == nil || err.Error() != want {
		t.Errorf("a refusal names the hosts, and nothing that may be secret: got %v, want %s", err, want)
	}
}

func TestNoAmbientProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://192.0.2.1:1")
	if New(Options{}).Transport().Proxy != nil {
		t.Error("a proxy from the environment would see every request: want none")
	}
}
