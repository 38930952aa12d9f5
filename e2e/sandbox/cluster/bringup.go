package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// bringUp starts the components of one sandbox.
type bringUp struct {
	client     *control.Client
	components components
	info       *Info
	started    []string
}

// run starts everything and returns when it is ready. What depends on nothing
// starts first and loads while others are waited for.
func (b *bringUp) run(ctx context.Context) error {
	c, opts := b.components, b.components.opts
	// The API server waits for etcd itself.
	if err := b.start(ctx, c.etcd(), c.apiServer()); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", b.info.Kubeconfig)
	if err != nil {
		return fmt.Errorf("cannot read kubeconfig: %w", err)
	}
	config.QPS = -1
	if err := b.waitHTTP(ctx, config, b.info.APIServerURL+"/readyz"); err != nil {
		return fmt.Errorf("the API server is not ready: %w", err)
	}
	if err := b.start(ctx, c.controllerManager(), c.scheduler(), c.kubelet()); err != nil {
		return err
	}
	if err := b.startProxy(ctx); err != nil {
		return err
	}
	g, groupCtx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.install(groupCtx, config) })
	g.Go(func() error { return b.waitCluster(groupCtx, config) })
	if opts.Linkerd {
		g.Go(func() error { return b.waitLinkerd(groupCtx) })
	}
	if !opts.NoPrometheus {
		g.Go(func() error { return b.waitHTTP(groupCtx, config, b.info.PrometheusURL+"/-/ready") })
	}
	if opts.Istio {
		g.Go(func() error { return b.waitHTTP(groupCtx, config, b.info.IstiodURL+"/ready") })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return b.info.write()
}

func (b *bringUp) start(ctx context.Context, processes ...control.Process) error {
	for _, p := range processes {
		if err := b.client.Start(ctx, p); err != nil {
			return err
		}
		b.started = append(b.started, p.Name)
	}
	return nil
}

// startProxy starts kube-proxy where it can work, and notes why it cannot.
func (b *bringUp) startProxy(ctx context.Context) error {
	nft, err := exec.LookPath("nft")
	if err != nil {
		b.info.KubeProxyReason = "nft is not installed (package nftables)"
		return nil
	}
	// Whether the kernel lets this namespace have tables only a try can tell.
	out, err := os.CreateTemp(b.info.Dir, "nft")
	if err != nil {
		return fmt.Errorf("cannot create a file: %w", err)
	}
	defer func() { _ = errors.Join(out.Close(), os.Remove(out.Name())) }()
	try := control.Process{Path: nft, Args: []string{"add table ip sandbox-try; delete table ip sandbox-try"}, Env: componentEnv()}
	stdin, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("cannot open %s: %w", os.DevNull, err)
	}
	defer func() { _ = stdin.Close() }()
	code, err := b.client.Exec(ctx, try, stdin, out, out)
	if err != nil {
		return err
	}
	if code != 0 {
		b.info.KubeProxyReason = "nft cannot make tables here: " + tail(out.Name())
		return nil
	}
	b.info.KubeProxy = true
	return b.start(ctx, b.components.kubeProxy())
}

// install creates the objects every sandbox has. It starts Prometheus once it
// may read pods, and istiod and the gateway once their kinds exist.
func (b *bringUp) install(ctx context.Context, config *rest.Config) error {
	creator, err := newCreator(config)
	if err != nil {
		return err
	}
	if err := creator.files(ctx, manifestFS, "manifests/base.yaml"); err != nil {
		return err
	}
	if !b.components.opts.NoPrometheus {
		if err := b.start(ctx, b.components.prometheus()); err != nil {
			return err
		}
	}
	if b.components.opts.Linkerd {
		if err := b.startLinkerd(ctx, creator); err != nil {
			return err
		}
	}
	if err := creator.files(ctx, crdFS, "crds/*.yaml"); err != nil {
		return err
	}
	if b.components.opts.Istio {
		if err := b.installIstio(ctx, creator); err != nil {
			return err
		}
	}
	if b.components.opts.NoGateway {
		return nil
	}
	return b.installGateway(ctx, creator)
}

func (b *bringUp) installGateway(ctx context.Context, creator *creator) error {
	if err := creator.files(ctx, manifestFS, "manifests/gateway.yaml"); err != nil {
		return err
	}
	if err := b.start(ctx, b.components.gateway()); err != nil {
		return err
	}
	err := b.until(ctx, func(ctx context.Context) (bool, error) { return creator.programmed(ctx) })
	if err != nil {
		return fmt.Errorf("the gateway does not take its Gateway up: %w", err)
	}
	return nil
}

// waitCluster waits until pods can be created and will be run.
func (b *bringUp) waitCluster(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	err = b.until(ctx, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("the controller manager made no service account: %w", err)
	}
	want := b.components.opts.Nodes + b.components.opts.BulkNodes
	err = b.until(ctx, func(ctx context.Context) (bool, error) {
		nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		return err == nil && countReady(nodes.Items) >= want, nil
	})
	if err != nil {
		return fmt.Errorf("the nodes are not ready: %w", err)
	}
	return nil
}

func countReady(nodes []corev1.Node) int {
	n := 0
	for _, node := range nodes {
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady && c.Status == corev1.ConditionTrue {
				n++
			}
		}
	}
	return n
}

// waitHTTP waits until a URL answers 200, with the kubeconfig's credentials.
func (b *bringUp) waitHTTP(ctx context.Context, config *rest.Config, url string) error {
	transport, err := rest.TransportFor(config)
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	client := &http.Client{Transport: transport, Timeout: 2 * time.Second}
	if strings.HasPrefix(url, "http://") {
		client.Transport = &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13}}
	}
	return b.until(ctx, func(ctx context.Context) (bool, error) {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return false, err
		}
		r, err := client.Do(q)
		if err != nil {
			return false, nil
		}
		// An answer that is cut off is none; there will be another.
		return r.StatusCode == http.StatusOK && r.Body.Close() == nil, nil
	})
}

// until polls a condition and gives up early when a component has ended, since
// nothing restarts it.
func (b *bringUp) until(ctx context.Context, condition wait.ConditionWithContextFunc) error {
	return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		statuses, err := b.client.Status(ctx)
		if err != nil {
			return false, err
		}
		for _, s := range statuses {
			if s.State == control.Exited {
				return false, &endedError{name: s.Name, code: s.ExitCode}
			}
		}
		return condition(ctx)
	})
}

// endedError says that a component ended while the sandbox was made.
type endedError struct {
	name string
	code int
}

func (e *endedError) Error() string { return fmt.Sprintf("%s ended with code %d", e.name, e.code) }

// explain adds the end of the logs that matter: that of the component that
// ended, or of all when time ran out.
func (b *bringUp) explain(err error) error {
	names := b.started
	var ended *endedError
	if errors.As(err, &ended) {
		names = []string{ended.name}
	}
	var logs strings.Builder
	for _, name := range names {
		fmt.Fprintf(&logs, "\n--- %s ---\n%s", name, tail(b.components.layout.path("logs", name+".log")))
	}
	return fmt.Errorf("%w\nThe ends of the logs:%s", err, logs.String())
}

// tail returns the last lines of a file.
func tail(path string) string {
	const most = 2000
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-most):]))
}
