package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// pidFile holds the supervisor's process ID as seen outside.
const pidFile = "supervisor.pid"

// Down ends a sandbox and removes its state. It returns when the last process
// has ended. A sandbox that is not there is no error.
func Down(ctx context.Context, name string) error {
	dir, err := Dir(name)
	if err != nil {
		return err
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	pidfd, err := openSupervisor(dir)
	if err != nil {
		return err
	}
	if err := control.NewClient(dir).Shutdown(ctx); err != nil && pidfd >= 0 && supervisorAlive(pidfd) {
		// It hangs or is paused; its namespace ends with it all the same.
		_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
	if pidfd >= 0 {
		defer func() { _ = unix.Close(pidfd) }()
		if err := waitEnd(ctx, pidfd); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot remove the sandbox's state: %w", err)
	}
	// The directory above is shared by all sandboxes of the user; it goes with
	// the last one.
	_ = os.Remove(filepath.Dir(dir))
	return nil
}

// openSupervisor returns a pidfd of the supervisor, or -1 when it is gone.
func openSupervisor(dir string) (int, error) {
	data, err := os.ReadFile(filepath.Join(dir, pidFile))
	if err != nil {
		return -1, nil
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return -1, fmt.Errorf("cannot parse %s: %w", pidFile, err)
	}
	// The number may be another process's by now: a supervisor is recognised
	// by its directory on the command line.
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !strings.Contains(string(args), "--dir="+dir+"\x00") {
		return -1, nil
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return -1, nil
	}
	if err != nil {
		return -1, fmt.Errorf("cannot watch the supervisor: %w", err)
	}
	return fd, nil
}

func supervisorAlive(pidfd int) bool {
	ended, err := pollEnd(pidfd, 0)
	return err == nil && !ended
}

// waitEnd waits until the process of a pidfd has ended.
func waitEnd(ctx context.Context, pidfd int) error {
	for {
		ended, err := pollEnd(pidfd, 100)
		if err != nil {
			return fmt.Errorf("cannot wait for the supervisor: %w", err)
		}
		if ended {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("the supervisor has not ended: %w", ctx.Err())
		}
	}
}

func pollEnd(pidfd, milliseconds int) (bool, error) {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, milliseconds)
	if errors.Is(err, unix.EINTR) {
		return false, nil
	}
	return n > 0, err
}
