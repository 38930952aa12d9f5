package prometheus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// one1 is an answer that Check likes.
var one1 = says(http.StatusOK, success("scalar", `[1,"1"]`))

// guarded lets in who passes a test and refuses others.
func guarded(pass func(*http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !pass(r) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		one1(w, r)
	}
}

// connect makes a source with a configuration and checks it.
func connect(t *testing.T, url, cfg string, d Dial, timeout time.Duration) error {
	t.Helper()
	s, err := New(v1alpha1.PrometheusSource{URL: url}, []byte(cfg), Options{Dial: d, Timeout: timeout})
	if err != nil {
		return err
	}
	t.Cleanup(s.Close)
	return s.Check(t.Context())
}

func TestCredentials(t *testing.T) {
	basic := guarded(func(r *http.Request) bool {
		user, password, ok := r.BasicAuth()
		return ok && user == "weir" && password == "pass"
	})
	bearer := guarded(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer token" })
	tenant := guarded(func(r *http.Request) bool {
		return r.Header.Get("X-Scope-OrgID") == "shop" && r.UserAgent() == "weir"
	})
	cases := map[string]struct {
		reason  string
		handler http.HandlerFunc
		config  string
		err     string
	}{
		"Basic":       {reason: "user and password", handler: basic, config: "basic_auth: {username: weir, password: pass}"},
		"BasicWrong":  {reason: "a wrong password is refused by the server", handler: basic, config: "basic_auth: {username: weir, password: wrong}", err: "401"},
		"Bearer":      {reason: "a token", handler: bearer, config: "authorization: {credentials: token}"},
		"BearerNone":  {reason: "no token where one is due", handler: bearer, err: "401"},
		"Headers":     {reason: "further headers, and the name of the client", handler: tenant, config: "http_headers: {X-Scope-OrgID: {values: [shop]}}"},
		"HeadersNone": {reason: "the same without", handler: tenant, err: "401"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.handler)
			t.Cleanup(server.Close)
			err := connect(t, server.URL, tc.config, dial, 5*time.Second)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.err)
			}
		})
	}
}

// clientCertificate is a certificate that signs itself, and its key.
func clientCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}))
}

func TestTLS(t *testing.T) {
	certificate, key := clientCertificate(t)
	server := httptest.NewUnstartedServer(guarded(func(r *http.Request) bool { return len(r.TLS.PeerCertificates) == 1 }))
	server.TLS = tlsAskingForClients()
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	indent := func(s string) string { return strings.ReplaceAll("|\n"+strings.TrimSpace(s), "\n", "\n    ") }

	withCA := "tls_config:\n  ca: " + indent(ca) + "\n  server_name: example.com\n"
	withBoth := withCA + "  cert: " + indent(certificate) + "\n  key: " + indent(key) + "\n"
	cases := map[string]struct{ reason, url, config, err string }{
		"NoCA":      {reason: "an unknown authority is refused", url: server.URL, err: "certificate signed by unknown authority"},
		"CA":        {reason: "with the authority the server asks for ours", url: server.URL, config: withCA, err: "401"},
		"Client":    {reason: "with ours we are in", url: server.URL, config: withBoth},
		"WrongName": {reason: "the name is checked", url: server.URL, config: strings.Replace(withCA, "example.com", "other.com", 1), err: "not other.com"},
		"Plain":     {reason: "http on a port of https", url: strings.Replace(server.URL, "https", "http", 1), err: "400"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := connect(t, tc.url, tc.config, dial, 5*time.Second)
			if tc.err == "" && err != nil || tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.err)
			}
		})
	}
	plain := httptest.NewServer(one1)
	t.Cleanup(plain.Close)
	if err := connect(t, strings.Replace(plain.URL, "http", "https", 1), "", dial, 5*time.Second); err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("https on a port of http: got %v", err)
	}
}

// oauthConfig names a token server.
func oauthConfig(url string) string {
	return fmt.Sprintf("oauth2: {client_id: weir, client_secret: s3cr3t, token_url: %q}", url)
}

func TestOAuth2(t *testing.T) {
	var fetched atomic.Int32
	tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"token","token_type":"bearer","expires_in":3600}`)
	}))
	t.Cleanup(tokens.Close)
	server := httptest.NewServer(guarded(func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer token" }))
	t.Cleanup(server.Close)

	dialled := map[string]bool{}
	watching := func(ctx context.Context, network, address string) (net.Conn, error) {
		dialled[address] = true
		return dial(ctx, network, address)
	}
	if err := connect(t, server.URL, oauthConfig(tokens.URL), watching, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if fetched.Load() != 1 || len(dialled) != 2 {
		t.Errorf("one token, both servers through the guard: got %d tokens, connections to %v", fetched.Load(), dialled)
	}
}

func TestOAuth2Troubles(t *testing.T) {
	server := httptest.NewServer(one1)
	t.Cleanup(server.Close)
	stop := make(chan struct{})
	// trickle sends a byte now and then, so that no single read takes long.
	trickle := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		for {
			select {
			case <-stop:
				return
			case <-r.Context().Done():
				return
			case <-time.After(5 * time.Millisecond):
				_, _ = io.WriteString(w, " ")
				w.(http.Flusher).Flush()
			}
		}
	}
	cases := map[string]struct {
		reason  string
		handler http.HandlerFunc
		err     string
	}{
		"Hangs":    {reason: "a token server that hangs does not hang the query", handler: func(http.ResponseWriter, *http.Request) { <-stop }, err: "no answer within"},
		"Trickles": {reason: "nor does one that dawdles", handler: trickle, err: "no answer within"},
		"Refuses":  {reason: "its code is shown, its body is not", handler: says(http.StatusForbidden, `{"error":"s3cr3t"}`), err: "the token server answers 403"},
		"Nonsense": {reason: "nor are its tokens", handler: says(http.StatusOK, `s3cr3t`), err: "cannot be understood"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tokens := httptest.NewServer(tc.handler)
			t.Cleanup(tokens.CloseClientConnections)
			begin := time.Now()
			err := connect(t, server.URL, oauthConfig(tokens.URL), dial, 100*time.Millisecond)
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.err)
			}
			if took := time.Since(begin); took > 3*time.Second {
				t.Errorf("%s: took %s", tc.reason, took)
			}
		})
	}
	close(stop)
}

// TestGuardRefuses: what the dialer refuses is said, and nothing is sent.
func TestGuardRefuses(t *testing.T) {
	refuse := func(_ context.Context, _, address string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: fmt.Errorf("address %s is not allowed", address)}
	}
	var got *metrics.Error
	err := connect(t, "http://169.254.169.254", "", refuse, time.Second)
	if !errors.As(err, &got) || got.Failure != metrics.SourceUnavailable || !strings.Contains(got.Error(), "169.254.169.254:80 is not allowed") {
		t.Errorf("got %v", err)
	}
}

// TestAnsweringConn: the peer has its time from each write, and not longer.
func TestAnsweringConn(t *testing.T) {
	near, far := net.Pipe()
	t.Cleanup(func() { _ = far.Close() })
	conn, err := answering(func(context.Context, string, string) (net.Conn, error) { return near, nil }, 50*time.Millisecond)(t.Context(), "tcp", "x")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buffer := make([]byte, 4)
		_, _ = io.ReadFull(far, buffer)
		_, _ = far.Write([]byte("pong"))
	}()
	if _, err := conn.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 4)
	if _, err := io.ReadFull(conn, buffer); err != nil || string(buffer) != "pong" {
		t.Fatalf("got %q, %v", buffer, err)
	}
	var timeout net.Error
	if _, err := conn.Read(buffer); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("a peer that says nothing more: got %v, want a time-out", err)
	}
}

// closings counts how often it is told to close its idle connections.
type closings struct {
	http.RoundTripper
	count int
}

func (c *closings) CloseIdleConnections() { c.count++ }

// TestClose: what stands before the connections passes it on.
func TestClose(t *testing.T) {
	last := &closings{}
	s := Source{closer: bounded{next: prompt{next: last}}}
	s.Close()
	if last.count != 1 {
		t.Errorf("the idle connections were closed %d times, want once", last.count)
	}
}
