package kubelet

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eagerPeriod is the pause between readiness probes before the first success,
// when the probe's own period is longer. The real kubelet waits its period; a
// sandbox that did would spend most of a test's time there.
const eagerPeriod = 250 * time.Millisecond

// listenTime is what a program gets before its first probe. Without it every
// start would be reported as an unhealthy one.
const listenTime = 100 * time.Millisecond

// probe runs the container's probes until life ends (readiness) or stop ends
// (startup and liveness). When the container must be restarted, the grace for it
// is sent to unhealthy.
func (c *container) probe(life, stop context.Context, p *process, unhealthy chan<- time.Duration) {
	alive, cancel := context.WithCancel(life)
	defer cancel()
	defer context.AfterFunc(stop, cancel)()

	restart := func(probe *corev1.Probe) {
		grace := c.worker.grace()
		if probe.TerminationGracePeriodSeconds != nil {
			grace = time.Duration(*probe.TerminationGracePeriodSeconds) * time.Second
		}
		select {
		case unhealthy <- grace:
		default:
		}
	}
	if probe := c.spec.StartupProbe; probe != nil {
		started := false
		c.watch(alive, p, &prober{kind: "Startup", probe: probe}, func(ok bool) bool {
			if started = ok; !ok {
				restart(probe)
			}
			return false
		})
		if !started {
			return
		}
	}
	c.set(func() {
		c.started = true
		c.ready = c.spec.ReadinessProbe == nil
	})
	var wg sync.WaitGroup
	if probe := c.spec.LivenessProbe; probe != nil {
		wg.Go(func() {
			c.watch(alive, p, &prober{kind: "Liveness", probe: probe}, func(ok bool) bool {
				if !ok {
					restart(probe)
				}
				return ok
			})
		})
	}
	if probe := c.spec.ReadinessProbe; probe != nil {
		wg.Go(func() {
			c.watch(life, p, &prober{kind: "Readiness", probe: probe, eager: true}, func(ok bool) bool {
				c.set(func() { c.ready = ok })
				return true
			})
		})
	}
	wg.Wait()
}

// prober counts the results of one probe.
type prober struct {
	kind  string
	probe *corev1.Probe
	// eager probers look more often until the first success, and do not
	// complain before it.
	eager               bool
	successes, failures int32
	passed              bool
}

// count takes a result and reports whether it is the one that meets the
// threshold of successes or of failures.
func (r *prober) count(err error) (decided bool) {
	if err == nil {
		r.successes, r.failures, r.passed = r.successes+1, 0, true
		return r.successes == max(r.probe.SuccessThreshold, 1)
	}
	r.successes, r.failures = 0, r.failures+1
	threshold := r.probe.FailureThreshold
	if threshold == 0 {
		threshold = 3
	}
	return r.failures == threshold
}

// period is the pause before the next probe.
func (r *prober) period() time.Duration {
	period := seconds(r.probe.PeriodSeconds, 10)
	if r.eager && !r.passed {
		return min(period, eagerPeriod)
	}
	return period
}

// watch probes until ctx ends or decided, which is called whenever a threshold
// is met, reports false.
func (c *container) watch(ctx context.Context, p *process, r *prober, decided func(ok bool) bool) {
	if !sleep(ctx, max(seconds(r.probe.InitialDelaySeconds, 0), listenTime)) {
		return
	}
	for {
		err := c.probeOnce(ctx, p, r.probe)
		if ctx.Err() != nil {
			return // the result is the end's, not the program's
		}
		if err != nil && (r.passed || !r.eager) {
			c.event(corev1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe failed: %v", r.kind, err))
		}
		if r.count(err) && !decided(err == nil) {
			return
		}
		if !sleep(ctx, r.period()) {
			return
		}
	}
}

func seconds(n, unset int32) time.Duration {
	if n == 0 {
		n = unset
	}
	return time.Duration(n) * time.Second
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *container) probeOnce(ctx context.Context, p *process, probe *corev1.Probe) error {
	ctx, cancel := context.WithTimeout(ctx, seconds(probe.TimeoutSeconds, 1))
	defer cancel()
	switch {
	case probe.HTTPGet != nil:
		return c.httpGet(ctx, probe.HTTPGet)
	case probe.TCPSocket != nil:
		return c.tcpConnect(ctx, probe.TCPSocket)
	case probe.Exec != nil:
		return p.exec(ctx, probe.Exec.Command)
	default:
		return errors.New("probes of this kind are not supported")
	}
}

// probeClient opens a connection a probe, as the real kubelet does, and takes
// any certificate.
var probeClient = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // a probe asks whether, not who
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func (c *container) httpGet(ctx context.Context, action *corev1.HTTPGetAction) error {
	port, err := c.port(action.Port)
	if err != nil {
		return err
	}
	scheme := strings.ToLower(string(action.Scheme))
	if scheme == "" {
		scheme = "http"
	}
	url := scheme + "://" + net.JoinHostPort(c.host(action.Host), port) + "/" + strings.TrimPrefix(action.Path, "/")
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	q.Header.Set("User-Agent", "kube-probe/sandbox")
	for _, h := range action.HTTPHeaders {
		q.Header.Add(h.Name, h.Value)
		if strings.EqualFold(h.Name, "Host") {
			q.Host = h.Value
		}
	}
	r, err := probeClient.Do(q)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 10<<10))
	if r.StatusCode < 200 || r.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", r.StatusCode)
	}
	return nil
}

func (c *container) tcpConnect(ctx context.Context, action *corev1.TCPSocketAction) error {
	port, err := c.port(action.Port)
	if err != nil {
		return err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(c.host(action.Host), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

func (c *container) host(host string) string {
	if host == "" {
		return c.worker.ip.String()
	}
	return host
}

// port resolves a port given by number or by the name of a container port.
func (c *container) port(p intstr.IntOrString) (string, error) {
	if p.Type == intstr.Int {
		return strconv.Itoa(p.IntValue()), nil
	}
	for _, named := range c.spec.Ports {
		if named.Name == p.StrVal {
			return strconv.Itoa(int(named.ContainerPort)), nil
		}
	}
	return "", fmt.Errorf("no port named %q", p.StrVal)
}
