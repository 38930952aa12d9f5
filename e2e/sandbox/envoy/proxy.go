package envoy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// poll is the pause between looks at what is left to be answered.
const poll = 50 * time.Millisecond

// proxy is a running Envoy.
type proxy struct {
	cmd   *exec.Cmd
	ended chan struct{}
	admin string // URL
	http  *http.Client
}

// requestLog is where Envoy writes a line of each request: the file that startProxy
// hands over.
const requestLog = "/dev/fd/3"

// startProxy starts Envoy. It dies with this process, and shares its process
// group, so that what kills the container kills it as well. Requests is what it
// writes of each request, in lines of JSON.
func startProxy(binary, bootstrap, ip string, drain time.Duration) (p *proxy, requests io.ReadCloser, err error) {
	requests, written, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe for the requests: %w", err)
	}
	defer written.Close()       //nolint:errcheck // Envoy has it
	cmd := exec.Command(binary, //nolint:gosec // the user's Envoy
		"--config-yaml", bootstrap, // no file that a killed Envoy would leave behind
		"--concurrency", "1",
		"--disable-hot-restart", // it would tell Envoys of one machine apart by a number
		"--log-level", "warning",
		// Else a request is seen when many others have come after it, or after 10 s.
		"--file-flush-interval-msec", "100",
		// Else each of istiod's routes is reported for a field that is old.
		"--component-log-level", "misc:error",
		// From the first moment of the drain on, every answer asks the client to
		// come back on another connection.
		"--drain-strategy", "immediate",
		"--drain-time-s", strconv.Itoa(int(drain.Round(time.Second).Seconds())),
	)
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{written}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		_ = requests.Close() // nobody writes it
		return nil, nil, fmt.Errorf("cannot start Envoy: %w", err)
	}
	p = &proxy{
		cmd: cmd, ended: make(chan struct{}),
		admin: "http://" + net.JoinHostPort(ip, strconv.Itoa(AdminPort)),
		http:  &http.Client{Timeout: 2 * time.Second},
	}
	go func() {
		_ = cmd.Wait() // the state says how it ended
		close(p.ended)
	}()
	return p, requests, nil
}

// stop ends Envoy as a pod is to end: its endpoint is being withdrawn while
// requests still arrive, so it goes on serving for the time of the drain, and
// then until the last request is answered or the caller's patience ends.
func (p *proxy) stop(ctx context.Context, drain time.Duration) error {
	if err := p.drain(ctx, drain); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "cannot drain:", err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop Envoy: %w", err)
	}
	<-p.ended
	return nil
}

func (p *proxy) drain(ctx context.Context, drain time.Duration) error {
	if _, err := p.call(ctx, http.MethodPost, "/drain_listeners?graceful"); err != nil {
		return err
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(drain):
	}
	for tick := time.Tick(poll); ; {
		active, err := p.active(ctx)
		if err != nil || active == 0 {
			return err
		}
		select {
		case <-p.ended:
			return nil
		case <-tick:
		}
	}
}

// active returns the number of requests that are not answered. Those of the
// admin interface itself are none.
func (p *proxy) active(ctx context.Context) (int, error) {
	stats, err := p.call(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(`^http\.http-\d+\.downstream_rq_active$`))
	if err != nil {
		return 0, err
	}
	return sum(stats)
}

// sum adds up the values of Envoy's "NAME: VALUE" lines.
func sum(stats string) (int, error) {
	total := 0
	for lines := bufio.NewScanner(strings.NewReader(stats)); lines.Scan(); {
		_, value, _ := strings.Cut(lines.Text(), ": ")
		n, err := strconv.Atoi(value)
		if err != nil {
			return 0, fmt.Errorf("cannot read %q: %w", lines.Text(), err)
		}
		total += n
	}
	return total, nil
}

// call calls Envoy's admin interface.
func (p *proxy) call(ctx context.Context, method, path string) (string, error) {
	q, err := http.NewRequestWithContext(ctx, method, p.admin+path, nil)
	if err != nil {
		return "", fmt.Errorf("cannot make a request: %w", err)
	}
	r, err := p.http.Do(q)
	if err != nil {
		return "", fmt.Errorf("cannot call Envoy: %w", err)
	}
	defer func() { _ = r.Body.Close() }()
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return "", fmt.Errorf("cannot read Envoy's answer: %w", err)
	}
	if r.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s %s: Envoy answered %s: %s", method, path, r.Status, data)
	}
	return string(data), nil
}
