//go:build e2e

package test

import (
	"bytes"
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

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// patience is how long a condition may take on a busy machine.
const patience = 60 * time.Second

// shared is the sandbox that tests use which leave its components alone.
var shared *sandbox

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var err error
	shared, err = up(ctx, "test", "--bulk-nodes=2", "--scrape-interval=1s")
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring the sandbox up:", err)
		return 1
	}
	code := m.Run()
	if err := shared.down(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot take the sandbox down:", err)
		return 1
	}
	return code
}

// sandbox is a running sandbox and ways to it.
type sandbox struct {
	cluster.Info
	binary  string
	control *control.Client
	client  kubernetes.Interface
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
			return "", err
		}
		cache = filepath.Join(home, ".cache", "weir")
	}
	path := filepath.Join(cache, "bin", "sandbox")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("run make all in the sandbox's directory first: %w", err)
	}
	return path, nil
}

// up brings up a sandbox that ends with this test process at the latest.
func up(ctx context.Context, name string, flags ...string) (*sandbox, error) {
	binary, err := binaryPath()
	if err != nil {
		return nil, err
	}
	name = fmt.Sprintf("%s-%d", name, os.Getpid())
	args := append([]string{"up", "--name=" + name, "--json", "--owner-pid=" + strconv.Itoa(os.Getpid())}, flags...)
	out, err := run(exec.CommandContext(ctx, binary, args...))
	if err != nil {
		return nil, err
	}
	return open(binary, out)
}

// open makes the ways to a sandbox from what `up --json` printed.
func open(binary, upOutput string) (*sandbox, error) {
	s := &sandbox{binary: binary}
	if err := json.Unmarshal([]byte(upOutput), &s.Info); err != nil {
		return nil, fmt.Errorf("cannot parse the output of up: %w", err)
	}
	s.control = control.NewClient(s.Dir)
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	s.client, err = kubernetes.NewForConfig(config)
	return s, err
}

// command is a command of the sandbox's binary for this sandbox.
func (s *sandbox) command(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, s.binary, append([]string{"--name=" + s.Name}, args...)...)
}

func (s *sandbox) down() error {
	_, err := run(s.command(context.Background(), "down"))
	return err
}

// run runs a command and returns its standard output.
func run(cmd *exec.Cmd) (string, error) {
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[1:], " "), err, errOut.String())
	}
	return out.String(), nil
}

// mustRun is run for commands that have to succeed.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// errNotYet says that a condition does not hold yet.
var errNotYet = errors.New("not yet")

// eventually polls until check returns nil.
func eventually(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: %v", what, err)
		}
	}
}
