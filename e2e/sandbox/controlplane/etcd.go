package main

import (
	"context"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// etcdQuotaBytes is far above what a scale test writes (4000 pods with their
// history need about 100 MB); etcd refuses writes once it is reached.
const etcdQuotaBytes = 4 << 30

// newEtcdCommand returns a command that runs a one-member etcd until SIGTERM or
// SIGINT. The member never calls fsync: its data survives the death of the
// process, not that of the machine, and no disk slows a test down.
func newEtcdCommand() *cobra.Command {
	var dataDir, listenClient, listenPeer string
	cmd := &cobra.Command{
		Use:          "etcd",
		Short:        "Run a one-member etcd without file syncs",
		Args:         cobra.NoArgs,
		SilenceUsage: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := etcdConfig(dataDir, listenClient, listenPeer)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return runEtcd(ctx, cfg)
		},
	}
	cmd.Flags().StringVar(&dataDir, "data-dir", "", "Directory of the database. Created when missing.")
	cmd.Flags().StringVar(&listenClient, "listen-client-url", "http://127.0.0.1:2379", "URL to serve clients on.")
	cmd.Flags().StringVar(&listenPeer, "listen-peer-url", "http://127.0.0.1:2380", "URL for peers. There are none, but etcd insists on listening.")
	_ = cmd.MarkFlagRequired("data-dir")
	return cmd
}

func etcdConfig(dataDir, listenClient, listenPeer string) (*embed.Config, error) {
	client, err := url.Parse(listenClient)
	if err != nil {
		return nil, fmt.Errorf("cannot parse --listen-client-url: %w", err)
	}
	peer, err := url.Parse(listenPeer)
	if err != nil {
		return nil, fmt.Errorf("cannot parse --listen-peer-url: %w", err)
	}
	cfg := embed.NewConfig()
	cfg.Name = "sandbox"
	cfg.Dir = dataDir
	cfg.ListenClientUrls = []url.URL{*client}
	cfg.AdvertiseClientUrls = cfg.ListenClientUrls
	cfg.ListenPeerUrls = []url.URL{*peer}
	cfg.AdvertisePeerUrls = cfg.ListenPeerUrls
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.UnsafeNoFsync = true
	cfg.QuotaBackendBytes = etcdQuotaBytes
	cfg.LogLevel = "warn"
	// A member that was paused must not campaign at once on resume; with one
	// member a slow election only delays the start.
	cfg.TickMs = 50
	cfg.ElectionMs = 500
	return cfg, nil
}

// runEtcd serves until ctx ends or etcd fails.
func runEtcd(ctx context.Context, cfg *embed.Config) error {
	etcd, err := embed.StartEtcd(cfg)
	if err != nil {
		return fmt.Errorf("cannot start etcd: %w", err)
	}
	defer etcd.Close()
	select {
	case err := <-etcd.Err():
		return fmt.Errorf("etcd failed: %w", err)
	case <-ctx.Done():
		return nil
	}
}
