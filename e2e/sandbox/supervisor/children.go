package supervisor

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children starts and reaps processes. Those started here are waited for by
// their own goroutine; orphans that the kernel hands to the supervisor are
// reaped by reapOrphans. The lock keeps the two apart: no child can start and
// end unseen between the moment it exists and the moment it is known.
type children struct {
	mu    sync.Mutex
	known map[int]bool
	// ended wakes reapOrphans when a known child has been reaped, as an
	// orphan may be queued behind it.
	ended chan struct{}
}

func newChildren() *children {
	return &children{known: map[int]bool{}, ended: make(chan struct{}, 1)}
}

func (c *children) start(cmd *exec.Cmd) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	c.known[cmd.Process.Pid] = true
	return nil
}

// wait waits for a child from start and returns its exit code, 128+N when
// signal N ended it.
func (c *children) wait(cmd *exec.Cmd) int {
	err := cmd.Wait()
	c.mu.Lock()
	delete(c.known, cmd.Process.Pid)
	c.mu.Unlock()
	select {
	case c.ended <- struct{}{}:
	default:
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// reapOrphans never returns.
func (c *children) reapOrphans() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGCHLD)
	for {
		for c.reapOne() {
		}
		select {
		case <-signals:
		case <-c.ended:
		}
	}
}

// reapOne reaps one ended orphan. It reports false when there is none, or when
// the first ended child is one that somebody else waits for.
func (c *children) reapOne() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var info unix.Siginfo
	err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	pid := siginfoPID(&info)
	if err != nil || pid == 0 || c.known[pid] {
		return false
	}
	_, err = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	return err == nil
}

// siginfoPID reads the field si_pid, the first after the header of a siginfo.
// The header is three ints, padded to a word.
func siginfoPID(info *unix.Siginfo) int {
	const header = (3*4 + unsafe.Sizeof(uintptr(0)) - 1) / unsafe.Sizeof(uintptr(0)) * unsafe.Sizeof(uintptr(0))
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), header))) //nolint:gosec // golang.org/x/sys has no accessor
}
