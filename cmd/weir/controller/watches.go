package controller

import (
	"context"
	"slices"
	"strings"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers/split"
	"github.com/weir-dev/weir/rollout"
)

// urgent is the priority of what may lower exposure: it goes before whatever
// else waits in the queue.
const urgent = 100

// queue is the controller's.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// watches map changes to the Rollouts that they concern.
type watches struct {
	cached client.Reader
}

// referring are the Rollouts that refer to an object. namespace is empty for
// objects of the cluster.
func (w watches) referring(ctx context.Context, namespace, kind, name string) []reconcile.Request {
	list := &v1alpha1.RolloutList{}
	err := w.cached.List(ctx, list, client.InNamespace(namespace), client.MatchingFields{rollout.ReferenceIndex: rollout.Reference(kind, name)})
	if err != nil {
		log.FromContext(ctx).Error(err, "Cannot find the Rollouts that a change concerns", "kind", kind, "name", name)
		return nil
	}
	return requests(list, func(*v1alpha1.Rollout) bool { return true })
}

// requests are the keys of those Rollouts of a list that are wanted.
func requests(list *v1alpha1.RolloutList, wanted func(*v1alpha1.Rollout) bool) []reconcile.Request {
	var out []reconcile.Request
	for i := range list.Items {
		if wanted(&list.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return out
}

// named is the Rollout of a name.
func named(namespace, name string) []reconcile.Request {
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// byLabel maps an object with the label of a Rollout, which may have been taken
// off just now: an update is mapped by both its states.
func byLabel(_ context.Context, obj client.Object) []reconcile.Request {
	return named(obj.GetNamespace(), obj.GetLabels()[v1alpha1.RolloutLabel])
}

// byReplicaSet maps a ReplicaSet: Weir's own by its label, the workload's by its
// owner.
func (w watches) byReplicaSet(ctx context.Context, obj client.Object) []reconcile.Request {
	if name := obj.GetLabels()[v1alpha1.ManagedLabel]; name != "" {
		return named(obj.GetNamespace(), name)
	}
	owner := metav1.GetControllerOf(obj)
	if owner == nil || owner.Kind != deploymentKind {
		return nil
	}
	return w.referring(ctx, obj.GetNamespace(), owner.Kind, owner.Name)
}

// byKind maps an object that Rollouts of its namespace refer to by name.
func (w watches) byKind(kind string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		return w.referring(ctx, obj.GetNamespace(), kind, obj.GetName())
	}
}

// byRoute maps a route to the Rollouts that refer to it, and to those for which it
// is split: of one that was deleted by force the rest goes when the split does.
func (w watches) byRoute(kind string) handler.MapFunc {
	return func(ctx context.Context, obj client.Object) []reconcile.Request {
		out := w.referring(ctx, obj.GetNamespace(), kind, obj.GetName())
		for _, owner := range split.Owners(obj) {
			for _, request := range named(obj.GetNamespace(), owner) {
				if !slices.Contains(out, request) {
					out = append(out, request)
				}
			}
		}
		return out
	}
}

// bySource maps a MetricSource to every Rollout with an analysis: by name or as
// the default one, any of them may rest on it. Sources are few and seldom change.
func (w watches) bySource(ctx context.Context, _ client.Object) []reconcile.Request {
	list := &v1alpha1.RolloutList{}
	if err := w.cached.List(ctx, list); err != nil {
		log.FromContext(ctx).Error(err, "Cannot find the Rollouts with an analysis")
		return nil
	}
	return requests(list, func(r *v1alpha1.Rollout) bool { return r.Spec.Analysis != nil })
}

// templates maps a MetricSource to every template of a list's kind.
func (w watches) templates(empty client.ObjectList) handler.MapFunc {
	return func(ctx context.Context, _ client.Object) []reconcile.Request {
		list, ok := empty.DeepCopyObject().(client.ObjectList)
		if !ok {
			return nil
		}
		if err := w.cached.List(ctx, list); err != nil {
			log.FromContext(ctx).Error(err, "Cannot find the analysis templates")
			return nil
		}
		var out []reconcile.Request
		err := meta.EachListItem(list, func(item runtime.Object) error {
			if obj, ok := item.(client.Object); ok {
				out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(obj)})
			}
			return nil
		})
		if err != nil {
			log.FromContext(ctx).Error(err, "Cannot list the analysis templates")
		}
		return out
	}
}

// siblings maps a Rollout to those that share its workload or a route: when the
// one that counted goes, another one does.
func (w watches) siblings(ctx context.Context, obj client.Object) []reconcile.Request {
	var out []reconcile.Request
	for _, reference := range rollout.IndexReferences(obj) {
		kind, name, _ := strings.Cut(reference, "/")
		for _, request := range w.referring(ctx, obj.GetNamespace(), kind, name) {
			if request.Name != obj.GetName() {
				out = append(out, request)
			}
		}
	}
	return out
}

// approvalHandler puts decisions of people before everything else.
func approvalHandler() handler.TypedEventHandler[*v1alpha1.Approval, reconcile.Request] {
	add := func(approval *v1alpha1.Approval, q queue) {
		enqueue(q, urgent, types.NamespacedName{Namespace: approval.Namespace, Name: approval.Spec.TargetRef.Name})
	}
	return handler.TypedFuncs[*v1alpha1.Approval, reconcile.Request]{
		CreateFunc: func(_ context.Context, e event.TypedCreateEvent[*v1alpha1.Approval], q queue) { add(e.Object, q) },
	}
}

// enqueue adds a Rollout with a priority.
func enqueue(q queue, priority int, name types.NamespacedName) {
	request := reconcile.Request{NamespacedName: name}
	if p, ok := q.(priorityqueue.PriorityQueue[reconcile.Request]); ok {
		p.AddWithOpts(priorityqueue.AddOpts{Priority: &priority}, request)
		return
	}
	q.Add(request)
}

// trigger lets what runs beside the controller ask for a pass. It is a source:
// before the controller has started, calls are dropped, since its first pass
// over every Rollout is still to come.
type trigger struct {
	mutex sync.Mutex
	queue queue
}

// Start implements source.Source.
func (t *trigger) Start(_ context.Context, q queue) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.queue = q
	return nil
}

// call asks for a pass over a Rollout, soon: something may have failed.
func (t *trigger) call(name types.NamespacedName) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.queue != nil {
		enqueue(t.queue, urgent, name)
	}
}

// sources are everything whose changes concern Rollouts, but for the routes.
func (w watches) sources(c, unlabelled cache.Cache) []source.Source {
	unlabelledDeployment := &metav1.PartialObjectMetadata{}
	unlabelledDeployment.SetGroupVersionKind(emptyDeployment().GroupVersionKind())
	mapped := handler.EnqueueRequestsFromMapFunc
	return []source.Source{
		source.Kind[client.Object](c, &v1alpha1.Rollout{}, &handler.EnqueueRequestForObject{}),
		source.Kind[client.Object](c, &v1alpha1.Rollout{}, mapped(w.siblings), createdOrDeleted()),
		source.Kind(c, &v1alpha1.Approval{}, approvalHandler()),
		source.Kind[client.Object](c, emptyDeployment(), mapped(byLabel)),
		source.Kind[client.Object](c, emptyDeployment(), mapped(w.byKind(deploymentKind)), createdOrDeleted()),
		source.Kind[client.Object](unlabelled, unlabelledDeployment, mapped(w.byKind(deploymentKind)), createdOrDeleted()),
		source.Kind[client.Object](c, &appsv1.ReplicaSet{}, mapped(w.byReplicaSet)),
		source.Kind[client.Object](c, &corev1.Service{}, mapped(byLabel)),
		source.Kind[client.Object](c, &discoveryv1.EndpointSlice{}, mapped(byLabel)),
		source.Kind[client.Object](c, &v1alpha1.AnalysisTemplate{}, mapped(w.byKind("AnalysisTemplate")), specChanged()),
		source.Kind[client.Object](c, &v1alpha1.ClusterAnalysisTemplate{}, mapped(w.byKind("ClusterAnalysisTemplate")), specChanged()),
		source.Kind[client.Object](c, &v1alpha1.MetricSource{}, mapped(w.bySource), specChanged()),
	}
}

// createdOrDeleted passes over updates.
func createdOrDeleted() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}

// specChanged passes over updates of status alone. Annotations count: one makes
// a MetricSource the default.
func specChanged() predicate.Predicate {
	return predicate.Or[client.Object](predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{})
}
