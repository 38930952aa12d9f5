// Package testbox is what the suites that test the sandbox share: a sandbox that
// is up, ways to it, workloads and loads in it. The suites need the built binaries
// and the build tag e2e.
package testbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// Sandbox is one that is up, and ways to it. Its methods may be called
// concurrently.
type Sandbox struct {
	cluster.Info
	// Binary is the path of the sandbox's own program.
	Binary  string
	Control *control.Client
	// Config is the administrator's, without a limit of its own: the sandbox is
	// there to be loaded. Kube is a client made of it.
	Config *rest.Config
	Kube   kubernetes.Interface
}

// Main is the TestMain of a suite: it brings a sandbox up with the given flags of
// `sandbox up`, hands it to prepare, runs the tests, takes the sandbox down and
// returns the exit code.
func Main(m *testing.M, name string, flags []string, prepare func(*Sandbox) error) (code int) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	s, err := Up(ctx, name, flags...)
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring the sandbox up:", err)
		return 1
	}
	defer func() {
		if err := s.Down(); err != nil {
			fmt.Fprintln(os.Stderr, "cannot take the sandbox down:", err)
			code = 1
		}
	}()
	if err := prepare(s); err != nil {
		fmt.Fprintln(os.Stderr, "cannot prepare the tests:", err)
		return 1
	}
	return m.Run()
}

// Binary is the path of the built sandbox: where WEIR_SANDBOX says, or where the
// Makefile builds it.
func Binary() (string, error) {
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
	if _, err := os.Stat(path); err != nil { //nolint:gosec // the developer says where it is
		return "", fmt.Errorf("cannot find the sandbox; run `make all` in its directory: %w", err)
	}
	return path, nil
}

// Name makes a name of a sandbox unique by process, so that suites may run side
// by side.
func Name(name string) string { return fmt.Sprintf("%s-%d", name, os.Getpid()) }

// Up brings a sandbox up that ends with this process at the latest.
func Up(ctx context.Context, name string, flags ...string) (*Sandbox, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	args := append([]string{"up", "--name=" + Name(name), "--json", "--owner-pid=" + strconv.Itoa(os.Getpid())}, flags...)
	out, err := Output(exec.CommandContext(ctx, binary, args...)) //nolint:gosec // the sandbox is whose tests these are
	if err != nil {
		return nil, err
	}
	return Open(binary, out)
}

// Open makes the ways to a sandbox of what `sandbox up --json` printed.
func Open(binary, printed string) (*Sandbox, error) {
	s := &Sandbox{Binary: binary}
	err := json.Unmarshal([]byte(printed), &s.Info)
	if err != nil {
		return nil, fmt.Errorf("cannot parse what sandbox up printed: %w", err)
	}
	s.Control = control.NewClient(s.Dir)
	if s.Config, err = clientcmd.BuildConfigFromFlags("", s.Kubeconfig); err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w", err)
	}
	s.Config.QPS = -1
	if s.Kube, err = kubernetes.NewForConfig(s.Config); err != nil {
		return nil, fmt.Errorf("cannot make a client: %w", err)
	}
	return s, nil
}

// Down ends the sandbox and everything in it.
func (s *Sandbox) Down() error {
	_, err := Output(s.Command(context.Background(), "down"))
	return err
}

// Command is a command of the sandbox's program for this sandbox.
func (s *Sandbox) Command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, s.Binary, append([]string{"--name=" + s.Name}, args...)...) //nolint:gosec // the sandbox is whose tests these are
}

// Run runs a command of the sandbox's program that has to succeed, and returns
// its standard output.
func (s *Sandbox) Run(t testing.TB, args ...string) string {
	t.Helper()
	return MustRun(t, s.Command(t.Context(), args...))
}

// MustRun runs a command that has to succeed, and returns its standard output.
func MustRun(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	out, err := Output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Output runs a command and returns its standard output. An error holds what it
// printed on standard error.
func Output(cmd *exec.Cmd) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("cannot run %s: %w: %s", strings.Join(cmd.Args, " "), err, errOut.String())
	}
	return out.String(), nil
}

// Patience is how long a condition may take on a busy machine.
const Patience = 90 * time.Second

// Eventually asks until the answer is no error. When that takes longer than
// Patience it fails the test with the last error.
func Eventually(t testing.TB, what string, ask func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var last error
	for tick := time.Tick(50 * time.Millisecond); ; {
		err := ask(ctx)
		if err == nil {
			return
		}
		// That time is over is not what was wrong.
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-tick:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s: %v", what, Patience, last)
		}
	}
}
