//go:build e2e

package linkerd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// patience is how long a condition may take on a busy machine.
const patience = 60 * time.Second

// box is the sandbox of the tests.
var box *sandbox

// sandbox is a running sandbox and ways to it.
type sandbox struct {
	cluster.Info
	binary  string
	control *control.Client
	core    kubernetes.Interface
	dynamic dynamic.Interface
	// linkerd hears what the destination controller tells proxies.
	linkerd *destination.Client
}

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	if box, err = up(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring the sandbox up:", err)
		return 1
	}
	code := m.Run()
	if out, err := exec.Command(box.binary, "--name="+box.Name, "down").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot take the sandbox down: %v: %s\n", err, out)
		return 1
	}
	return code
}

// binaryPath returns the path of the built sandbox.
func binaryPath() (string, error) {
	if path := os.Getenv("WEIR_SANDBOX"); path != "" {
		return path, nil
	}
	cache := os.Getenv("WEIR_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find the cache: %w", err)
		}
		cache = filepath.Join(home, ".cache", "weir")
	}
	path := filepath.Join(cache, "bin", "sandbox")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("run make all linkerd in the sandbox's directory first: %w", err)
	}
	return path, nil
}

// up brings up a sandbox that ends with this test process at the latest.
func up(ctx context.Context) (*sandbox, error) {
	binary, err := binaryPath()
	if err != nil {
		return nil, err
	}
	pid := strconv.Itoa(os.Getpid())
	out, err := exec.CommandContext(ctx, binary, "up", "--name=linkerd-"+pid, "--owner-pid="+pid,
		"--linkerd", "--no-prometheus", "--no-gateway", "--json").Output()
	if err != nil {
		if ended := new(exec.ExitError); errors.As(err, &ended) {
			err = fmt.Errorf("%w: %s", err, ended.Stderr)
		}
		return nil, err
	}
	s := &sandbox{binary: binary}
	if err := json.Unmarshal(out, &s.Info); err != nil {
		return nil, fmt.Errorf("cannot parse the output of up: %w", err)
	}
	s.control = control.NewClient(s.Dir)
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w", err)
	}
	config.QPS = -1
	var err1, err2, err3 error
	s.core, err1 = kubernetes.NewForConfig(config)
	s.dynamic, err2 = dynamic.NewForConfig(config)
	s.linkerd, err3 = destination.New(s.InsideLinkerdAddress, s.control.DialContext, slog.New(slog.DiscardHandler))
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, fmt.Errorf("cannot make a client: %w", err)
	}
	return s, nil
}

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for tick := time.Tick(20 * time.Millisecond); ; {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
