package cluster

import (
	"context"
	"embed"
	"fmt"
	"os"
	"strings"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// istioCRDFS holds Istio's CRDs as its API's module ships them; a test compares
// them with the version that istiod is built of.
//
//go:embed crds/istio/*.yaml
var istioCRDFS embed.FS

// check reports an optional binary that is wanted and not there, before
// anything is started.
func (b Binaries) check(opts Options) error {
	if !opts.Istio {
		return nil
	}
	if _, err := os.Stat(b.Istiod); err != nil {
		return fmt.Errorf("cannot find istiod, which is not built by default; run `make istiod` in e2e/sandbox: %w", err)
	}
	return nil
}

// istiod is Istio's control plane without what needs certificates or injects
// containers: proxies connect in plain text, and their pods name them.
func (c components) istiod() control.Process {
	p := c.process("istiod", c.binaries.Istiod, "discovery",
		"--kubeconfig="+Kubeconfig(c.layout.dir, "istiod", false),
		"--meshConfig="+c.layout.config("mesh.yaml"),
		"--registries=Kubernetes",
		"--domain="+clusterDomain,
		"--grpcAddr="+IstiodXDS,
		"--httpAddr="+strings.TrimPrefix(IstiodURL, "http://"),
		"--monitoringAddr="+istiodIP+":15014",
		"--httpsAddr=",
		"--secureGRPCAddr=",
		"--ctrlz_address="+istiodIP,
	)
	p.Env = append(p.Env,
		// One name for ever, so that a restarted istiod takes its leases over at
		// once.
		"POD_NAME=istiod",
		"POD_NAMESPACE=istio-system",
		"CLUSTER_ID=Kubernetes",
		"ENABLE_CA_SERVER=false",
		"XDS_AUTH=false",
		// A filter that only Istio's build of Envoy has.
		"PILOT_ENABLE_METADATA_EXCHANGE=false",
		// Gateways of the Gateway API are the sandbox's own gateway's.
		"PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER=false",
		"PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER=false",
	)
	return p
}

// installIstio creates Istio's kinds and starts istiod.
func (b *bringUp) installIstio(ctx context.Context, creator *creator) error {
	if err := creator.files(ctx, istioCRDFS, "crds/istio/*.yaml"); err != nil {
		return err
	}
	if err := creator.files(ctx, manifestFS, "manifests/istio.yaml"); err != nil {
		return err
	}
	return b.start(ctx, b.components.istiod())
}
