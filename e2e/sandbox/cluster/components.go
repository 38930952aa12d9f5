package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// Binaries are the programs a sandbox is made of.
type Binaries struct {
	Sandbox      string
	ControlPlane string
	Prometheus   string
	// Istiod is not built by default.
	Istiod string
}

// FindBinaries looks for the two others beside the running one.
func FindBinaries() (Binaries, error) {
	self, err := os.Executable()
	if err != nil {
		return Binaries{}, fmt.Errorf("cannot find own binary: %w", err)
	}
	dir := filepath.Dir(self)
	b := Binaries{
		Sandbox:      self,
		ControlPlane: filepath.Join(dir, "sandbox-controlplane"),
		Prometheus:   filepath.Join(dir, "sandbox-prometheus"),
		Istiod:       filepath.Join(dir, "sandbox-istiod"),
	}
	if _, err := os.Stat(b.ControlPlane); err != nil {
		return Binaries{}, fmt.Errorf("cannot find the control plane's binary; run `make sandbox`: %w", err)
	}
	return b, nil
}

// components builds the command lines of the sandbox's own processes.
type components struct {
	layout   layout
	opts     Options
	binaries Binaries
}

// controlPlane is a process of the large binary.
func (c components) controlPlane(name string, args ...string) control.Process {
	return c.process(name, c.binaries.ControlPlane, append([]string{name}, args...)...)
}

func (c components) process(name, path string, args ...string) control.Process {
	return control.Process{Name: name, Path: path, Args: args, Env: componentEnv(), Dir: c.layout.dir, Component: true}
}

// componentEnv is the environment of components: what they need of the
// caller's, and none of the settings that would change them (proxies, GODEBUG,
// coverage). Memory is plenty and processors are not, so they collect garbage
// half as often as they would.
func componentEnv() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir(), "GOGC=200"}
}

func (c components) etcd() control.Process {
	return c.controlPlane("etcd",
		"--data-dir="+c.layout.path("etcd"),
		"--listen-client-url="+etcdURL,
		"--listen-peer-url="+etcdPeerURL,
	)
}

func (c components) apiServer() control.Process {
	args := []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=" + apiServerIP,
		"--advertise-address=" + apiServerIP,
		"--service-cluster-ip-range=" + serviceCIDR,
		"--client-ca-file=" + c.layout.caCert(),
		"--tls-cert-file=" + c.layout.serverCert(),
		"--tls-private-key-file=" + c.layout.serverKey(),
		"--token-auth-file=" + c.layout.tokens(),
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-key-file=" + c.layout.tokenKey(),
		"--service-account-signing-key-file=" + c.layout.tokenKey(),
		"--kubelet-preferred-address-types=InternalIP",
		// The kubelet's certificate is not checked, but one must be shown.
		"--allow-privileged=true",
		// On two cores requests take longer than in a real cluster, so more of
		// them are in flight at the same rate. Scale tests must measure their
		// subject, not these limits.
		"--max-requests-inflight=3000",
		"--max-mutating-requests-inflight=1500",
		"--profiling=true",
		"--v=1",
	}
	if !c.opts.NoAudit {
		args = append(args,
			"--audit-policy-file="+c.layout.config("audit-policy.yaml"),
			"--audit-log-path="+c.layout.path("audit.log"),
			"--audit-log-mode=batch",
			"--audit-log-maxsize=0", // no rotation: a count over the log must be complete
		)
	}
	gates := c.opts.FeatureGates
	if c.opts.DisableMutatingPolicies {
		// The gate turns the admission plugin off, the other two the API, by
		// whose absence clients know.
		const api = "admissionregistration.k8s.io/v1/mutatingadmissionpolic"
		args = append(args, "--runtime-config="+api+"ies=false,"+api+"ybindings=false")
		gates = strings.TrimPrefix(gates+",MutatingAdmissionPolicy=false", ",")
	}
	if gates != "" {
		args = append(args, "--feature-gates="+gates)
	}
	return c.controlPlane("kube-apiserver", args...)
}

// controllers are those of the controller manager that a cluster without
// volumes, cloud or certificates needs. There is no node lifecycle controller:
// a node in the sandbox is lost only when a test deletes it, never because the
// machine was slow.
var controllers = []string{
	"clusterrole-aggregation-controller",
	"cronjob-controller",
	"daemonset-controller",
	"deployment-controller",
	"disruption-controller",
	"endpointslice-controller",
	"garbage-collector-controller",
	"horizontal-pod-autoscaler-controller",
	"job-controller",
	"namespace-controller",
	"pod-garbage-collector-controller",
	"replicaset-controller",
	"resourcequota-controller",
	"root-ca-certificate-publisher-controller",
	"serviceaccount-controller",
	"statefulset-controller",
	"ttl-after-finished-controller",
	"validatingadmissionpolicy-status-controller",
}

func (c components) controllerManager() control.Process {
	controllers := controllers
	if c.opts.Linkerd {
		controllers = append(slices.Clip(controllers), endpointsController)
	}
	return c.controlPlane("kube-controller-manager",
		"--kubeconfig="+Kubeconfig(c.layout.dir, "kube-controller-manager", false),
		"--controllers="+strings.Join(controllers, ","),
		"--use-service-account-credentials=true", // each controller has a name in the audit log
		"--service-account-private-key-file="+c.layout.tokenKey(),
		"--root-ca-file="+c.layout.caCert(),
		"--leader-elect=false",
		"--bind-address="+apiServerIP,
		// Fast enough that a controller under test is measured, not these.
		"--kube-api-qps=2000",
		"--kube-api-burst=4000",
		"--concurrent-deployment-syncs=20",
		"--concurrent-replicaset-syncs=20",
		"--concurrent-service-endpoint-syncs=10",
		"--concurrent-gc-syncs=20",
		"--concurrent-namespace-syncs=10",
		"--v=1",
	)
}

func (c components) scheduler() control.Process {
	return c.controlPlane("kube-scheduler", "--config="+c.layout.config("scheduler.yaml"), "--bind-address="+apiServerIP, "--v=1")
}

func (c components) kubeProxy() control.Process {
	return c.controlPlane("kube-proxy", "--config="+c.layout.config("kube-proxy.yaml"), "--v=1")
}

func (c components) kubelet() control.Process {
	args := []string{
		"kubelet",
		"--kubeconfig=" + Kubeconfig(c.layout.dir, "kubelet", false),
		"--nodes=" + strconv.Itoa(c.opts.Nodes),
		"--bulk-nodes=" + strconv.Itoa(c.opts.BulkNodes),
		"--dir=" + c.layout.path("pods"),
	}
	for image, program := range c.opts.Images {
		args = append(args, "--image="+image+"="+program)
	}
	return c.process("kubelet", c.binaries.Sandbox, args...)
}

func (c components) gateway() control.Process {
	return c.process("gateway", c.binaries.Sandbox, "gateway",
		"--kubeconfig="+Kubeconfig(c.layout.dir, "gateway", false))
}

func (c components) prometheus() control.Process {
	return c.process("prometheus", c.binaries.Prometheus,
		"--config.file="+c.layout.config("prometheus.yaml"),
		"--storage.tsdb.path="+c.layout.path("prometheus"),
		"--storage.tsdb.retention.time=6h",
		"--web.listen-address="+strings.TrimPrefix(PrometheusURL, "http://"),
		"--web.enable-lifecycle",
		"--log.level=warn",
	)
}
