package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
	"github.com/weir-dev/weir/e2e/sandbox/internal/serve"
)

// ControllerName is the controller name of the GatewayClasses that the gateway
// serves.
const ControllerName = "weir.dev/sandbox-gateway"

// flags are the flags of the command.
type flags struct {
	kubeconfig, listen, adminListen, address, controllerName string
}

// Command returns the `gateway` command.
func Command() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Run the sandbox's stand-in for a Gateway API implementation",
		Long: `Proxy HTTP and gRPC requests as the HTTPRoutes and GRPCRoutes in the API server say, and write
their status. This is the sandbox's stand-in for a Gateway API implementation, not a product; the
documentation of its package says what it does and what it does not do.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return f.run(ctx, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil)))
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file (default that of the pod it runs in)")
	fs.StringVar(&f.listen, "listen", "10.0.0.3:80", "address to serve Gateways on")
	fs.StringVar(&f.adminListen, "admin-listen", "10.0.0.3:9100", "address of /metrics, /healthz, /readyz and /debug/config")
	fs.StringVar(&f.address, "address", "", "address stated in the status of Gateways (default the host of --listen)")
	fs.StringVar(&f.controllerName, "controller-name", ControllerName, "controller name of the GatewayClasses to serve")
	return cmd
}

// run serves until ctx is done.
func (f *flags) run(ctx context.Context, log *slog.Logger) error {
	config, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read the kubeconfig %q: %w", f.kubeconfig, err)
	}
	// The API server has its own limits; here the gateway's reaction time counts.
	config.QPS = -1
	core, err := kubernetes.NewForConfig(protobuf(config))
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	gw, err := gatewayclient.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	o, err := f.options(log)
	if err != nil {
		return err
	}
	return f.serve(ctx, core, gw, o)
}

// protobuf is for the core kinds, which have that encoding.
func protobuf(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.ContentType = "application/vnd.kubernetes.protobuf"
	return c
}

func (f *flags) options(log *slog.Logger) (options, error) {
	host, text, err := net.SplitHostPort(f.listen)
	if err != nil {
		return options{}, fmt.Errorf("invalid --listen %q: want HOST:PORT", f.listen)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return options{}, fmt.Errorf("invalid --listen %q: want a port from 1 to 65535", f.listen)
	}
	if f.address != "" {
		host = f.address
	}
	return options{
		controllerName: gwv1.GatewayController(f.controllerName), address: host, port: gwv1.PortNumber(port), log: log,
	}, nil
}

// serve runs the controller and the servers. Nobody can connect before the
// first configuration is in force, so no request is refused for want of it.
func (f *flags) serve(ctx context.Context, core kubernetes.Interface, gw gatewayclient.Interface, o options) error {
	registry := prometheus.NewRegistry()
	p := proxy.New(registry, "sandbox_gateway")
	c, err := newController(core, gw, p, o)
	if err != nil {
		return fmt.Errorf("cannot watch: %w", err)
	}
	var ready readiness
	admin, err := serve.Start(f.adminListen, adminHandler(registry, p, &ready), new(http.Protocols))
	if err != nil {
		return fmt.Errorf("cannot serve the admin port: %w", err)
	}
	defer admin.Close() //nolint:errcheck // the process is about to end

	if err := c.sync(ctx); err != nil {
		return err
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	data, err := serve.Start(f.listen, p, protocols)
	if err != nil {
		return fmt.Errorf("cannot serve Gateways: %w", err)
	}
	o.log.Info("serving", slog.String("address", f.listen))
	ready.set()

	// A server that fails while serving takes the process with it.
	var failure error
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		select {
		case err := <-data.Failed:
			failure = fmt.Errorf("cannot serve %s: %w", f.listen, err)
		case err := <-admin.Failed:
			failure = fmt.Errorf("cannot serve %s: %w", f.adminListen, err)
		case <-ctx.Done():
		}
	})
	c.run(ctx)
	watching.Wait()

	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	return errors.Join(failure, data.Shutdown(last))
}

// adminHandler serves what tells of the gateway itself.
func adminHandler(registry *prometheus.Registry, p *proxy.Proxy, ready *readiness) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.Handle("/readyz", ready)
	mux.HandleFunc("/debug/config", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		// An error here means that the caller has gone.
		_ = json.NewEncoder(w).Encode(p.Describe())
	})
	return mux
}
