// Package harness runs suites against a sandbox, which is a real Kubernetes
// control plane on this machine.
package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// User is somebody whom the sandbox's API server knows.
type User string

// The users of a sandbox.
const (
	// Admin may do everything.
	Admin User = "admin"
	// Weir is the controller's ServiceAccount, with the rights of the chart.
	Weir User = "weir"
	// Alice and Bob are in group sre-leads, Carol in group devs.
	Alice User = "alice"
	Bob   User = "bob"
	Carol User = "carol"
	// GitOps is a robot that applies manifests.
	GitOps User = "gitops"
)

// Sandbox is one that is up.
type Sandbox struct {
	// Name tells it apart from others on this machine, Dir holds its state.
	Name, Dir string
	// GatewayURL and PrometheusURL work from this process; empty where that part
	// was left out.
	GatewayURL, PrometheusURL string
	// AuditLog is the file in which the API server says who wrote what.
	AuditLog string
	// KubeProxy says whether ClusterIPs work.
	KubeProxy bool
}

// Up starts a sandbox with the given flags of `sandbox up` and returns when all
// of it works. It ends with this process at the latest.
func Up(ctx context.Context, name string, flags ...string) (*Sandbox, error) {
	// Names are unique by process, so that suites may run side by side.
	s := &Sandbox{Name: fmt.Sprintf("%s-%d", name, os.Getpid())}
	args := append([]string{"up", "--json", "--owner-pid=" + strconv.Itoa(os.Getpid())}, flags...)
	out, err := s.run(ctx, args...)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(out, s); err != nil {
		return nil, fmt.Errorf("cannot read what sandbox up printed: %w", err)
	}
	return s, nil
}

// Down ends the sandbox and everything in it.
func (s *Sandbox) Down(ctx context.Context) error {
	_, err := s.run(ctx, "down")
	return err
}

// Kubeconfig is the path of a user's kubeconfig.
func (s *Sandbox) Kubeconfig(u User) string {
	return filepath.Join(s.Dir, "kubeconfigs", string(u)+"-outside.yaml")
}

// Config is a user's client configuration, without limits of its own: the
// sandbox is there to be loaded.
func (s *Sandbox) Config(u User) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig(u))
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig of %s: %w", u, err)
	}
	config.QPS = -1
	// Warnings are for people; suites that expect one run kubectl.
	config.WarningHandler = rest.NoWarnings{}
	return config, nil
}

// Client is a user's client.
func (s *Sandbox) Client(u User, options client.Options) (client.Client, error) {
	config, err := s.Config(u)
	if err != nil {
		return nil, err
	}
	c, err := client.New(config, options)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client for %s: %w", u, err)
	}
	return c, nil
}

// Kubectl runs the real kubectl as a user, with stdin as its input, and returns
// what it printed: on stderr it prints warnings, too. An error holds stderr.
func (s *Sandbox) Kubectl(ctx context.Context, u User, stdin string, args ...string) (stdout, stderr string, err error) {
	cmd, err := command(ctx, "sandbox-controlplane", append([]string{"kubectl", "--kubeconfig", s.Kubeconfig(u)}, args...)...)
	if err != nil {
		return "", "", err
	}
	var out, warnings bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &warnings
	if err := cmd.Run(); err != nil {
		return out.String(), warnings.String(), fmt.Errorf("cannot run kubectl %s: %w: %s", strings.Join(args, " "), err, warnings.String())
	}
	return out.String(), warnings.String(), nil
}

// Run runs a command of the sandbox, such as `stop kube-apiserver`, and returns
// what it printed.
func (s *Sandbox) Run(ctx context.Context, args ...string) (string, error) {
	out, err := s.run(ctx, args...)
	return string(out), err
}

func (s *Sandbox) run(ctx context.Context, args ...string) ([]byte, error) {
	cmd, err := command(ctx, "sandbox", append([]string{"--name", s.Name}, args...)...)
	if err != nil {
		return nil, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("cannot run sandbox %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// command prepares one of the sandbox's binaries.
func command(ctx context.Context, binary string, args ...string) (*exec.Cmd, error) {
	path, err := Binary(binary)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, path, args...), nil //nolint:gosec // the sandbox is whose tests these are
}

// Main is the TestMain of a suite: it starts a sandbox, prepares it, runs the
// tests, and ends it. A sandbox that does not start fails the suite.
func Main(m *testing.M, name string, flags []string, prepare func(context.Context, *Sandbox) error) (code int) {
	flag.Parse()
	if flag.Lookup("test.list").Value.String() != "" {
		return m.Run() // The names of the tests can be had without a sandbox.
	}
	ctx := context.Background()
	// What clients log is of no use to a test; unset, it would be complained of.
	log.SetLogger(logr.Discard())
	s, err := Up(ctx, name, flags...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := s.Down(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	if err := prepare(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, fmt.Errorf("cannot prepare sandbox %s: %w", s.Name, err))
		return 1
	}
	return m.Run()
}
