package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/workqueue"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
)

// statusWorkers is how many statuses are written at once.
const statusWorkers = 4

// statusWriter writes statuses that differ from what they are to be. It writes
// nothing when they do not.
type statusWriter struct {
	options
	client  gatewayclient.Interface
	listers gatewayListers
	queue   workqueue.TypedRateLimitingInterface[objectKey]

	mu sync.Mutex
	// What each object's status is to say, of the generation that is in force.
	routes   map[objectKey]routeStatus
	gateways map[objectKey]gatewayStatus
	classes  map[objectKey]int64
}

func newStatusWriter(client gatewayclient.Interface, listers gatewayListers, o options) *statusWriter {
	return &statusWriter{
		options: o, client: client, listers: listers,
		queue: workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[objectKey]()),
	}
}

// want takes over what statuses are to say; the configuration they speak of is
// in force.
func (s *statusWriter) want(t *translation, classes map[objectKey]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.enqueueChanged(s.routes, t.routes)
	for key, now := range t.gateways {
		if before, ok := s.gateways[key]; !ok || !reflect.DeepEqual(before, now) {
			s.queue.Add(key)
		}
	}
	for key, now := range classes {
		if before, ok := s.classes[key]; !ok || before != now {
			s.queue.Add(key)
		}
	}
	s.routes, s.gateways, s.classes = t.routes, t.gateways, classes
}

func (s *statusWriter) enqueueChanged(before, now map[objectKey]routeStatus) {
	for key, status := range now {
		if old, ok := before[key]; !ok || !reflect.DeepEqual(old, status) {
			s.queue.Add(key)
		}
	}
}

// check has the status of an object looked at: it may have been changed by
// someone else, or the write of it may have been seen only now.
func (s *statusWriter) check(key objectKey) { s.queue.Add(key) }

// run writes statuses until ctx is done.
func (s *statusWriter) run(ctx context.Context) {
	var workers sync.WaitGroup
	for range statusWorkers {
		workers.Go(func() {
			for s.next(ctx) {
			}
		})
	}
	<-ctx.Done()
	s.queue.ShutDown()
	workers.Wait()
}

func (s *statusWriter) next(ctx context.Context) bool {
	key, shutdown := s.queue.Get()
	if shutdown {
		return false
	}
	defer s.queue.Done(key)
	err := s.write(ctx, key)
	switch {
	case err == nil, apierrors.IsNotFound(err):
		s.queue.Forget(key)
	case ctx.Err() != nil:
		// The gateway ends; the next one writes what is missing.
	default:
		// A conflict means that the object has changed since it was read.
		if !apierrors.IsConflict(err) {
			s.log.Error("cannot write a status", slog.String("object", key.String()), slog.Any("error", err))
		}
		s.queue.AddRateLimited(key)
	}
	return true
}

// write writes the status of one object if it is not what it is to be.
func (s *statusWriter) write(ctx context.Context, key objectKey) error {
	switch key.kind {
	case kindGatewayClass:
		return s.writeClass(ctx, key)
	case kindGateway:
		return s.writeGateway(ctx, key)
	case kindHTTPRoute:
		return s.writeHTTPRoute(ctx, key)
	case kindGRPCRoute:
		return s.writeGRPCRoute(ctx, key)
	}
	return fmt.Errorf("no status of kind %q", key.kind)
}

// wrap says whose error it is that reading or writing an object has; the object
// is named where the error is logged. It keeps nil.
func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("API server: %w", err)
}

func (s *statusWriter) writeHTTPRoute(ctx context.Context, key objectKey) error {
	r, err := s.listers.httpRoutes.HTTPRoutes(key.namespace).Get(key.name)
	if err != nil {
		return wrap(err)
	}
	parents, changed := s.parents(key, r.Generation, r.Status.Parents)
	if !changed {
		return nil
	}
	// The copy has the resource version of what was compared, so that a status
	// is never written over one that has not been seen.
	r = r.DeepCopy()
	r.Status.Parents = parents
	_, err = s.client.GatewayV1().HTTPRoutes(key.namespace).UpdateStatus(ctx, r, metav1.UpdateOptions{})
	return wrap(err)
}

func (s *statusWriter) writeGRPCRoute(ctx context.Context, key objectKey) error {
	r, err := s.listers.grpcRoutes.GRPCRoutes(key.namespace).Get(key.name)
	if err != nil {
		return wrap(err)
	}
	parents, changed := s.parents(key, r.Generation, r.Status.Parents)
	if !changed {
		return nil
	}
	r = r.DeepCopy()
	r.Status.Parents = parents
	_, err = s.client.GatewayV1().GRPCRoutes(key.namespace).UpdateStatus(ctx, r, metav1.UpdateOptions{})
	return wrap(err)
}

// parents returns the parents that a route's status is to have, and whether
// that is a change. Nothing is said of a generation that is not in force yet:
// its turn comes when it is.
func (s *statusWriter) parents(key objectKey, generation int64, have []gwv1.RouteParentStatus) ([]gwv1.RouteParentStatus, bool) {
	s.mu.Lock()
	want, ok := s.routes[key]
	s.mu.Unlock()
	if !ok || want.generation != generation {
		return nil, false
	}
	merged := mergeParents(s.controllerName, have, want.parents)
	return merged, !apiequality.Semantic.DeepEqual(have, merged)
}

// mergeParents replaces the gateway's own parents among those that a route
// has. Those of other controllers stay as they are; conditions that have not
// changed keep their time.
func mergeParents(controller gwv1.GatewayController, have []gwv1.RouteParentStatus, want []parentStatus) []gwv1.RouteParentStatus {
	// Not nil: the API requires the list, be it empty.
	merged := []gwv1.RouteParentStatus{}
	for _, p := range have {
		if p.ControllerName != controller {
			merged = append(merged, p)
		}
	}
	for _, w := range want {
		var before []metav1.Condition
		i := slices.IndexFunc(have, func(p gwv1.RouteParentStatus) bool {
			return p.ControllerName == controller && apiequality.Semantic.DeepEqual(p.ParentRef, w.ref)
		})
		if i >= 0 {
			before = have[i].Conditions
		}
		merged = append(merged, gwv1.RouteParentStatus{
			ParentRef: w.ref, ControllerName: controller, Conditions: timed(before, w.conditions),
		})
	}
	return merged
}

// timed returns the wanted conditions with the times that they changed at.
func timed(before, want []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range want {
		if old := meta.FindStatusCondition(before, c.Type); old != nil {
			out = append(out, *old)
		}
		meta.SetStatusCondition(&out, c)
	}
	return out
}

func (s *statusWriter) writeGateway(ctx context.Context, key objectKey) error {
	s.mu.Lock()
	want, ok := s.gateways[key]
	s.mu.Unlock()
	g, err := s.listers.gateways.Gateways(key.namespace).Get(key.name)
	if err != nil || !ok || want.generation != g.Generation {
		return wrap(err)
	}
	status := newGatewayStatus(g.Status, want)
	if apiequality.Semantic.DeepEqual(g.Status, status) {
		return nil
	}
	g = g.DeepCopy()
	g.Status = status
	_, err = s.client.GatewayV1().Gateways(key.namespace).UpdateStatus(ctx, g, metav1.UpdateOptions{})
	return wrap(err)
}

// newGatewayStatus returns the status that a Gateway is to have.
func newGatewayStatus(have gwv1.GatewayStatus, want gatewayStatus) gwv1.GatewayStatus {
	kind := gwv1.IPAddressType
	status := gwv1.GatewayStatus{
		Addresses:  []gwv1.GatewayStatusAddress{{Type: &kind, Value: want.address}},
		Conditions: timed(have.Conditions, want.conditions),
	}
	for _, l := range want.listeners {
		one := gwv1.ListenerStatus{Name: l.name, AttachedRoutes: l.attached, SupportedKinds: []gwv1.RouteGroupKind{}}
		group := gwv1.Group(gwv1.GroupName)
		for _, kind := range l.kinds {
			one.SupportedKinds = append(one.SupportedKinds, gwv1.RouteGroupKind{Group: &group, Kind: gwv1.Kind(kind)})
		}
		var before []metav1.Condition
		if i := slices.IndexFunc(have.Listeners, func(h gwv1.ListenerStatus) bool { return h.Name == l.name }); i >= 0 {
			before = have.Listeners[i].Conditions
		}
		one.Conditions = timed(before, l.conditions)
		status.Listeners = append(status.Listeners, one)
	}
	return status
}

func (s *statusWriter) writeClass(ctx context.Context, key objectKey) error {
	s.mu.Lock()
	generation, ours := s.classes[key]
	s.mu.Unlock()
	class, err := s.listers.classes.Get(key.name)
	if err != nil || !ours || generation != class.Generation {
		return wrap(err)
	}
	want := condition(gwv1.GatewayClassConditionStatusAccepted, true, gwv1.GatewayClassReasonAccepted, "Gateways of this class are served", generation)
	status := gwv1.GatewayClassStatus{
		Conditions:        slices.Clone(class.Status.Conditions),
		SupportedFeatures: supportedFeatures(),
	}
	meta.SetStatusCondition(&status.Conditions, want)
	if apiequality.Semantic.DeepEqual(class.Status, status) {
		return nil
	}
	class = class.DeepCopy()
	class.Status = status
	_, err = s.client.GatewayV1().GatewayClasses().UpdateStatus(ctx, class, metav1.UpdateOptions{})
	return wrap(err)
}
