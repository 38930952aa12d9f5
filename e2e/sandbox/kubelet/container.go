package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The back-off of the real kubelet: the first restart is immediate, the second
// waits firstBackoff, each one after twice as long; a container that ran for
// backoffReset starts afresh.
const (
	firstBackoff = 10 * time.Second
	maxBackoff   = 5 * time.Minute
	backoffReset = 10 * time.Minute
)

// container runs one container over all its restarts.
type container struct {
	worker *worker
	spec   *corev1.Container
	init   bool

	mu             sync.Mutex
	state, last    corev1.ContainerState
	restarts       int32
	started, ready bool
	// done is set when the container will not run again.
	done        bool
	startedOnce chan struct{} // closed when started for the first time
}

// newContainer makes a container, which goes on from the state an earlier
// kubelet reported.
func newContainer(w *worker, spec *corev1.Container, init bool, reported []corev1.ContainerStatus) *container {
	c := &container{worker: w, spec: spec, init: init, startedOnce: make(chan struct{})}
	reason := "ContainerCreating"
	if !init && len(w.init) > 0 {
		reason = "PodInitializing"
	}
	c.state.Waiting = &corev1.ContainerStateWaiting{Reason: reason}
	for _, r := range reported {
		if r.Name == spec.Name {
			c.restore(r)
		}
	}
	return c
}

// restore takes over a reported state. A container that was running died with
// the earlier kubelet.
func (c *container) restore(r corev1.ContainerStatus) {
	c.restarts, c.last = r.RestartCount, r.LastTerminationState
	switch {
	case r.State.Running != nil:
		c.state = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			ExitCode:   137,
			Reason:     "Error",
			Message:    "the kubelet was restarted",
			StartedAt:  r.State.Running.StartedAt,
			FinishedAt: metav1.Now(),
		}}
	case r.State.Terminated != nil:
		c.state = r.State
	case r.LastTerminationState.Terminated != nil:
		c.state = r.LastTerminationState
	}
}

// sidecar reports whether this is an init container that runs beside the main
// ones.
func (c *container) sidecar() bool {
	return c.init && c.spec.RestartPolicy != nil && *c.spec.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// again reports whether a container that ended with code is to be restarted.
func (c *container) again(code int32) bool {
	policy := c.worker.current().Spec.RestartPolicy
	switch {
	case c.sidecar():
		return true
	case policy == corev1.RestartPolicyNever:
		return false
	case policy == corev1.RestartPolicyOnFailure, c.init:
		return code != 0
	default:
		return true
	}
}

// run runs the container, again and again as its policy says, until it is done
// or stop ends.
func (c *container) run(stop context.Context) {
	defer c.finish()
	backoff := time.Duration(0)
	if t := c.terminated(); t != nil {
		if !c.again(t.ExitCode) {
			return
		}
		c.countRestart()
	}
	for stop.Err() == nil {
		began := time.Now()
		failure := c.runOnce(stop)
		if stop.Err() != nil {
			return
		}
		if t := c.terminated(); t != nil && !c.again(t.ExitCode) {
			return
		}
		if time.Since(began) > backoffReset {
			backoff = 0
		}
		if !c.pause(stop, backoff, failure) {
			return
		}
		backoff = min(max(2*backoff, firstBackoff), maxBackoff)
	}
}

// pause waits before the next try and reports false when stop ended meanwhile.
func (c *container) pause(stop context.Context, backoff time.Duration, failure *startError) bool {
	if failure != nil {
		c.set(func() { c.state = waiting(failure.retryReason(), failure.Error()) })
		// Nothing was started, so a restart does not count; the real kubelet
		// looks again after about this time.
		backoff = max(backoff, time.Second)
	} else if backoff > 0 {
		message := fmt.Sprintf("back-off %s restarting failed container=%s", backoff, c.spec.Name)
		c.set(func() {
			c.last, c.state = c.state, waiting("CrashLoopBackOff", message)
		})
		c.event(corev1.EventTypeWarning, "BackOff", message)
	}
	timer := time.NewTimer(backoff)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-stop.Done():
		return false
	}
	if failure == nil {
		c.countRestart()
	}
	return true
}

// countRestart moves a terminated state to the last one.
func (c *container) countRestart() {
	c.set(func() {
		c.restarts++
		if c.state.Terminated != nil {
			c.last = c.state
		}
	})
}

// runOnce runs the container's program once, with its probes, and returns when
// it has ended. The error says why it could not be started.
func (c *container) runOnce(stop context.Context) *startError {
	log, err := c.openLog()
	if err != nil {
		return &startError{reason: "CreateContainerError", err: err}
	}
	defer func() { _ = log.Close() }()
	p, failure := c.worker.start(stop, c.spec, log)
	if failure != nil {
		c.event(corev1.EventTypeWarning, "Failed", failure.Error())
		return failure
	}
	began := metav1.Now()
	c.set(func() {
		c.state = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: began}}
	})
	c.event(corev1.EventTypeNormal, "Started", "Started container "+c.spec.Name)

	// Probes of readiness go on while the container terminates.
	life, endLife := context.WithCancel(context.Background())
	unhealthy := make(chan time.Duration, 1)
	var probes sync.WaitGroup
	probes.Go(func() { c.probe(life, stop, p, unhealthy) })
	select {
	case <-p.ended:
	case grace := <-unhealthy:
		c.terminate(p, grace)
	case <-stop.Done():
		c.event(corev1.EventTypeNormal, "Killing", "Stopping container "+c.spec.Name)
		c.terminate(p, c.worker.grace())
	case <-c.worker.kill.Done():
	}
	p.killAll()
	endLife()
	probes.Wait()
	c.set(func() {
		c.started, c.ready = false, false
		c.state = corev1.ContainerState{Terminated: terminatedState(p, began)}
	})
	return nil
}

// terminate asks the program to end, after its preStop hook, and returns when it
// has or when grace is over; the caller kills what is left.
func (c *container) terminate(p *process, grace time.Duration) {
	ctx, cancel := context.WithTimeout(c.worker.kill, grace)
	defer cancel()
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil {
		if err := c.runHook(ctx, c.spec.Lifecycle.PreStop, p); err != nil {
			c.event(corev1.EventTypeWarning, "FailedPreStopHook", err.Error())
		}
	}
	p.askToEnd()
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
}

// runHook runs a lifecycle hook.
func (c *container) runHook(ctx context.Context, hook *corev1.LifecycleHandler, p *process) error {
	switch {
	case hook.Sleep != nil:
		select {
		case <-time.After(time.Duration(hook.Sleep.Seconds) * time.Second):
		case <-p.ended:
		case <-ctx.Done():
		}
		return nil
	case hook.Exec != nil:
		return p.exec(ctx, hook.Exec.Command)
	case hook.HTTPGet != nil:
		return c.httpGet(ctx, hook.HTTPGet)
	default:
		return errors.New("hooks of this kind are not supported")
	}
}

func (c *container) openLog() (*os.File, error) {
	c.mu.Lock()
	path := c.logPath(c.restarts)
	c.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot create log: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot create log: %w", err)
	}
	return f, nil
}

// logPath is the log of the run after so many restarts.
func (c *container) logPath(restarts int32) string {
	return filepath.Join(c.worker.podDir(), c.spec.Name, fmt.Sprintf("%d.log", restarts))
}

// set changes the container's state and has it reported.
func (c *container) set(change func()) {
	c.mu.Lock()
	change()
	if c.started {
		select {
		case <-c.startedOnce:
		default:
			close(c.startedOnce)
		}
	}
	c.mu.Unlock()
	c.worker.notify()
}

func (c *container) finish() { c.set(func() { c.done = true }) }

// terminated returns the end of the latest run, or nil when it runs or never
// did.
func (c *container) terminated() *corev1.ContainerStateTerminated {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Terminated
}

// succeeded reports whether the container is done with exit code 0.
func (c *container) succeeded() bool {
	t := c.terminated()
	return t != nil && t.ExitCode == 0
}

// waitStarted waits until the container is started for the first time. It
// reports false when stop ended before.
func (c *container) waitStarted(stop context.Context) bool {
	select {
	case <-c.startedOnce:
		return true
	case <-stop.Done():
		return false
	}
}

func (c *container) event(kind, reason, message string) {
	c.worker.kubelet.events.Event(c.worker.current(), kind, reason, message)
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func terminatedState(p *process, began metav1.Time) *corev1.ContainerStateTerminated {
	t := &corev1.ContainerStateTerminated{
		ExitCode:   int32(p.code),
		Signal:     int32(p.signal),
		Reason:     "Error",
		StartedAt:  began,
		FinishedAt: metav1.Now(),
	}
	if p.code == 0 {
		t.Reason = "Completed"
	}
	return t
}
