package kubelet

import (
	"context"
	"net/netip"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// worker runs one pod from its first sight to its end. One goroutine walks
// through its life (run), one reports its status (report), and one each runs a
// container.
type worker struct {
	kubelet *kubelet
	node    *playedNode
	ip      netip.Addr
	ipErr   error
	started metav1.Time
	init    []*container
	main    []*container

	// stop ends when the pod is to terminate in an orderly way, kill when its
	// processes must go at once.
	stop, kill         context.Context
	stopNow, killNow   context.CancelFunc
	changed            chan struct{} // something to report
	done               chan struct{} // closed when no process is left
	mu                 sync.Mutex
	pod                *corev1.Pod
	initialized, ended bool
}

func newWorker(k *kubelet, n *playedNode, pod *corev1.Pod) *worker {
	w := &worker{
		kubelet: k,
		node:    n,
		started: metav1.Now(),
		pod:     pod,
		changed: make(chan struct{}, 1),
		done:    make(chan struct{}),
	}
	if pod.Status.StartTime != nil {
		w.started = *pod.Status.StartTime
	}
	w.stop, w.stopNow = context.WithCancel(context.Background())
	w.kill, w.killNow = context.WithCancel(context.Background())
	w.ip, w.ipErr = n.addresses.get(pod.UID)
	for i := range pod.Spec.InitContainers {
		w.init = append(w.init, newContainer(w, &pod.Spec.InitContainers[i], true, pod.Status.InitContainerStatuses))
	}
	for i := range pod.Spec.Containers {
		w.main = append(w.main, newContainer(w, &pod.Spec.Containers[i], false, pod.Status.ContainerStatuses))
	}
	if pod.DeletionTimestamp != nil {
		w.stopNow()
	}
	return w
}

// update takes note of a change to the pod: of its deletion, or of a condition
// that a readiness gate waits for.
func (w *worker) update(pod *corev1.Pod) {
	w.mu.Lock()
	w.pod = pod
	w.mu.Unlock()
	if pod.DeletionTimestamp != nil {
		w.stopNow()
	}
	w.notify()
}

// forget ends the pod at once, without a report: its object is gone.
func (w *worker) forget() {
	w.killNow()
	w.stopNow()
}

func (w *worker) current() *corev1.Pod {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pod
}

// notify asks for a report. Requests that come while one is written make one
// more together.
func (w *worker) notify() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// grace is how long a container may take to end.
func (w *worker) grace() time.Duration {
	pod := w.current()
	seconds := int64(30)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.DeletionGracePeriodSeconds != nil {
		seconds = *pod.DeletionGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// run walks through the pod's life.
func (w *worker) run() {
	go w.report()
	w.notify()
	if terminal(w.current().Status.Phase) || w.ipErr != nil {
		w.restoreEnded()
	} else {
		w.runContainers()
	}
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	close(w.done)
	w.notify()
}

func terminal(phase corev1.PodPhase) bool {
	return phase == corev1.PodSucceeded || phase == corev1.PodFailed
}

// restoreEnded takes over a pod that had ended before the kubelet started.
func (w *worker) restoreEnded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.initialized = true
}

// runContainers runs the init containers one after another, then the others
// together. Sidecars are init containers that go on until the others have
// ended.
func (w *worker) runContainers() {
	sidecarStop, stopSidecars := context.WithCancel(w.stop)
	var sidecars, main sync.WaitGroup
	ok := true
	for _, c := range w.init {
		if c.sidecar() {
			sidecars.Go(func() { c.run(sidecarStop) })
			ok = c.waitStarted(w.stop)
		} else {
			c.run(w.stop)
			ok = c.succeeded()
		}
		if !ok {
			break
		}
	}
	if ok && w.stop.Err() == nil {
		w.mu.Lock()
		w.initialized = true
		w.mu.Unlock()
		for _, c := range w.main {
			main.Go(func() { c.run(w.stop) })
		}
	}
	main.Wait()
	stopSidecars()
	sidecars.Wait()
}
