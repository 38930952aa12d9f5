// Package cluster makes a Kubernetes cluster out of a sandbox: it writes the
// keys, users and configurations, starts the components through the supervisor
// in the order they need each other, and installs what every user of the
// sandbox expects to find.
package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
)

// Addresses inside the sandbox. Nothing else runs in its network, so they are
// the same in every sandbox.
const (
	apiServerIP   = "10.0.0.1"
	prometheusIP  = "10.0.0.2"
	gatewayIP     = "10.0.0.3"
	controllerIP  = "10.0.0.4" // where the controller under test serves its metrics
	etcdIP        = "10.0.0.5"
	istiodIP      = "10.0.0.6"
	serviceCIDR   = "10.96.0.0/16"
	kubernetesIP  = "10.96.0.1" // ClusterIP of the kubernetes Service
	clusterDomain = "cluster.local"
)

// URLs inside the sandbox.
const (
	APIServerURL  = "https://" + apiServerIP + ":6443"
	PrometheusURL = "http://" + prometheusIP + ":9090"
	GatewayURL    = "http://" + gatewayIP
	IstiodURL     = "http://" + istiodIP + ":8080"
	IstiodXDS     = istiodIP + ":15010" // where proxies connect, without http://
	etcdURL       = "http://" + etcdIP + ":2379"
	etcdPeerURL   = "http://" + etcdIP + ":2380"
)

// layout names the files of one sandbox.
type layout struct{ dir string }

func (l layout) path(elem ...string) string {
	return filepath.Join(append([]string{l.dir}, elem...)...)
}

func (l layout) caCert() string         { return l.path("pki", "ca.crt") }
func (l layout) serverCert() string     { return l.path("pki", "apiserver.crt") }
func (l layout) serverKey() string      { return l.path("pki", "apiserver.key") }
func (l layout) tokenKey() string       { return l.path("pki", "service-accounts.key") }
func (l layout) tokens() string         { return l.path("pki", "tokens.csv") }
func (l layout) config(f string) string { return l.path("config", f) }

// Kubeconfig returns the path of a user's kubeconfig in a state directory: for
// use inside the sandbox, or from outside of it.
func Kubeconfig(dir, user string, outside bool) string {
	if outside {
		user += "-outside"
	}
	return filepath.Join(dir, "kubeconfigs", user+".yaml")
}

// make creates the directories. The state directory holds keys, so it is the
// user's alone.
func (l layout) make() error {
	for _, d := range []string{"pki", "config", "kubeconfigs", "logs", "etcd", "pods"} {
		if err := os.MkdirAll(l.path(d), 0o700); err != nil {
			return fmt.Errorf("cannot create state directory: %w", err)
		}
	}
	return nil
}

var validName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Dir returns the state directory of the sandbox with a name. It is short,
// because the paths of unix sockets are limited to 107 bytes.
func Dir(name string) (string, error) {
	if !validName.MatchString(name) {
		return "", fmt.Errorf("invalid --name %q: use 1 to 32 lower-case letters, digits and dashes", name)
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if base == "" {
		base = os.TempDir()
	}
	return filepath.Join(base, fmt.Sprintf("weir-sandbox-%d", os.Getuid()), name), nil
}
