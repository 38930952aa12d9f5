package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// server answers control requests. Processes are kept for the life of the
// sandbox, also after they ended, so that they can be started again.
type server struct {
	dir      string
	children *children
	// detach and shutdown are called at most once each, from any goroutine.
	detach   func()
	shutdown func()

	mu        sync.Mutex
	processes []*process
	closing   bool
}

// serve accepts connections until the listener closes.
func (s *server) serve(l *net.UnixListener) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return
		}
		go s.handle(control.NewWire(conn))
	}
}

// handle answers one request, the only one on its connection.
func (s *server) handle(w *control.Wire) {
	defer func() { _ = w.Close() }()
	var q control.Request
	files, err := w.Receive(&q)
	if err != nil {
		return // the client went away or does not speak the protocol
	}
	defer closeAll(files)
	switch q.Op {
	case control.OpExec:
		s.exec(w, q, files)
	case control.OpDial, control.OpListen:
		f, err := open(q)
		if err != nil {
			_ = w.Send(control.Response{Error: err.Error()})
			return
		}
		_ = w.Send(control.Response{}, f)
		_ = f.Close()
	case control.OpShutdown:
		s.stopAll()
		_ = w.Send(control.Response{})
		s.shutdown()
	default:
		r, err := s.answer(q)
		if err != nil {
			r.Error = err.Error()
		}
		_ = w.Send(r)
	}
}

// answer carries out requests about processes.
func (s *server) answer(q control.Request) (control.Response, error) {
	switch q.Op {
	case control.OpStatus:
		return control.Response{Processes: s.status()}, nil
	case control.OpDetach:
		s.detach()
		return control.Response{}, nil
	case control.OpStart:
		return control.Response{}, s.startProcess(q)
	default:
	}
	p, err := s.find(q.Name)
	if err != nil {
		return control.Response{}, err
	}
	if err := s.act(p, q); err != nil {
		return control.Response{}, fmt.Errorf("cannot %s %s: %w", q.Op, q.Name, err)
	}
	return control.Response{}, nil
}

// act carries out a request about one process.
func (s *server) act(p *process, q control.Request) error {
	grace := q.Grace
	if grace == 0 {
		grace = control.DefaultGrace
	}
	switch q.Op {
	case control.OpSignal:
		return p.signal(syscall.Signal(q.Signal))
	case control.OpPause:
		return p.signal(syscall.SIGSTOP)
	case control.OpResume:
		return p.signal(syscall.SIGCONT)
	case control.OpKill:
		p.stop(0)
		return nil
	case control.OpStop:
		p.stop(grace)
		return nil
	case control.OpRestart:
		p.stop(grace)
		return p.start(s.children)
	default:
		return errors.New("unknown request")
	}
}

// startProcess starts a new process, or an ended one again: with its old
// command, or with a new one under the old name.
func (s *server) startProcess(q control.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return errors.New("the sandbox is shutting down")
	}
	i := slices.IndexFunc(s.processes, func(p *process) bool { return p.spec.Name == q.Name })
	switch {
	case i < 0 && q.Process == nil:
		return fmt.Errorf("cannot start %s: no process of that name; give a command", q.Name)
	case i < 0:
		p := newProcess(s.dir, *q.Process)
		if err := p.start(s.children); err != nil {
			return fmt.Errorf("cannot start %s: %w", q.Name, err)
		}
		s.processes = append(s.processes, p)
		return nil
	}
	p := s.processes[i]
	if q.Process != nil {
		p.replaceSpec(*q.Process)
	}
	if err := p.start(s.children); err != nil {
		return fmt.Errorf("cannot start %s: %w", q.Name, err)
	}
	return nil
}

// replaceSpec sets the command for the next start.
func (p *process) replaceSpec(spec control.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		p.spec = spec
	}
}

func (s *server) find(name string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		if p.spec.Name == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("no process %q; `sandbox status` lists them", name)
}

func (s *server) status() []control.Status {
	s.mu.Lock()
	processes := slices.Clone(s.processes)
	s.mu.Unlock()
	statuses := make([]control.Status, 0, len(processes))
	for _, p := range processes {
		statuses = append(statuses, p.status())
	}
	return statuses
}

// exec runs a process attached to the client's standard files. The client may
// send signals; when it goes away, the process is killed.
func (s *server) exec(w *control.Wire, q control.Request, files []*os.File) {
	if q.Process == nil || len(files) != 3 {
		_ = w.Send(control.Response{Error: "exec needs a process and three file descriptors"})
		return
	}
	cmd := &exec.Cmd{
		Path:  q.Process.Path,
		Args:  append([]string{q.Process.Path}, q.Process.Args...),
		Env:   q.Process.Env,
		Dir:   q.Process.Dir,
		Stdin: files[0], Stdout: files[1], Stderr: files[2],
		SysProcAttr: childAttr(),
	}
	if err := s.children.start(cmd); err != nil {
		_ = w.Send(control.Response{Error: fmt.Sprintf("cannot run %s: %v", q.Process.Path, err)})
		return
	}
	_ = w.Send(control.Response{})
	go func() {
		for {
			var q control.Request
			if _, err := w.Receive(&q); err != nil {
				_ = cmd.Process.Kill() // no effect if it has ended
				return
			}
			_ = cmd.Process.Signal(syscall.Signal(q.Signal))
		}
	}()
	code := s.children.wait(cmd)
	_ = w.Send(control.Response{ExitCode: &code})
}

// open dials or listens inside the sandbox and returns the socket.
func open(q control.Request) (*os.File, error) {
	if q.Op == control.OpListen {
		l, err := net.Listen(q.Network, q.Address)
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }()
		tcp, ok := l.(*net.TCPListener)
		if !ok {
			return nil, fmt.Errorf("cannot hand over a listener on %q", q.Network)
		}
		return tcp.File()
	}
	var d net.Dialer
	if q.LocalAddress != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(q.LocalAddress)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), control.DefaultGrace)
	defer cancel()
	conn, err := d.DialContext(ctx, q.Network, q.Address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	f, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("cannot hand over a connection on %q", q.Network)
	}
	return f.File()
}

// stopAll ends every process: what the user started in an orderly way (it may
// write a profile or coverage data at its end), the components at once.
func (s *server) stopAll() {
	s.mu.Lock()
	s.closing = true
	processes := slices.Clone(s.processes)
	s.mu.Unlock()
	for _, component := range []bool{false, true} {
		var wg sync.WaitGroup
		for _, p := range processes {
			if p.spec.Component != component {
				continue
			}
			wg.Go(func() {
				if component {
					p.stop(0)
				} else {
					p.stop(control.DefaultGrace)
				}
			})
		}
		wg.Wait()
	}
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
