package load

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// newTestClient returns the client of a load on target.
func newTestClient(t *testing.T, cfg Config) *client {
	t.Helper()
	cfg.Rate = 1
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

// serveRaw answers each connection with what answer writes, byte by byte under
// the test's control. It returns the address and a counter of requests.
func serveRaw(t *testing.T, answer func(n int, conn net.Conn) (keep bool)) (string, *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() }) //nolint:errcheck // the test is over
	requests := new(atomic.Int64)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close() //nolint:errcheck // closing is the answer
				in := bufio.NewReader(conn)
				for {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					if !answer(int(requests.Add(1)), conn) {
						return
					}
				}
			}()
		}
	}()
	return "http://" + listener.Addr().String(), requests
}

// write writes to a connection. That it cannot is for the other end to see.
func write(c net.Conn, text ...string) { _, _ = io.WriteString(c, strings.Join(text, "")) }

func TestSendTellsHowARequestEnded(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nX-Version: v1\r\nX-Pod: p\r\nContent-Length: 10\r\n\r\n"
	cases := map[string]struct {
		reason string
		answer func(conn net.Conn)
		want   Key
	}{
		"OK": {
			reason: "a whole answer counts with its version and pod",
			answer: func(c net.Conn) { write(c, head, "0123456789") },
			want:   Key{Version: "v1", Pod: "p", Code: 200},
		},
		"Error": {
			reason: "an answer that is not the app's has no version",
			answer: func(c net.Conn) { write(c, "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") },
			want:   Key{Code: 503},
		},
		"Redirect": {
			reason: "a redirect is an answer, and is not followed",
			answer: func(c net.Conn) { write(c, "HTTP/1.1 302 F\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") },
			want:   Key{Code: 302},
		},
		"Cut": {
			reason: "an answer cut short is none, but who gave it is known",
			answer: func(c net.Conn) { write(c, head, "0123") },
			want:   Key{Version: "v1", Pod: "p", Reason: ReasonIncomplete},
		},
		"Closed": {
			reason: "a connection closed without an answer",
			answer: func(net.Conn) {},
			want:   Key{Reason: ReasonClosed},
		},
		"Reset": {
			reason: "a connection reset without an answer",
			answer: func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, //nolint:errcheck // the test fails if it does
			want:   Key{Reason: ReasonReset},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			target, requests := serveRaw(t, func(_ int, c net.Conn) bool { tc.answer(c); return false })
			got := newTestClient(t, Config{Target: target}).send(t.Context(), 0)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			if n := requests.Load(); n != 1 {
				t.Errorf("the server saw %d requests, want 1", n)
			}
		})
	}
}

func TestSendTimeouts(t *testing.T) {
	cases := map[string]struct {
		reason string
		answer string
		want   Key
	}{
		"NoAnswer": {reason: "no answer came in time", want: Key{Reason: ReasonTimeout}},
		"NoBody": {
			reason: "the answer was not whole in time",
			answer: "HTTP/1.1 200 OK\r\nX-Version: v1\r\nContent-Length: 10\r\n\r\n",
			want:   Key{Version: "v1", Reason: ReasonTimeout},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			over := make(chan struct{})
			target, _ := serveRaw(t, func(_ int, c net.Conn) bool {
				write(c, tc.answer)
				<-over
				return false
			})
			defer close(over)
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			got := newTestClient(t, Config{Target: target}).send(ctx, 0)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSendRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	got := newTestClient(t, Config{Target: target}).send(t.Context(), 0)
	if diff := cmp.Diff(Key{Reason: ReasonRefused}, got); diff != "" {
		t.Errorf("a closed port (-want +got):\n%s", diff)
	}
}

func TestSendDoesNotRetryOnAKeptConnection(t *testing.T) {
	// The first request is answered and its connection kept; the second finds
	// it broken. net/http would send it again, unseen.
	target, requests := serveRaw(t, func(n int, c net.Conn) bool {
		if n == 1 {
			write(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
		return n == 1
	})
	c := newTestClient(t, Config{Target: target})
	want := []Key{{Code: 200}, {Reason: ReasonClosed}}
	got := []Key{c.send(t.Context(), 0), c.send(t.Context(), 0)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("two requests (-want +got):\n%s", diff)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("the server saw %d requests, want 2", n)
	}
}

func TestSendSendsWhatTheConfigSays(t *testing.T) {
	type seen struct {
		Method, Host, Path, Remote, Version, Body string
		Length                                    int64
		Encoding                                  []string
	}
	got := make(chan seen, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		got <- seen{r.Method, r.Host, r.URL.Path, host, r.Header.Get("X-Want"), string(body), r.ContentLength, r.TransferEncoding}
	}))
	defer server.Close()
	c := newTestClient(t, Config{
		Target: server.URL + "/cart", Host: "shop.test", Header: http.Header{"X-Want": {"v2"}}, Bind: "127.0.0.77",
	})
	if k := c.send(t.Context(), 0); k.Code != http.StatusOK {
		t.Fatalf("%+v", k)
	}
	want := seen{Method: http.MethodGet, Host: "shop.test", Path: "/cart", Remote: "127.0.0.77", Version: "v2"}
	if diff := cmp.Diff(want, <-got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

func TestConnectionsAreKeptOrNot(t *testing.T) {
	cases := map[string]struct {
		reason string
		fresh  bool
		want   int64
	}{
		"Kept": {reason: "one connection for all", want: 1},
		"New":  {reason: "a connection for each", fresh: true, want: 5},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var opened atomic.Int64
			server := httptest.NewUnstartedServer(shop.New(shop.Config{Version: "v1"}))
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					opened.Add(1)
				}
			}
			server.Start()
			defer server.Close()
			c := newTestClient(t, Config{Target: server.URL, NewConnections: tc.fresh})
			for range 5 {
				if k := c.send(t.Context(), 0); k.Code != http.StatusOK {
					t.Fatalf("%+v", k)
				}
			}
			if n := opened.Load(); n != tc.want {
				t.Errorf("%s: %d connections for 5 requests, want %d", tc.reason, n, tc.want)
			}
		})
	}
}

func TestSendGRPC(t *testing.T) {
	trailer := func(status string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.WriteHeader(http.StatusOK)
			if status != "" {
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", status)
			}
		})
	}
	cases := map[string]struct {
		reason  string
		handler http.Handler
		want    Key
	}{
		"OK": {
			reason:  "the shop answers any method, with its version in the metadata",
			handler: shop.New(shop.Config{Version: "v1", Pod: "p"}), want: Key{Version: "v1", Pod: "p", Code: 200},
		},
		"Error": {
			reason:  "a failed call has HTTP code 200: its status counts",
			handler: shop.New(shop.Config{Version: "v2", Pod: "p", ErrorRate: 1}),
			want:    Key{Version: "v2", Pod: "p", Code: 500, Reason: "grpc status 13"},
		},
		"Unavailable": {reason: "unavailable is 503", handler: trailer("14"), want: Key{Code: 503, Reason: "grpc status 14"}},
		"NoStatus":    {reason: "an answer without a status is not whole", handler: trailer(""), want: Key{Reason: ReasonIncomplete}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(tc.handler)
			server.Config.Protocols = new(http.Protocols)
			server.Config.Protocols.SetUnencryptedHTTP2(true)
			server.Start()
			defer server.Close()
			c := newTestClient(t, Config{Target: server.URL + "/shop.Shop/Buy", Protocol: GRPC})
			if diff := cmp.Diff(tc.want, c.send(t.Context(), 0)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
