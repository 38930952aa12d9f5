package kubelet

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// process is a running program of a container.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	// code and signal are set when ended is closed. After a signal N the code
	// is 128+N, as shells and runtimes have it.
	code, signal int
}

// startProcess starts a program in a process group of its own, which dies with
// the kubelet.
func startProcess(path string, args, env []string, dir string, log io.Writer) (*process, error) {
	cmd := &exec.Cmd{
		Path:        path,
		Args:        append([]string{path}, args...),
		Env:         env,
		Dir:         dir,
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	p := &process{cmd: cmd, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		p.code = cmd.ProcessState.ExitCode()
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			p.signal = int(ws.Signal())
			p.code = 128 + p.signal
		}
		close(p.ended)
	}()
	return p, nil
}

// askToEnd sends SIGTERM to the program itself, as a container runtime does to
// process 1.
func (p *process) askToEnd() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// killAll kills the program and what it started, and waits for it. Children
// outlive a program that ended by itself, so it is called in any case.
func (p *process) killAll() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	<-p.ended
}

// exec runs a command in the container's environment, for probes and hooks.
func (p *process) exec(ctx context.Context, command []string) error {
	path, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("cannot run: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, command[1:]...) //nolint:gosec // a pod says what it runs
	cmd.Env = p.cmd.Env
	cmd.Dir = p.cmd.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", command[0], err, truncate(string(out), 256))
	}
	return nil
}

func truncate(s string, most int) string {
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}

// directory makes sure a pod's directory exists; programs start there.
func directory(path string) (string, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("cannot create the pod's directory: %w", err)
	}
	return path, nil
}
