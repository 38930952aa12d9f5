package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// Config is what a supervisor is started with.
type Config struct {
	// Dir is the state directory. The supervisor removes it when it ends.
	Dir string
	// Lifeline is the reading end of a pipe whose writing end the creator
	// holds. If it closes before the creator says detach, the creator has
	// died and the unfinished sandbox goes with it.
	Lifeline *os.File
	// Owner is a pidfd, or nil. The sandbox ends when that process ends.
	Owner *os.File
	// Forwards are listeners opened outside the namespace.
	Forwards []Forward
}

// Forward serves connections from outside with an address inside.
type Forward struct {
	Listener net.Listener
	// Address is host:port inside the sandbox.
	Address string
}

// Run sets up the namespace and serves until it is told to shut down, by
// request, by signal, or by the death of the owner. It then ends all processes
// and removes the state directory.
func Run(cfg Config) error {
	if err := setUpProcesses(); err != nil {
		return err
	}
	if err := setUpNetwork(); err != nil {
		return err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(cfg.Dir, control.SocketName), Net: "unix"})
	if err != nil {
		return fmt.Errorf("cannot listen for control requests: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	ctx, shutdown := context.WithCancelCause(ctx)
	detached := make(chan struct{})

	s := &server{
		dir:      cfg.Dir,
		children: newChildren(),
		detach:   sync.OnceFunc(func() { close(detached) }),
		shutdown: func() { shutdown(errors.New("asked to")) },
	}
	go s.children.reapOrphans()
	go watchCreator(cfg.Lifeline, detached, shutdown)
	if cfg.Owner != nil {
		go watchOwner(cfg.Owner, shutdown)
	}
	for _, f := range cfg.Forwards {
		go f.serve()
	}
	go s.serve(listener)

	<-ctx.Done()
	log.Printf("shutting down: %v", context.Cause(ctx))
	s.stopAll()
	killOrphans()
	if err := os.RemoveAll(cfg.Dir); err != nil {
		return fmt.Errorf("cannot remove the state: %w", err)
	}
	// The directory above is shared by the user's sandboxes and goes with the
	// last one.
	_ = os.Remove(filepath.Dir(cfg.Dir))
	return nil
}

// watchCreator shuts the sandbox down when the lifeline breaks too early.
func watchCreator(lifeline *os.File, detached <-chan struct{}, shutdown context.CancelCauseFunc) {
	_, _ = io.Copy(io.Discard, lifeline)
	select {
	case <-detached:
	default:
		shutdown(errors.New("the process that creates the sandbox ended before it was complete"))
	}
}

// watchOwner shuts the sandbox down when the owner ends: a pidfd becomes
// readable then, from whichever namespace one looks.
func watchOwner(pidfd *os.File, shutdown context.CancelCauseFunc) {
	fds := []unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		shutdown(errors.New("the owner ended"))
		return
	}
}

// killOrphans ends what stopAll left: children of processes that have ended.
// As process 1 the kernel does it when we exit. Otherwise they are children of
// ours (we adopt orphans), and are killed until none is left.
func killOrphans() {
	if os.Getpid() == 1 {
		return
	}
	for {
		pids := childPIDs()
		if len(pids) == 0 {
			return
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, 0, nil) // ECHILD when reapOrphans was faster
		}
	}
}

// childPIDs lists this process's children.
func childPIDs() []int {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	var pids []int
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		if err != nil {
			continue // that thread has ended
		}
		for _, field := range strings.Fields(string(data)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// serve copies between each connection and a new one to the inside.
func (f Forward) serve() {
	for {
		outside, err := f.Listener.Accept()
		if err != nil {
			return
		}
		go func() {
			inside, err := net.Dial("tcp", f.Address)
			if err != nil {
				_ = outside.Close()
				return
			}
			Pipe(outside, inside)
		}()
	}
}

// Pipe copies both ways between two connections until both directions have
// ended, then closes them. The end of one direction is passed on, so that
// half-closed connections work.
func Pipe(a, b net.Conn) {
	var wg sync.WaitGroup
	oneWay := func(dst, src net.Conn) {
		_, _ = io.Copy(dst, src)
		if half, ok := dst.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
	}
	wg.Go(func() { oneWay(a, b) })
	wg.Go(func() { oneWay(b, a) })
	wg.Wait()
	_ = a.Close()
	_ = b.Close()
}

// IsNoProcMount reports whether Run failed for want of a /proc of its own.
func IsNoProcMount(err error) bool { return errors.Is(err, errNoProcMount) }
