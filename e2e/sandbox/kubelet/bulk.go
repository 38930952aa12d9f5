package kubelet

import (
	"context"
	"log"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/ptr"
)

const (
	// bulkWorkers is how many status writes are in flight. The API server is
	// the bottleneck; more would only make its queue longer.
	bulkWorkers = 12
	// neverReadyAnnotation with the value "false" keeps a bulk pod unready.
	neverReadyAnnotation = "weir.dev/ready"
)

// bulk plays pods on bulk nodes. A pod needs one write to be ready and one to
// be gone.
type bulk struct {
	client kubernetes.Interface
	nodes  map[string]*playedNode
	queue  workqueue.TypedRateLimitingInterface[string]
}

func newBulk(client kubernetes.Interface, nodes map[string]*playedNode) *bulk {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[string](20*time.Millisecond, 5*time.Second)
	return &bulk{client: client, nodes: nodes, queue: workqueue.NewTypedRateLimitingQueue(limiter)}
}

// run starts the workers. They end with ctx.
func (b *bulk) run(ctx context.Context, store cache.Store) {
	context.AfterFunc(ctx, b.queue.ShutDown)
	for range bulkWorkers {
		go func() {
			for b.work(ctx, store) {
			}
		}()
	}
}

// add queues a pod that needs a write.
func (b *bulk) add(pod *corev1.Pod) {
	if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodPending {
		b.queue.Add(pod.Namespace + "/" + pod.Name)
	}
}

// work handles one pod from the queue. It reports false when there will be no
// more.
func (b *bulk) work(ctx context.Context, store cache.Store) bool {
	key, closing := b.queue.Get()
	if closing {
		return false
	}
	defer b.queue.Done(key)
	o, exists, _ := store.GetByKey(key)
	if !exists {
		b.queue.Forget(key)
		return true
	}
	err := b.sync(ctx, o.(*corev1.Pod))
	switch {
	case err == nil, apierrors.IsNotFound(err):
		b.queue.Forget(key)
	case apierrors.IsConflict(err):
		// The pod has changed; by the next try the watch has brought it.
		b.queue.AddRateLimited(key)
	default:
		log.Printf("cannot write pod %s: %v", key, err)
		b.queue.AddRateLimited(key)
	}
	return true
}

func (b *bulk) sync(ctx context.Context, pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return b.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
			GracePeriodSeconds: ptr.To[int64](0),
			Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
		})
	}
	if pod.Status.Phase != corev1.PodPending {
		return nil
	}
	n := b.nodes[pod.Spec.NodeName]
	ip, err := n.addresses.get(pod.UID)
	if err != nil {
		return err
	}
	updated := pod.DeepCopy()
	updated.Status = bulkStatus(pod, n.address.String(), ip.String())
	// A whole update in protobuf costs the API server half of a patch.
	_, err = b.client.CoreV1().Pods(pod.Namespace).UpdateStatus(ctx, updated, metav1.UpdateOptions{})
	return err
}

// bulkStatus is the status of a pod all of whose containers run.
func bulkStatus(pod *corev1.Pod, hostIP, podIP string) corev1.PodStatus {
	now := metav1.Now()
	ready := corev1.ConditionTrue
	if pod.Annotations[neverReadyAnnotation] == "false" {
		ready = corev1.ConditionFalse
	}
	status := corev1.PodStatus{
		ObservedGeneration: pod.Generation,
		Phase:              corev1.PodRunning,
		QOSClass:           pod.Status.QOSClass,
		StartTime:          &now,
		HostIP:             hostIP,
		HostIPs:            []corev1.HostIP{{IP: hostIP}},
		PodIP:              podIP,
		PodIPs:             []corev1.PodIP{{IP: podIP}},
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled {
			status.Conditions = append(status.Conditions, c)
		}
	}
	for _, c := range []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: corev1.ConditionTrue},
		{Type: corev1.PodInitialized, Status: corev1.ConditionTrue},
		{Type: corev1.ContainersReady, Status: ready},
		{Type: corev1.PodReady, Status: ready},
	} {
		c.LastTransitionTime = now
		c.ObservedGeneration = pod.Generation
		status.Conditions = append(status.Conditions, c)
	}
	for _, c := range pod.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name:    c.Name,
			Image:   c.Image,
			ImageID: c.Image,
			Ready:   ready == corev1.ConditionTrue,
			Started: ptr.To(true),
			State:   corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	return status
}
