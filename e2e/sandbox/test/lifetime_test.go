//go:build e2e

package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// small leaves out all that a test of the sandbox's life does not need.
var small = []string{"--nodes=1", "--no-prometheus", "--no-gateway", "--no-audit"}

// However a sandbox ends, it leaves no process and no file behind.
func TestNothingIsLeft(t *testing.T) {
	cases := []struct {
		name   string
		reason string
		end    func(t *testing.T, s *testbox.Sandbox, owner *exec.Cmd)
	}{
		{
			name:   "down",
			reason: "down ends it",
			end: func(t *testing.T, s *testbox.Sandbox, _ *exec.Cmd) {
				if err := s.Down(); err != nil {
					t.Fatal(err)
				}
				// There is nothing to wait for.
				if left := processesWith(t, s.Dir); len(left) > 0 {
					t.Errorf("processes left when down returned: %q", left)
				}
			},
		},
		{
			name:   "owner died",
			reason: "the test run that owns it was killed",
			end: func(t *testing.T, _ *testbox.Sandbox, owner *exec.Cmd) {
				if err := owner.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			},
		},
		{
			name:   "supervisor died",
			reason: "down clears what a killed supervisor could not",
			end: func(t *testing.T, s *testbox.Sandbox, _ *exec.Cmd) {
				data, err := os.ReadFile(filepath.Join(s.Dir, "supervisor.pid"))
				if err != nil {
					t.Fatal(err)
				}
				pid, err := strconv.Atoi(string(data))
				if err != nil {
					t.Fatal(err)
				}
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
				waitNoProcess(t, s.Dir)
				if err := s.Down(); err != nil {
					t.Fatal(err)
				}
			},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			owner := exec.Command("sleep", "600")
			if err := owner.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = owner.Process.Kill()
				_ = owner.Wait()
			})
			s := upAs(t, nil, "left-"+strings.ReplaceAll(c.name, " ", "-"), append(small, "--owner-pid="+strconv.Itoa(owner.Process.Pid))...)
			leaveOrphan(t, s)
			c.end(t, s, owner)
			waitNoProcess(t, s.Dir)
			testbox.Eventually(t, c.reason+": end of the state directory", func(context.Context) error {
				if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
					return fmt.Errorf("%w: %s is there", errNotYet, s.Dir)
				}
				return nil
			})
		})
	}
}

// leaveOrphan starts a process inside that would rather stay.
func leaveOrphan(t *testing.T, s *testbox.Sandbox) {
	t.Helper()
	mark := "orphan" + s.Dir // its $0
	script := `setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 1; done' ` + mark + ` >/dev/null 2>&1 &`
	s.Run(t, "exec", "--", "sh", "-c", script)
	testbox.Eventually(t, "the orphan", func(context.Context) error {
		if len(processesWith(t, mark)) == 0 {
			return errNotYet
		}
		return nil
	})
}

// Where parts of /proc are hidden, as in most containers, the kernel allows no
// process namespace with a /proc of its own. The sandbox then does without, and
// still leaves nothing.
func TestHiddenProc(t *testing.T) {
	binary, err := testbox.Binary()
	if err != nil {
		t.Fatal(err)
	}
	name := testbox.Name("hidden")
	// What is mounted over in the outer namespace cannot be uncovered in the
	// inner one; that is what makes the kernel refuse.
	script := `mount --bind /dev/null /proc/keys && exec unshare -Urm "$@"`
	args := append([]string{"-Urm", "sh", "-c", script, "sh", binary, "up", "--json", "--name=" + name}, small...)
	out := testbox.MustRun(t, exec.CommandContext(t.Context(), "unshare", args...))
	s, err := testbox.Open(binary, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(); err != nil {
			t.Error(err)
		}
	})
	supervisor, err := os.ReadFile(filepath.Join(s.Dir, "supervisor.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if inside := s.Run(t, "exec", "--", "sh", "-c", "echo $PPID"); strings.TrimSpace(inside) != string(supervisor) {
		t.Fatalf("the supervisor is process %s inside and %s outside: there is a process namespace, so the test proves nothing", inside, supervisor)
	}
	leaveOrphan(t, s)
	if err := s.Down(); err != nil {
		t.Fatal(err)
	}
	if left := processesWith(t, s.Dir); len(left) > 0 {
		t.Errorf("processes left when down returned: %q", left)
	}
}

// A caller that dies before its sandbox is complete takes it along.
func TestUnfinished(t *testing.T) {
	binary, err := testbox.Binary()
	if err != nil {
		t.Fatal(err)
	}
	name := testbox.Name("unfinished")
	dir, err := cluster.Dir(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"up", "--name=" + name}, small...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "the first processes", func(context.Context) error {
		if len(processesWith(t, dir)) < 2 {
			return errNotYet
		}
		return nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitNoProcess(t, dir)
}

// A sandbox needs no rights: as root the test gives them up.
func TestUnprivileged(t *testing.T) {
	var credential *syscall.Credential
	if os.Getuid() == 0 {
		credential = &syscall.Credential{Uid: 65534, Gid: 65534, NoSetGroups: false}
	}
	s := upAs(t, credential, "unprivileged", small...)
	t.Cleanup(func() {
		cmd := s.Command(context.Background(), "down")
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
		if _, err := testbox.Output(cmd); err != nil {
			t.Error(err)
		}
		waitNoProcess(t, s.Dir)
	})
	if _, err := s.Kube.CoreV1().Pods("default").Create(t.Context(), pod("plain", "sleep 600"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "pod", func(ctx context.Context) error {
		p, err := s.Kube.CoreV1().Pods("default").Get(ctx, "plain", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if got := summarize(p); got != (summary{Phase: corev1.PodRunning, Ready: true}) {
			return fmt.Errorf("%w: %+v", errNotYet, got)
		}
		return nil
	})
}

func waitNoProcess(t *testing.T, dir string) {
	t.Helper()
	testbox.Eventually(t, "end of all processes", func(context.Context) error {
		if left := processesWith(t, dir); len(left) > 0 {
			return fmt.Errorf("%w: %q", errNotYet, left)
		}
		return nil
	})
}

// upAs brings a sandbox up as another user, who needs binaries that everybody
// may read.
func upAs(t *testing.T, credential *syscall.Credential, name string, flags ...string) *testbox.Sandbox {
	t.Helper()
	binary, err := testbox.Binary()
	if err != nil {
		t.Fatal(err)
	}
	if credential != nil {
		binary = publish(t, binary)
	}
	cmd := exec.CommandContext(t.Context(), binary, append([]string{"up", "--name=" + testbox.Name(name), "--json"}, flags...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	cmd.Dir = "/"
	out := testbox.MustRun(t, cmd)
	s, err := testbox.Open(binary, out)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// publish links the binaries into a directory that everybody may enter.
func publish(t *testing.T, binary string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-sandbox-bin-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sandbox", "sandbox-controlplane"} {
		from := filepath.Join(filepath.Dir(binary), name)
		if _, err := testbox.Output(exec.CommandContext(t.Context(), "cp", "--reflink=auto", from, dir)); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "sandbox")
}
