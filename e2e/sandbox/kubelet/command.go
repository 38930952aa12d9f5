package kubelet

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// apiPort is where the kubelet serves logs for the API server.
const apiPort = 10250

// Command returns the `kubelet` command, which `sandbox up` starts.
func Command() *cobra.Command {
	var kubeconfig, dir string
	var count, bulk int
	var images map[string]string
	cmd := &cobra.Command{
		Use:    "kubelet",
		Short:  "Run pods as processes (started by up)",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			nodes, err := makeNodes(count, bulk)
			if err != nil {
				return err
			}
			config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
			if err != nil {
				return fmt.Errorf("cannot read --kubeconfig: %w", err)
			}
			config.QPS = -1 // the API server's own limits are enough
			config.ContentType = runtime.ContentTypeProtobuf
			config.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
			client, err := kubernetes.NewForConfig(config)
			if err != nil {
				return fmt.Errorf("cannot make a client: %w", err)
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("cannot find own binary: %w", err)
			}
			k := newKubelet(client, nodes, programs{sandbox: self, images: images}, dir)
			g, ctx := errgroup.WithContext(ctx)
			g.Go(func() error { return k.run(ctx) })
			g.Go(func() error { return k.serveLogs(ctx) })
			return g.Wait()
		},
	}
	f := cmd.Flags()
	f.StringVar(&kubeconfig, "kubeconfig", "", "Kubeconfig of the kubelet.")
	f.StringVar(&dir, "dir", "", "Directory for the containers' logs.")
	f.IntVar(&count, "nodes", 3, "Nodes whose pods run as processes.")
	f.IntVar(&bulk, "bulk-nodes", 0, "Nodes whose pods only pretend to run.")
	f.StringToStringVar(&images, "image", nil, "Program that runs an image, as NAME=PATH.")
	return cmd
}
