package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// Client talks to the supervisor of one sandbox. It holds no connection; every
// call opens one. Methods may be called concurrently.
type Client struct {
	socket string
}

// NewClient returns a client for the sandbox whose state is in dir.
func NewClient(dir string) *Client {
	return &Client{socket: filepath.Join(dir, SocketName)}
}

// Status reports all supervised processes in the order of their first start.
func (c *Client) Status(ctx context.Context) ([]Status, error) {
	r, err := c.call(ctx, Request{Op: OpStatus})
	return r.Processes, err
}

// Start starts a process. It does not wait for it to be ready.
func (c *Client) Start(ctx context.Context, p Process) error {
	_, err := c.call(ctx, Request{Op: OpStart, Name: p.Name, Process: &p})
	return err
}

// StartAgain starts an ended process with the command it had before.
func (c *Client) StartAgain(ctx context.Context, name string) error {
	_, err := c.call(ctx, Request{Op: OpStart, Name: name})
	return err
}

// Stop asks a process to end (SIGTERM), forces it after grace (SIGKILL), and
// returns when it has ended. Zero grace means DefaultGrace.
func (c *Client) Stop(ctx context.Context, name string, grace time.Duration) error {
	_, err := c.call(ctx, Request{Op: OpStop, Name: name, Grace: grace})
	return err
}

// Kill ends a process with SIGKILL and returns when it has ended.
func (c *Client) Kill(ctx context.Context, name string) error {
	_, err := c.call(ctx, Request{Op: OpKill, Name: name})
	return err
}

// Pause stops a process with SIGSTOP: it keeps its connections and answers
// nothing, as a machine under heavy load or a long pause of the collector.
func (c *Client) Pause(ctx context.Context, name string) error {
	_, err := c.call(ctx, Request{Op: OpPause, Name: name})
	return err
}

// Resume lets a paused process go on.
func (c *Client) Resume(ctx context.Context, name string) error {
	_, err := c.call(ctx, Request{Op: OpResume, Name: name})
	return err
}

// Restart stops a process as Stop does and starts it again.
func (c *Client) Restart(ctx context.Context, name string, grace time.Duration) error {
	_, err := c.call(ctx, Request{Op: OpRestart, Name: name, Grace: grace})
	return err
}

// Signal sends a signal to a process.
func (c *Client) Signal(ctx context.Context, name string, sig syscall.Signal) error {
	_, err := c.call(ctx, Request{Op: OpSignal, Name: name, Signal: int(sig)})
	return err
}

// Detach lets the sandbox outlive the process that made it.
func (c *Client) Detach(ctx context.Context) error {
	_, err := c.call(ctx, Request{Op: OpDetach})
	return err
}

// Shutdown ends every process of the sandbox and removes its state. It returns
// when the supervisor has let go of the connection, just before it exits.
func (c *Client) Shutdown(ctx context.Context) error {
	_, err := c.call(ctx, Request{Op: OpShutdown})
	return err
}

// DialContext opens a connection inside the sandbox's network. It fits
// http.Transport and grpc's dialers. Network is tcp or udp.
func (c *Client) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return c.DialFrom(ctx, "", network, address)
}

// DialFrom is DialContext with the local IP address to dial from, which lets
// kube-proxy and access logs tell clients apart.
func (c *Client) DialFrom(ctx context.Context, localIP, network, address string) (net.Conn, error) {
	f, err := c.callForFile(ctx, Request{Op: OpDial, Network: network, Address: address, LocalAddress: localIP})
	if err != nil {
		return nil, fmt.Errorf("cannot dial %s in the sandbox: %w", address, err)
	}
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// Listen listens inside the sandbox's network, so that a server in the calling
// process (a webhook receiver, say) can be reached from there.
func (c *Client) Listen(ctx context.Context, network, address string) (net.Listener, error) {
	f, err := c.callForFile(ctx, Request{Op: OpListen, Network: network, Address: address})
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s in the sandbox: %w", address, err)
	}
	defer func() { _ = f.Close() }()
	return net.FileListener(f)
}

// Exec runs a process inside the sandbox with the given standard files and
// returns its exit code. SIGINT, SIGTERM and SIGHUP that the calling process
// receives meanwhile are passed on; when ctx ends, the process is killed.
func (c *Client) Exec(ctx context.Context, p Process, stdin, stdout, stderr *os.File) (int, error) {
	w, err := c.connect(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = w.Close() }()
	if err := w.Send(Request{Op: OpExec, Process: &p}, stdin, stdout, stderr); err != nil {
		return 0, err
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	done := make(chan struct{})
	defer close(done)
	go forwardSignals(ctx, w, signals, done)

	for {
		var r Response
		if _, err := w.Receive(&r); err != nil {
			return 0, fmt.Errorf("cannot follow the process: %w", errors.Join(ctx.Err(), err))
		}
		if r.Error != "" {
			return 0, errors.New(r.Error)
		}
		if r.ExitCode != nil {
			return *r.ExitCode, nil
		}
	}
}

// forwardSignals passes signals on until done; the end of ctx closes the
// connection, upon which the supervisor kills the process.
func forwardSignals(ctx context.Context, w *Wire, signals <-chan os.Signal, done <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if n, ok := s.(syscall.Signal); ok {
				_ = w.Send(Request{Op: OpSignal, Signal: int(n)})
			}
		case <-ctx.Done():
			_ = w.Close()
			return
		case <-done:
			return
		}
	}
}

func (c *Client) connect(ctx context.Context) (*Wire, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.socket)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the sandbox: %w", err)
	}
	return NewWire(conn.(*net.UnixConn)), nil
}

// call sends a request and waits for its answer.
func (c *Client) call(ctx context.Context, q Request) (Response, error) {
	r, files, err := c.roundTrip(ctx, q)
	for _, f := range files {
		_ = f.Close()
	}
	return r, err
}

func (c *Client) callForFile(ctx context.Context, q Request) (*os.File, error) {
	_, files, err := c.roundTrip(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, fmt.Errorf("got %d file descriptors, want 1", len(files))
	}
	return files[0], nil
}

func (c *Client) roundTrip(ctx context.Context, q Request) (Response, []*os.File, error) {
	w, err := c.connect(ctx)
	if err != nil {
		return Response{}, nil, err
	}
	defer func() { _ = w.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = w.conn.Close() })
	defer stop()
	if err := w.Send(q); err != nil {
		return Response{}, nil, errors.Join(ctx.Err(), err)
	}
	var r Response
	files, err := w.Receive(&r)
	if err != nil {
		return Response{}, nil, fmt.Errorf("no answer to %s: %w", q.Op, errors.Join(ctx.Err(), err))
	}
	if r.Error != "" {
		return r, files, errors.New(r.Error)
	}
	return r, files, nil
}
