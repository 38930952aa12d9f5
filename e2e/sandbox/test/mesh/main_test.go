//go:build e2e

package mesh

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// patience is how long a condition may take on a busy machine.
const patience = 60 * time.Second

// box is the sandbox that all tests share.
var box *sandbox

// sandbox is a running sandbox and ways to it.
type sandbox struct {
	cluster.Info
	binary  string
	control *control.Client
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
	if out, err := box.command(context.Background(), "down").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "cannot take the sandbox down: %v: %s\n", err, out)
		return 1
	}
	return code
}

// binaryPath returns the path of the built sandbox. Envoy must lie beside it;
// of istiod `up` says so itself.
func binaryPath() (string, error) {
	path := os.Getenv("WEIR_SANDBOX")
	if path == "" {
		cache := os.Getenv("WEIR_CACHE")
		if cache == "" {
			home, err := os.UserHomeDir()
			if err != nil {
				return "", fmt.Errorf("cannot find the cache: %w", err)
			}
			cache = filepath.Join(home, ".cache", "weir")
		}
		path = filepath.Join(cache, "bin", "sandbox")
	}
	for _, p := range []string{path, filepath.Join(filepath.Dir(path), "sandbox-envoy")} {
		if _, err := os.Stat(p); err != nil {
			return "", fmt.Errorf("run make all istiod envoy in the sandbox's directory first: %w", err)
		}
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
	s := &sandbox{binary: binary, Info: cluster.Info{Name: "mesh-" + pid}}
	out, err := s.command(ctx, "up", "--istio", "--owner-pid="+pid, "--no-prometheus", "--no-gateway", "--json").Output()
	if err != nil {
		if ended := new(exec.ExitError); errors.As(err, &ended) {
			err = fmt.Errorf("%w: %s", err, ended.Stderr)
		}
		return nil, err
	}
	if err := json.Unmarshal(out, &s.Info); err != nil {
		return nil, fmt.Errorf("cannot parse the output of up: %w", err)
	}
	s.control = control.NewClient(s.Dir)
	return s, nil
}

// command is a command of the sandbox's binary for this sandbox.
func (s *sandbox) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, s.binary, append([]string{"--name=" + s.Name}, args...)...)
}

// run runs a command that has to succeed and returns its output.
func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		if ended := new(exec.ExitError); errors.As(err, &ended) {
			err = fmt.Errorf("%w: %s", err, ended.Stderr)
		}
		t.Fatalf("%s: %v", strings.Join(cmd.Args[1:], " "), err)
	}
	return string(out)
}

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	for tick := time.Tick(50 * time.Millisecond); ; {
		now := check(ctx)
		if now == nil {
			return
		}
		// That time is over is not what was wrong.
		if err == nil || ctx.Err() == nil {
			err = now
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
