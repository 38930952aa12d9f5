package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/supervisor"
)

// launched is a supervisor whose sandbox is not complete yet.
type launched struct {
	cmd *exec.Cmd
	// lifeline is the end of the pipe that the supervisor watches.
	lifeline *os.File
	ended    chan struct{}
}

// launch starts the supervisor in its namespaces and waits until it answers.
func launch(ctx context.Context, l layout, opts Options, b Binaries, p ports) (*launched, error) {
	s, err := launchIn(ctx, true, l, opts, b, p)
	if errors.Is(err, errNoProcMount) {
		s, err = launchIn(ctx, false, l, opts, b, p)
	}
	return s, err
}

var errNoProcMount = errors.New("cannot mount /proc")

func launchIn(ctx context.Context, withPID bool, l layout, opts Options, b Binaries, p ports) (*launched, error) {
	log, err := os.Create(l.path("logs", "supervisor.log"))
	if err != nil {
		return nil, fmt.Errorf("cannot create the supervisor's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	lifelineIn, lifeline, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot create a pipe: %w", err)
	}
	defer func() { _ = lifelineIn.Close() }()

	cmd := exec.Command(b.Sandbox, "supervise", "--dir="+l.dir) //nolint:gosec // this very binary
	cmd.Env = componentEnv()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = supervisor.NamespaceAttr(withPID)
	inherit := func(flag string, f *os.File) {
		// The first extra file is descriptor 3 in the child.
		fd := 3 + len(cmd.ExtraFiles)
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
		cmd.Args = append(cmd.Args, flag+strconv.Itoa(fd))
	}
	inherit("--lifeline=", lifelineIn)
	files, err := inheritAll(inherit, opts, p)
	defer closeAll(files)
	if err != nil {
		return nil, errors.Join(err, lifeline.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(explainClone(err), lifeline.Close())
	}
	s := &launched{cmd: cmd, lifeline: lifeline, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		close(s.ended)
	}()
	if err := s.waitReady(ctx, l); err != nil {
		s.abandon()
		return nil, err
	}
	return s, os.WriteFile(l.path(pidFile), []byte(strconv.Itoa(cmd.Process.Pid)), 0o600)
}

// inheritAll passes the owner's pidfd and the listeners on.
func inheritAll(inherit func(string, *os.File), opts Options, p ports) ([]*os.File, error) {
	var files []*os.File
	if opts.OwnerPID != 0 {
		fd, err := unix.PidfdOpen(opts.OwnerPID, 0)
		if err != nil {
			return nil, fmt.Errorf("cannot watch --owner-pid %d: %w", opts.OwnerPID, err)
		}
		owner := os.NewFile(uintptr(fd), "owner")
		files = append(files, owner)
		inherit("--owner=", owner)
	}
	for address, listener := range p.forwards() {
		f, err := listener.File()
		if err != nil {
			return files, fmt.Errorf("cannot pass a listener on: %w", err)
		}
		files = append(files, f)
		inherit("--forward="+address+"=", f)
	}
	return files, nil
}

func explainClone(err error) error {
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("cannot create namespaces: run as root, or allow unprivileged user namespaces "+
			"(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns): %w", err)
	}
	return fmt.Errorf("cannot start the supervisor: %w", err)
}

func (s *launched) waitReady(ctx context.Context, l layout) error {
	client := control.NewClient(l.dir)
	return wait.PollUntilContextCancel(ctx, 5*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		select {
		case <-s.ended:
			if s.cmd.ProcessState.ExitCode() == supervisor.ExitNoProcMount {
				return false, errNoProcMount
			}
			return false, fmt.Errorf("the supervisor ended: %s", tail(l.path("logs", "supervisor.log")))
		default:
		}
		_, err := client.Status(ctx)
		return err == nil, nil
	})
}

// release lets the sandbox live on.
func (s *launched) release(ctx context.Context, client *control.Client) error {
	if err := client.Detach(ctx); err != nil {
		return err
	}
	return s.lifeline.Close()
}

// abandon breaks the lifeline, which ends the sandbox, and waits for that.
func (s *launched) abandon() {
	_ = s.lifeline.Close()
	<-s.ended
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
