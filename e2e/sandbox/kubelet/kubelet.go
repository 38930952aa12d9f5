package kubelet

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// kubelet runs the pods of all its nodes.
type kubelet struct {
	client   kubernetes.Interface
	programs programs
	dir      string // of the containers' logs
	events   record.EventRecorder
	nodes    map[string]*playedNode
	bulk     *bulk

	mu      sync.Mutex
	workers map[types.UID]*worker
}

// playedNode is a node with what is in use of it.
type playedNode struct {
	node
	addresses *addresses
}

func newKubelet(client kubernetes.Interface, nodes []node, programs programs, dir string) *kubelet {
	k := &kubelet{
		client:   client,
		programs: programs,
		dir:      dir,
		nodes:    map[string]*playedNode{},
		workers:  map[types.UID]*worker{},
	}
	for _, n := range nodes {
		k.nodes[n.name] = &playedNode{node: n, addresses: newAddresses(n.pods)}
	}
	k.bulk = newBulk(client, k.nodes)
	return k
}

// run registers the nodes and runs pods until ctx ends. The pods' processes die
// with the calling process, not before.
func (k *kubelet) run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.client.CoreV1().Events("")})
	k.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet"})

	if err := k.register(ctx); err != nil {
		return err
	}
	informer := k.newInformer()
	go informer.RunWithContext(ctx)
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		return ctx.Err()
	}
	// Addresses of pods that exist already (the kubelet was restarted) are
	// theirs before any new pod gets one.
	for _, o := range informer.GetStore().List() {
		pod := o.(*corev1.Pod)
		if n, ok := k.nodes[pod.Spec.NodeName]; ok {
			n.addresses.reserve(pod.UID, pod.Status.PodIP)
		}
	}
	k.bulk.run(ctx, informer.GetStore())
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.sync(o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { k.sync(o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if unknown, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = unknown.Obj
			}
			k.remove(o.(*corev1.Pod))
		},
	})
	if err != nil {
		return fmt.Errorf("cannot watch pods: %w", err)
	}
	<-ctx.Done()
	return nil
}

// register registers all nodes, and goes on trying while the API server is
// away: a kubelet that is restarted then must not give up.
func (k *kubelet) register(ctx context.Context) error {
	var lastErr error
	err := wait.PollUntilContextCancel(ctx, 500*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for _, n := range k.nodes {
			g.Go(func() error { return n.register(ctx, k.client) })
		}
		lastErr = g.Wait()
		return lastErr == nil, nil
	})
	if err != nil {
		return lastErr
	}
	return nil
}

// newInformer watches all pods that have a node.
func (k *kubelet) newInformer() cache.SharedIndexInformer {
	assigned := fields.OneTermNotEqualSelector("spec.nodeName", "").String()
	lw := cache.NewFilteredListWatchFromClient(k.client.CoreV1().RESTClient(), "pods", metav1.NamespaceAll,
		func(o *metav1.ListOptions) { o.FieldSelector = assigned })
	informer := cache.NewSharedIndexInformer(lw, &corev1.Pod{}, 0, nil)
	// Nobody here reads managed fields, and they are half of a pod.
	_ = informer.SetTransform(stripManagedFields)
	return informer
}

func stripManagedFields(o any) (any, error) {
	if object, ok := o.(metav1.Object); ok {
		object.SetManagedFields(nil)
	}
	return o, nil
}

// sync passes a pod's present state to the one that runs it.
func (k *kubelet) sync(pod *corev1.Pod) {
	n, ok := k.nodes[pod.Spec.NodeName]
	if !ok {
		return // a node that a test made by hand
	}
	if n.bulk {
		k.bulk.add(pod)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if w, ok := k.workers[pod.UID]; ok {
		w.update(pod)
		return
	}
	w := newWorker(k, n, pod)
	k.workers[pod.UID] = w
	go w.run()
}

// remove ends a pod whose object is gone: it was deleted by force.
func (k *kubelet) remove(pod *corev1.Pod) {
	n, ok := k.nodes[pod.Spec.NodeName]
	if !ok {
		return
	}
	k.mu.Lock()
	w, ok := k.workers[pod.UID]
	delete(k.workers, pod.UID)
	k.mu.Unlock()
	if !ok {
		n.addresses.release(pod.UID)
		return
	}
	w.forget()
	go func() {
		<-w.done
		n.addresses.release(pod.UID)
	}()
}

// find returns the worker of a pod by name, for logs.
func (k *kubelet) find(namespace, name string) (*worker, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, w := range k.workers {
		if pod := w.current(); pod.Namespace == namespace && pod.Name == name {
			return w, true
		}
	}
	return nil, false
}
