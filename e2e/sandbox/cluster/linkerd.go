package cluster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// LinkerdDestination is the process of Linkerd's destination controller.
const LinkerdDestination = "linkerd-destination"

// LinkerdAddress is where it serves proxies, inside the sandbox.
const LinkerdAddress = linkerdIP + ":8086"

const (
	linkerdIP = "10.0.0.7"
	// linkerdAdmin is where it serves its metrics, once it serves proxies.
	linkerdAdmin = linkerdIP + ":9996"
	// linkerdUser is the name of its kubeconfig and its user name.
	linkerdUser = LinkerdDestination
)

// endpointsController is needed for Linkerd alone, whose controller is older than
// EndpointSlices.
const endpointsController = "endpoints-controller"

// linkerdPath is where Linkerd's binary is to be: beside the sandbox's own.
func (b Binaries) linkerdPath() string {
	return filepath.Join(filepath.Dir(b.Sandbox), "sandbox-linkerd")
}

func (c components) linkerd() control.Process {
	return c.process(LinkerdDestination, c.binaries.linkerdPath(),
		"-kubeconfig="+Kubeconfig(c.layout.dir, linkerdUser, false),
		"-addr="+LinkerdAddress,
		"-metrics-addr="+linkerdAdmin,
		"-disable-identity", // pods speak in the clear
	)
}

// startLinkerd starts the destination controller once its kinds exist: it ends
// where they do not.
func (b *bringUp) startLinkerd(ctx context.Context, creator *creator) error {
	if _, err := os.Stat(b.components.binaries.linkerdPath()); err != nil {
		return fmt.Errorf("cannot find Linkerd's binary; run `make linkerd` in the sandbox's directory: %w", err)
	}
	if err := creator.files(ctx, manifestFS, "manifests/linkerd.yaml"); err != nil {
		return err
	}
	for _, resource := range []schema.GroupVersionResource{
		{Group: "linkerd.io", Version: "v1alpha2", Resource: "serviceprofiles"},
		{Group: "split.smi-spec.io", Version: "v1alpha1", Resource: "trafficsplits"},
	} {
		err := b.until(ctx, func(ctx context.Context) (bool, error) {
			_, err := creator.client.Resource(resource).List(ctx, metav1.ListOptions{Limit: 1})
			return err == nil, nil
		})
		if err != nil {
			return fmt.Errorf("the API server does not serve %s: %w", resource.Resource, err)
		}
	}
	return b.start(ctx, b.components.linkerd())
}

// waitLinkerd waits until the destination controller serves.
func (b *bringUp) waitLinkerd(ctx context.Context) error {
	err := b.until(ctx, func(ctx context.Context) (bool, error) {
		c, err := b.client.DialContext(ctx, "tcp", linkerdAdmin)
		if err != nil {
			return false, nil
		}
		return true, c.Close()
	})
	if err != nil {
		return fmt.Errorf("the destination controller of Linkerd does not serve: %w", err)
	}
	return nil
}
