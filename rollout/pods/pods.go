// Package pods follows the pods of releases under way.
//
// It keeps no copy of them. It remembers which pods each version had, those
// that are gone among them, since their metrics count as long as the release
// lasts; and it calls when a pod of the canary gets into trouble, so that a
// release reacts at once and no idle Rollout costs a watch.
package pods

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// hashLabel tells the pods of one version from those of another.
const hashLabel = "pod-template-hash"

// maxNames bounds what is remembered of one version. A version whose pods are
// replaced more often than that has failed by other means.
const maxNames = 1000

// Release names the versions whose pods are followed.
type Release struct {
	// Number of the release. Another number begins anew.
	Number int64
	// Stable and Canary are revisions. Stable may be empty.
	Stable, Canary string
}

// Watcher follows the pods of releases. Its methods may be called from several
// goroutines.
type Watcher struct {
	client client.WithWatch
	called func(rollout types.NamespacedName)

	mutex    sync.Mutex
	ctx      context.Context
	followed map[types.NamespacedName]*followed
	// troubled are the Rollouts in trouble that Trouble has not told of yet.
	troubled map[types.NamespacedName]struct{}
}

// New makes a Watcher. called is called when a pod of the canary of a Rollout
// cannot start, has restarted or goes away; it must not block.
func New(c client.WithWatch, called func(rollout types.NamespacedName)) *Watcher {
	return &Watcher{
		client: c, called: called,
		followed: map[types.NamespacedName]*followed{}, troubled: map[types.NamespacedName]struct{}{},
	}
}

// Start watches until the context ends.
func (w *Watcher) Start(ctx context.Context) error {
	w.mutex.Lock()
	w.ctx = ctx
	for _, f := range w.followed {
		w.run(f)
	}
	w.mutex.Unlock()
	<-ctx.Done()
	return nil
}

// Follow the pods of a release from now on. Following the same again costs
// nothing.
func (w *Watcher) Follow(rollout types.NamespacedName, release Release) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if f, ok := w.followed[rollout]; ok {
		if f.release == release {
			return
		}
		f.stop()
	}
	f := &followed{
		rollout: rollout, release: release, trouble: w.trouble,
		seen: map[string]pod{}, number: map[string]int{}, stop: func() {},
	}
	w.followed[rollout] = f
	if w.ctx != nil {
		w.run(f)
	}
}

// Forget a Rollout's pods.
func (w *Watcher) Forget(rollout types.NamespacedName) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if f, ok := w.followed[rollout]; ok {
		f.stop()
		delete(w.followed, rollout)
	}
	delete(w.troubled, rollout)
}

// Trouble tells whether a pod of the canary got into trouble, or out of it,
// since it was last asked. Who learns of it must look for himself: what became
// of the pods meanwhile is for the API server to say.
func (w *Watcher) Trouble(rollout types.NamespacedName) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	_, ok := w.troubled[rollout]
	delete(w.troubled, rollout)
	return ok
}

// TellAgain takes back that Trouble has told of a Rollout, for whoever could not
// look.
func (w *Watcher) TellAgain(rollout types.NamespacedName) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if _, ok := w.followed[rollout]; ok {
		w.troubled[rollout] = struct{}{}
	}
}

// trouble notes it and calls.
func (w *Watcher) trouble(rollout types.NamespacedName) {
	w.mutex.Lock()
	_, ok := w.followed[rollout]
	if ok {
		w.troubled[rollout] = struct{}{}
	}
	w.mutex.Unlock()
	if ok {
		w.called(rollout)
	}
}

// Names of the pods of both versions that were seen in this release, sorted.
// ok is false while they have not been listed yet.
func (w *Watcher) Names(rollout types.NamespacedName) (stable, canary []string, ok bool) {
	w.mutex.Lock()
	f := w.followed[rollout]
	w.mutex.Unlock()
	if f == nil {
		return nil, nil, false
	}
	return f.names()
}

// run watches for one release. The caller holds the mutex.
func (w *Watcher) run(f *followed) {
	ctx, cancel := context.WithCancel(w.ctx)
	f.stop = cancel
	revisions := []string{f.release.Canary}
	if f.release.Stable != "" {
		revisions = append(revisions, f.release.Stable)
	}
	wanted, err := labels.NewRequirement(hashLabel, selection.In, revisions)
	if err != nil {
		// Revisions are label values by their making. Were one not, there would
		// be no pods of it either.
		return
	}
	selector := labels.NewSelector().Add(*wanted)
	namespace := client.InNamespace(f.rollout.Namespace)
	options := func(raw metav1.ListOptions) []client.ListOption {
		return []client.ListOption{namespace, client.MatchingLabelsSelector{Selector: selector}, &client.ListOptions{Raw: &raw}}
	}
	lister := &toolscache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
			list := &corev1.PodList{}
			if err := w.client.List(ctx, list, options(raw)...); err != nil {
				return nil, fmt.Errorf("cannot list pods: %w", err)
			}
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, raw metav1.ListOptions) (watch.Interface, error) {
			return w.client.Watch(ctx, &corev1.PodList{}, options(raw)...)
		},
	}
	semantics := toolscache.ToListWatcherWithWatchListSemantics(lister, w.client)
	reflector := toolscache.NewReflectorWithOptions(semantics, &corev1.Pod{}, f,
		toolscache.ReflectorOptions{Name: "pods of " + f.rollout.String()})
	go reflector.RunWithContext(ctx)
}

// followed is what is remembered of the pods of one release. It is the store of
// a reflector.
type followed struct {
	rollout types.NamespacedName
	release Release
	trouble func(rollout types.NamespacedName)
	stop    context.CancelFunc // guarded by the Watcher's mutex

	mutex  sync.Mutex
	listed bool
	seen   map[string]pod
	// number of those seen, by revision.
	number map[string]int
}

// pod is what is remembered of one pod.
type pod struct {
	revision string
	// state changes when the pod gets into trouble, or out of it.
	state string
}

// Add implements toolscache.ReflectorStore.
func (f *followed) Add(obj any) error { return f.see(obj, false) }

// Update implements toolscache.ReflectorStore.
func (f *followed) Update(obj any) error { return f.see(obj, false) }

// Delete implements toolscache.ReflectorStore.
func (f *followed) Delete(obj any) error { return f.see(obj, true) }

// Resync implements toolscache.ReflectorStore.
func (f *followed) Resync() error { return nil }

// Replace implements toolscache.ReflectorStore.
func (f *followed) Replace(objs []any, _ string) error {
	for _, obj := range objs {
		if err := f.see(obj, false); err != nil {
			return err
		}
	}
	f.mutex.Lock()
	f.listed = true
	f.mutex.Unlock()
	return nil
}

// see remembers a pod and calls when its trouble has changed.
func (f *followed) see(obj any, gone bool) error {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return fmt.Errorf("cannot follow pods of %s: got a %T", f.rollout, obj)
	}
	now := pod{revision: p.Labels[hashLabel], state: state(p, gone)}
	f.mutex.Lock()
	old, known := f.seen[p.Name]
	if !known && f.number[now.revision] < maxNames {
		f.number[now.revision]++
		known = true
	}
	if known {
		f.seen[p.Name] = now
	}
	f.mutex.Unlock()
	// A new pod without trouble tells nothing that its ReplicaSet does not.
	if now.revision == f.release.Canary && now.state != old.state {
		f.trouble(f.rollout)
	}
	return nil
}

// names are the pods of both versions, sorted.
func (f *followed) names() (stable, canary []string, ok bool) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	for name, p := range f.seen {
		switch p.revision {
		case f.release.Canary:
			canary = append(canary, name)
		case f.release.Stable:
			stable = append(stable, name)
		}
	}
	slices.Sort(stable)
	slices.Sort(canary)
	return stable, canary, f.listed
}

// state tells troubles apart; it is empty for a pod that has none.
func state(p *corev1.Pod, gone bool) string {
	if gone {
		return "gone"
	}
	s := ""
	if p.DeletionTimestamp != nil {
		s += "terminating "
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			s += c.Reason + " "
		}
	}
	for _, statuses := range [][]corev1.ContainerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses} {
		for i := range statuses {
			s += container(&statuses[i])
		}
	}
	return s
}

// container tells the troubles of a container apart.
func container(c *corev1.ContainerStatus) string {
	s := ""
	if c.RestartCount > 0 {
		s += fmt.Sprintf("%s restarts=%d ", c.Name, c.RestartCount)
	}
	// Every pod waits for its images and its init containers: those are no news.
	if w := c.State.Waiting; w != nil && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
		s += c.Name + " " + w.Reason + " "
	}
	if t := c.State.Terminated; t != nil && t.ExitCode != 0 {
		s += c.Name + " " + t.Reason + " "
	}
	return s
}
