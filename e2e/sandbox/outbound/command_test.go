package outbound

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/e2e/sandbox/internal/serve"
)

func TestFromEnv(t *testing.T) {
	cases := map[string]struct {
		reason string
		env    map[string]string
		want   Config
		fails  bool
	}{
		"Defaults": {
			reason: "the ports are those of Linkerd's proxy",
			want:   Config{"127.0.0.1:4140", "127.0.0.1:4191", "10.0.0.7:8086", 6 * time.Second},
		},
		"All": {
			reason: "all can be set",
			env:    map[string]string{"POD_IP": "10.244.1.1", "PORT": "80", "ADMIN_PORT": "81", "DESTINATION": "10.0.0.9:1", "DRAIN": "0s"},
			want:   Config{"10.244.1.1:80", "10.244.1.1:81", "10.0.0.9:1", 0},
		},
		"NoDuration": {reason: "a duration has a unit", env: map[string]string{"DRAIN": "6"}, fails: true},
		"Negative":   {reason: "time does not go back", env: map[string]string{"DRAIN": "-1s"}, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := FromEnv(func(name string) string { return tc.env[name] }, "10.0.0.7:8086")
			if (err != nil) != tc.fails {
				t.Fatalf("%s: error %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestAdmin(t *testing.T) {
	cfg := Config{Listen: freeAddress(t), AdminListen: freeAddress(t), Destination: freeAddress(t)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, cfg, slog.New(slog.DiscardHandler)) }()
	for _, path := range []string{"/ready", "/metrics", "/debug/config"} {
		for {
			answer, err := http.Get("http://" + cfg.AdminListen + path)
			if err != nil {
				continue // it does not listen yet
			}
			if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("%s: code %d, error %v", path, answer.StatusCode, err)
			}
			break
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// freeAddress returns an address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// A request that is under way when the proxy is asked to stop gets its answer,
// and so does one that comes while it drains.
func TestDrain(t *testing.T) {
	arrived, answerNow := make(chan struct{}), make(chan struct{})
	handler := &draining{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(arrived)
			<-answerNow
		}
		_, _ = w.Write([]byte("ok"))
	})}
	cfg := Config{Listen: freeAddress(t), Drain: 200 * time.Millisecond}
	data, err := serve.Start(cfg.Listen, handler, new(http.Protocols))
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{}}
	codes := make(chan int, 1)
	get := func(path string) int {
		answer, err := client.Get("http://" + cfg.Listen + path)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer answer.Body.Close() //nolint:errcheck // only the code counts
		return answer.StatusCode
	}
	go func() { codes <- get("/slow") }()
	<-arrived
	ctx, stop := context.WithCancel(t.Context())
	stop()
	ended := make(chan error, 1)
	go func() { ended <- wait(ctx, cfg, handler, data, &serve.Server{}) }()
	if code := get("/fast"); code != http.StatusOK {
		t.Errorf("a request while it drains: code %d", code)
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended, with a request under way: %v", err)
	case <-time.After(2 * cfg.Drain):
	}
	close(answerNow)
	if code := <-codes; code != http.StatusOK {
		t.Errorf("the request under way: code %d", code)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
