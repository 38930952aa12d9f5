package load

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// execute runs the command and returns what it printed.
func execute(ctx context.Context, args ...string) (string, error) {
	var out bytes.Buffer
	cmd := Command()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	err := cmd.ExecuteContext(ctx)
	return out.String(), err
}

func TestCommandCountsEveryResponse(t *testing.T) {
	server := httptest.NewServer(shop.New(shop.Config{Version: "v1", Pod: "p", ErrorRate: 0.5}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "log")
	out, err := execute(t.Context(), "--target", server.URL, "--rate", "400", "--duration", "500ms", "--out", path, "--json")
	if err != nil {
		t.Fatal(err)
	}
	var got snapshot
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	log, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(log.All(), got.Counts); diff != "" {
		t.Errorf("counts of the log and of the summary differ (-log +summary):\n%s", diff)
	}
	if log.Totals().Sent+log.Totals().Unsent != 200 || log.Totals().Sent != log.Totals().Responses {
		t.Errorf("totals %+v, want 200 arrivals and every request ended", log.Totals())
	}
	// What the server itself counted is the measure of what was sent.
	if diff := cmp.Diff(served(t, server.URL), got.Counts.byVersionAndCode(), cmpopts.IgnoreFields(Key{}, "Version")); diff != "" {
		t.Errorf("counts (-server +load):\n%s", diff)
	}
	first, ok := log.FirstBad(time.Time{})
	if !ok || first.Code != http.StatusInternalServerError {
		t.Errorf("first bad response: %+v, %v", first, ok)
	}
}

// served reads the shop's own counters.
func served(t *testing.T, url string) []count {
	t.Helper()
	response, err := http.Get(url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is only read
	var text bytes.Buffer
	if _, err := text.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	var list []count
	for l := range strings.Lines(text.String()) {
		if rest, ok := strings.CutPrefix(l, `http_requests_total{code="`); ok {
			code, n, _ := strings.Cut(strings.TrimSpace(rest), `"} `)
			var c count
			if err := json.Unmarshal([]byte(`{"code":`+code+`,"n":`+n+`}`), &c); err != nil {
				t.Fatalf("%q: %v", l, err)
			}
			list = append(list, c)
		}
	}
	return list
}

func TestCommandControl(t *testing.T) {
	server := httptest.NewServer(shop.New(shop.Config{Version: "v1", Pod: "p"}))
	defer server.Close()
	socket := filepath.Join(t.TempDir(), "control")
	type result struct {
		out string
		err error
	}
	ended := make(chan result, 1)
	go func() {
		out, err := execute(t.Context(), "--target", server.URL, "--rate", "200", "--control", "unix://"+socket)
		ended <- result{out, err}
	}()
	control := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer control.CloseIdleConnections()

	var got snapshot
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for tick := time.Tick(10 * time.Millisecond); got.Totals.Responses < 20; <-tick {
		if ctx.Err() != nil {
			t.Fatalf("20 responses did not come: %+v", got)
		}
		response, err := control.Get("http://load/snapshot")
		if err != nil {
			continue // it does not listen yet
		}
		if err := json.NewDecoder(response.Body).Decode(&got); err != nil {
			t.Fatal(err)
		}
		response.Body.Close() //nolint:errcheck // it has been read
	}
	if n := got.Counts.Of("v1").Total(); n != got.Totals.Responses {
		t.Errorf("%d of %d responses of v1 in the snapshot, want all", n, got.Totals.Responses)
	}
	response, err := control.Post("http://load/stop", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close() //nolint:errcheck // it has no body
	select {
	case r := <-ended:
		if r.err != nil || !strings.Contains(r.out, "0 bad") {
			t.Errorf("the command ended with %v and printed:\n%s", r.err, r.out)
		}
	case <-ctx.Done():
		t.Error("the load did not stop")
	}
}

func TestCommandRefusesBadFlags(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"NoTarget":  {reason: "a target is needed", args: []string{"--rate=1"}, want: `invalid target ""`},
		"HTTPS":     {reason: "only http", args: []string{"--rate=1", "--target=https://x"}, want: "invalid target"},
		"NoRate":    {reason: "a rate is needed", args: []string{"--target=http://x"}, want: "invalid rate 0"},
		"NaN":       {reason: "NaN is no rate", args: []string{"--target=http://x", "--rate=NaN"}, want: "invalid rate NaN"},
		"RateLimit": {reason: "the rate is bounded", args: []string{"--target=http://x", "--rate=1e9"}, want: "invalid rate 1e+09"},
		"Duration":  {reason: "the time is bounded", args: []string{"--target=http://x", "--rate=1", "--duration=999h"}, want: "invalid duration"},
		"Timeout":   {reason: "time runs forward", args: []string{"--target=http://x", "--rate=1", "--timeout=-1s"}, want: "invalid timeout"},
		"InFlight":  {reason: "a bound is positive", args: []string{"--target=http://x", "--rate=1", "--max-in-flight=-1"}, want: "invalid max-in-flight"},
		"Arrivals":  {reason: "two kinds of arrivals", args: []string{"--target=http://x", "--rate=1", "--arrivals=odd"}, want: `invalid arrivals "odd"`},
		"Protocol":  {reason: "two protocols", args: []string{"--target=http://x", "--rate=1", "--protocol=udp"}, want: `invalid protocol "udp"`},
		"Bind":      {reason: "an address", args: []string{"--target=http://x", "--rate=1", "--bind=eth0"}, want: `invalid bind "eth0"`},
		"Header":    {reason: "name and value", args: []string{"--target=http://x", "--rate=1", "--header=x"}, want: `invalid header "x"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := execute(t.Context(), tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error %v, want one with %q", tc.reason, err, tc.want)
			}
		})
	}
}
