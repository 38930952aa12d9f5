package supervisor

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// process is one supervised process over all its starts. Its fields are guarded
// by mu; a start and the end of one are the only changes.
type process struct {
	mu      sync.Mutex
	spec    control.Process
	logPath string
	cmd     *exec.Cmd     // nil when not running
	done    chan struct{} // closed when cmd has ended
	started time.Time
	starts  int
	paused  bool
	exit    int
}

var errNotRunning = errors.New("not running")

// start runs the process. Output goes to the end of its log, so that the log
// shows all starts.
func (p *process) start(children *children) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return errors.New("already running")
	}
	log, err := os.OpenFile(p.logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open log: %w", err)
	}
	defer func() { _ = log.Close() }()

	cmd := &exec.Cmd{
		Path:        p.spec.Path,
		Args:        append([]string{p.spec.Path}, p.spec.Args...),
		Env:         p.spec.Env,
		Dir:         p.spec.Dir,
		Stdout:      log,
		Stderr:      log,
		SysProcAttr: childAttr(),
	}
	if err := children.start(cmd); err != nil {
		return fmt.Errorf("cannot start: %w", err)
	}
	done := make(chan struct{})
	p.cmd, p.done, p.started, p.paused = cmd, done, time.Now(), false
	p.starts++
	go func() {
		code := children.wait(cmd)
		p.mu.Lock()
		p.cmd, p.paused, p.exit = nil, false, code
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// childAttr gives each process a group of its own, so a signal for the
// supervisor's group does not reach it, and ties its life to the supervisor's.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// signal sends sig to the process alone: pausing the kubelet must not pause the
// containers it started.
func (p *process) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return errNotRunning
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("cannot send signal %d: %w", sig, err)
	}
	if sig == syscall.SIGSTOP || sig == syscall.SIGCONT {
		p.paused = sig == syscall.SIGSTOP
	}
	return nil
}

// stop ends the process and waits until it has ended: SIGTERM first, SIGKILL
// after grace. With zero grace SIGKILL comes at once. Stopping an ended process
// is no error.
func (p *process) stop(grace time.Duration) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	if grace > 0 {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Process.Signal(syscall.SIGCONT) // a paused process acts on nothing else
		select {
		case <-done:
			return
		case <-time.After(grace):
		}
	}
	_ = cmd.Process.Kill()
	<-done
}

// status reports the process as it is now.
func (p *process) status() control.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := control.Status{
		Name:      p.spec.Name,
		State:     control.Exited,
		Started:   p.started,
		Starts:    p.starts,
		Log:       p.logPath,
		Component: p.spec.Component,
	}
	if p.cmd == nil {
		s.ExitCode = p.exit
		return s
	}
	s.State = control.Running
	if p.paused {
		s.State = control.Paused
	}
	s.PID = p.cmd.Process.Pid
	// The process may end between the look at p.cmd and this one; its usage
	// is then left at zero.
	s.CPU, s.RSS, _ = usage(s.PID)
	return s
}

func newProcess(dir string, spec control.Process) *process {
	return &process{spec: spec, logPath: filepath.Join(dir, "logs", spec.Name+".log")}
}
