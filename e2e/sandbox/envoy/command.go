package envoy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/internal/serve"
)

// flags are the flags of the command.
type flags struct {
	role, istiod, binary string
	http                 []string
	tcp                  bool
	drain                time.Duration
}

// Command returns the `envoy` command, which stands for image weir.dev/envoy.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "envoy",
		Short: "Run a stock Envoy as a proxy of Istio's mesh (needs up --istio and make envoy)",
		Long: `Run a stock Envoy that gets its clusters and routes from istiod, as the sidecar of a client or as a
gateway. It listens on $POD_IP; POD_NAME, POD_NAMESPACE and POD_LABELS (JSON) say who it is. The kubelet
of the sandbox sets all of them. Its admin interface is at port 15000: GET /ready answers 200 once
clusters and routes are there. At port 15020, /stats/prometheus has Istio's series of requests.

A sidecar serves the routes of port 80 of all Services at port 15080, a gateway those of Gateways' port
80 at port 80. After SIGTERM it goes on serving for --drain, and then until no request is left.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return f.run(ctx)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.role, "role", string(Sidecar), "sidecar or gateway")
	fs.StringArrayVar(&f.http, "http", nil, "PORT=ROUTES: a port to listen on, and the name of istiod's routes to serve there; may be given again (default 15080=80 of a sidecar, 80=http.80 of a gateway)")
	fs.BoolVar(&f.tcp, "tcp", false, "take istiod's listeners for TCP and TLS too; a Sidecar resource says which are bound, and where")
	fs.StringVar(&f.istiod, "istiod", cluster.IstiodXDS, "HOST:PORT of istiod")
	fs.StringVar(&f.binary, "envoy", "", "Envoy's program (default sandbox-envoy beside this one)")
	fs.DurationVar(&f.drain, "drain", 6*time.Second, "time to go on serving after SIGTERM")
	return cmd
}

// run runs Envoy until it ends or ctx does.
func (f *flags) run(ctx context.Context) error {
	c, err := f.config(os.Getenv)
	if err != nil {
		return err
	}
	binary, err := f.program()
	if err != nil {
		return err
	}
	text, err := bootstrap(c)
	if err != nil {
		return err
	}
	p, requests, err := startProxy(binary, string(text), c.pod.ip, f.drain)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	metrics, err := serve.Start(net.JoinHostPort(c.pod.ip, strconv.Itoa(MetricsPort)), metricsHandler(registry), new(http.Protocols))
	if err != nil {
		return fmt.Errorf("cannot serve metrics: %w", err)
	}
	defer metrics.Close() //nolint:errcheck // the process is about to end
	counting := make(chan error, 1)
	go func() { counting <- newTelemetry(registry, c.pod).follow(requests) }()
	select {
	case <-p.ended:
		return fmt.Errorf("envoy ended by itself: %s", p.cmd.ProcessState)
	case err := <-counting:
		return fmt.Errorf("cannot count requests: %w", err)
	case err := <-metrics.Failed:
		return fmt.Errorf("cannot serve metrics: %w", err)
	case <-ctx.Done():
	}
	return p.stop(context.WithoutCancel(ctx), f.drain)
}

// config checks the flags.
func (f *flags) config(getenv func(string) string) (config, error) {
	c := config{role: Role(f.role), istiod: f.istiod, tcp: f.tcp}
	routes := f.http
	switch {
	case c.role != Sidecar && c.role != Gateway:
		return c, fmt.Errorf("invalid --role %q: want %s or %s", f.role, Sidecar, Gateway)
	case f.drain < 0:
		return c, fmt.Errorf("invalid --drain %s: want 0 or more", f.drain)
	case len(routes) > 0:
	case c.role == Gateway:
		routes = []string{"80=http.80"}
	default:
		routes = []string{fmt.Sprintf("%d=80", SidecarPort)}
	}
	for _, s := range routes {
		r, err := parseRoute(s)
		if err != nil {
			return c, err
		}
		c.http = append(c.http, r)
	}
	var err error
	c.pod, err = podFromEnv(getenv)
	return c, err
}

// program finds Envoy.
func (f *flags) program() (string, error) {
	path := f.binary
	if path == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("cannot find own binary: %w", err)
		}
		path = filepath.Join(filepath.Dir(self), "sandbox-envoy")
	}
	path, err := exec.LookPath(path)
	if err != nil {
		return "", fmt.Errorf("cannot find Envoy, which is not there by default; run `make envoy` in e2e/sandbox: %w", err)
	}
	return path, nil
}
