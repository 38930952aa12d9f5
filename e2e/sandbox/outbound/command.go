package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/internal/serve"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// The ports that it listens on unless told otherwise are those of Linkerd's proxy.
const (
	defaultPort      = "4140"
	defaultAdminPort = "4191"
)

// lastRequests is how long requests may take that are under way at the very end.
const lastRequests = 10 * time.Second

// Config says where the proxy listens and whom it asks.
type Config struct {
	// Listen is the address for requests, AdminListen that of /ready, /metrics
	// and /debug/config, which tells the weights in force.
	Listen, AdminListen string
	// Destination is the address of the destination controller.
	Destination string
	// Drain is how long it goes on serving once it is asked to stop.
	Drain time.Duration
}

// FromEnv reads the configuration through getenv; destinationAddress is where
// the controller is unless that says otherwise.
func FromEnv(getenv func(string) string, destinationAddress string) (Config, error) {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	drain := or("DRAIN", "6s")
	d, err := time.ParseDuration(drain)
	if err != nil || d < 0 {
		return Config{}, fmt.Errorf("invalid DRAIN %q: want a duration of 0 or more, such as 6s", drain)
	}
	ip := or("POD_IP", "127.0.0.1")
	return Config{
		Listen:      net.JoinHostPort(ip, or("PORT", defaultPort)),
		AdminListen: net.JoinHostPort(ip, or("ADMIN_PORT", defaultAdminPort)),
		Destination: or("DESTINATION", destinationAddress),
		Drain:       d,
	}, nil
}

// Command returns the `outbound` command, configured by environment variables
// alone, as the container of a pod is.
func Command(destinationAddress string) *cobra.Command {
	return &cobra.Command{
		Use:   "outbound",
		Short: "Run the sandbox's stand-in for Linkerd's proxy (configured by its environment)",
		Long: `Send HTTP and gRPC requests where Linkerd's destination controller says. This is the sandbox's
stand-in for Linkerd's proxy, not a product; the documentation of its package says what it does and
what it does not do. It is configured by its environment:

  POD_IP, PORT  address to listen on (default 127.0.0.1 and ` + defaultPort + `)
  ADMIN_PORT    port of /ready, /metrics and /debug/config (default ` + defaultAdminPort + `)
  DESTINATION   address of the destination controller (default ` + destinationAddress + `)
  DRAIN         time it goes on serving after SIGTERM (default 6s)`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := FromEnv(os.Getenv, destinationAddress)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return Run(ctx, cfg, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
}

// Run serves until ctx is done, and goes on for cfg.Drain.
func Run(ctx context.Context, cfg Config, log *slog.Logger) error {
	var dialer net.Dialer
	client, err := destination.New(cfg.Destination, dialer.DialContext, log)
	if err != nil {
		return err //nolint:wrapcheck // it says all there is to say
	}
	defer client.Close() //nolint:errcheck // nothing is left to do with the error
	registry := prometheus.NewRegistry()
	// Also while it drains it must hear of endpoints that go.
	following, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	p := New(following, client, registry)
	handler := &draining{next: p}

	admin, err := serve.Start(cfg.AdminListen, adminHandler(registry, p), new(http.Protocols))
	if err != nil {
		return fmt.Errorf("cannot serve the admin port: %w", err)
	}
	defer admin.Close() //nolint:errcheck // the process is about to end
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	data, err := serve.Start(cfg.Listen, handler, protocols)
	if err != nil {
		return fmt.Errorf("cannot serve requests: %w", err)
	}
	log.Info("serving", slog.String("address", cfg.Listen), slog.String("destination", cfg.Destination))
	return wait(ctx, cfg, handler, data, admin)
}

// wait waits for the end and makes it a gentle one.
func wait(ctx context.Context, cfg Config, handler *draining, data, admin *serve.Server) error {
	done, end := ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case err := <-data.Failed:
			return fmt.Errorf("cannot serve %s: %w", cfg.Listen, err)
		case err := <-admin.Failed:
			return fmt.Errorf("cannot serve %s: %w", cfg.AdminListen, err)
		case <-done:
			handler.began.Store(true)
			done, end = nil, time.After(cfg.Drain)
		case <-end:
			last, stop := context.WithTimeout(context.WithoutCancel(ctx), lastRequests)
			defer stop()
			if err := data.Shutdown(last); err != nil {
				return fmt.Errorf("cannot finish the last requests: %w", errors.Join(err, data.Close()))
			}
			return nil
		}
	}
}

// draining closes each connection after its next answer once draining began.
// Closing idle ones at once would race with requests that are on their way.
type draining struct {
	next  http.Handler
	began atomic.Bool
}

func (d *draining) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// In HTTP/2 the header would make net/http refuse the calls that are on
	// their way on the same connection.
	if d.began.Load() && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	d.next.ServeHTTP(w, r)
}

// adminHandler serves what tells of the proxy itself.
func adminHandler(registry *prometheus.Registry, p *Proxy) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("/debug/config", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error here means that the caller has gone.
		_ = json.NewEncoder(w).Encode(p.Describe())
	})
	return mux
}
