package workload

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/workload"
)

// podRecorder remembers every pod that a namespace has had.
type podRecorder struct {
	mutex sync.Mutex
	// pods by name, as last seen, and those among them that are or were on their
	// way out.
	pods map[string]*corev1.Pod
	gone map[string]bool
	// leastReady is the lowest number of ready pods since it was last reset.
	leastReady int
}

// recordPods watches the pods of a namespace until the test ends.
func recordPods(t *testing.T, c client.WithWatch, namespace string) *podRecorder {
	t.Helper()
	r := &podRecorder{pods: map[string]*corev1.Pod{}, gone: map[string]bool{}}
	w, err := c.Watch(t.Context(), &corev1.PodList{}, client.InNamespace(namespace))
	must(t, err)
	t.Cleanup(w.Stop)
	go func() {
		for event := range w.ResultChan() {
			if pod, ok := event.Object.(*corev1.Pod); ok {
				r.see(event.Type, pod)
			}
		}
	}()
	return r
}

func (r *podRecorder) see(kind watch.EventType, pod *corev1.Pod) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.pods[pod.Name] = pod
	if kind == watch.Deleted || pod.DeletionTimestamp != nil {
		r.gone[pod.Name] = true
	}
	r.leastReady = min(r.leastReady, len(r.ready("")))
}

// ready are the names of the ready pods of a revision, or of all. The caller
// holds the mutex.
func (r *podRecorder) ready(revision string) []string {
	var names []string
	for name, pod := range r.pods {
		ready := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if ready && !r.gone[name] && (revision == "" || pod.Labels[workload.HashLabel] == revision) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// reset begins a new count of the least number of ready pods.
func (r *podRecorder) reset() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.leastReady = len(r.ready(""))
}

// least is the lowest number of ready pods since reset.
func (r *podRecorder) least() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.leastReady
}

// of waits for size ready pods of a revision and gives their names.
func (r *podRecorder) of(t *testing.T, revision string, size int32) []string {
	t.Helper()
	var names []string
	harness.Eventually(t, patience, fmt.Sprintf("%d ready pods of %s", size, revision), func(context.Context) error {
		r.mutex.Lock()
		defer r.mutex.Unlock()
		if names = r.ready(revision); len(names) != int(size) {
			return fmt.Errorf("%d are ready", len(names))
		}
		return nil
	})
	return names
}

// survivors are those of the given pods that were never deleted.
func (r *podRecorder) survivors(names []string) []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return r.gone[name] })
}

// revisions of all pods that there ever were.
func (r *podRecorder) revisions() []string {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	set := map[string]bool{}
	for _, pod := range r.pods {
		set[pod.Labels[workload.HashLabel]] = true
	}
	return slices.Sorted(maps.Keys(set))
}
