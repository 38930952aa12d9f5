package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
)

func (r *root) newUp() *cobra.Command {
	opts := cluster.Options{}
	var timeout time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Create a sandbox and wait until all of it works",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts.Name = r.name
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			info, err := cluster.Up(ctx, opts)
			if err != nil {
				return fmt.Errorf("cannot create sandbox %q: %w", r.name, err)
			}
			return printInfo(cmd.OutOrStdout(), info, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&opts.Nodes, "nodes", 3, "Nodes whose pods run as real processes.")
	f.IntVar(&opts.BulkNodes, "bulk-nodes", 0, "Nodes for 1000 pods each that only pretend to run (label weir.dev/bulk=true, taint weir.dev/bulk:NoSchedule).")
	f.BoolVar(&opts.NoPrometheus, "no-prometheus", false, "Leave Prometheus out.")
	f.DurationVar(&opts.ScrapeInterval, "scrape-interval", 2*time.Second, "How often Prometheus scrapes.")
	f.BoolVar(&opts.NoGateway, "no-gateway", false, "Leave the gateway out. Its CRDs are installed all the same.")
	f.BoolVar(&opts.Istio, "istio", false, "Run Istio's control plane too (make istiod), for proxies of image weir.dev/envoy (make envoy).")
	f.StringVar(&opts.FeatureGates, "feature-gates", "", "Feature gates of the API server, as A=true,B=false.")
	f.BoolVar(&opts.DisableMutatingPolicies, "disable-mutating-policies", false, "Run an API server without MutatingAdmissionPolicy.")
	f.BoolVar(&opts.NoAudit, "no-audit", false, "Keep no audit log.")
	f.BoolVar(&opts.Linkerd, "linkerd", false, "Run Linkerd's destination controller too (make linkerd), for proxies of image weir.dev/linkerd-outbound.")
	f.StringToStringVar(&opts.Images, "image", nil, "Program that runs an image, as NAME=PATH; NAME without tag. Repeatable.")
	f.IntVar(&opts.OwnerPID, "owner-pid", 0, "Process whose end ends the sandbox, for test harnesses.")
	f.DurationVar(&timeout, "timeout", 2*time.Minute, "How long the sandbox may take to work.")
	f.BoolVar(&asJSON, "json", false, "Print JSON.")
	return cmd
}

func printInfo(w io.Writer, info *cluster.Info, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(info)
	}
	lines := [][2]string{
		{"KUBECONFIG", info.Kubeconfig},
		{"GATEWAY_URL", info.GatewayURL},
		{"PROMETHEUS_URL", info.PrometheusURL},
		{"ISTIOD_URL", info.IstiodURL},
	}
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s=%s\n", l[0], l[1]); err != nil {
			return err
		}
	}
	if !info.KubeProxy {
		_, err := fmt.Fprintf(w, "# ClusterIPs do not work: %s\n", info.KubeProxyReason)
		return err
	}
	return nil
}

func (r *root) newDown() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "down",
		Short: "End a sandbox: its processes, its network and its files",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return cluster.Down(ctx, r.name)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "How long the processes may take to end.")
	return cmd
}
