package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	gatewayinformers "sigs.k8s.io/gateway-api/pkg/client/informers/externalversions"
	gatewaylisters "sigs.k8s.io/gateway-api/pkg/client/listers/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// serviceKey names a Service.
type serviceKey struct{ namespace, name string }

// options are what a controller has to know.
type options struct {
	controllerName gwv1.GatewayController
	address        string // that the status of Gateways states
	port           gwv1.PortNumber
	log            *slog.Logger
}

// controller keeps the data plane and the statuses as the objects in the API
// server say. One goroutine, run, changes the data plane; others write
// statuses, so that a slow API server does not hold up the data plane.
type controller struct {
	options
	proxy    *proxy.Proxy
	backends *backends
	statuses *statusWriter

	core informers.SharedInformerFactory
	gw   gatewayinformers.SharedInformerFactory
	gwv1 gatewayListers

	wake  chan struct{} // has a value when there is something to do
	mu    sync.Mutex
	dirty map[serviceKey]bool // whose endpoints have changed
	stale bool                // the table has to be made anew
}

// gatewayListers are the listers of Gateway API's kinds.
type gatewayListers struct {
	classes    gatewaylisters.GatewayClassLister
	gateways   gatewaylisters.GatewayLister
	httpRoutes gatewaylisters.HTTPRouteLister
	grpcRoutes gatewaylisters.GRPCRouteLister
	grants     gatewaylisters.ReferenceGrantLister
}

func newController(core kubernetes.Interface, gw gatewayclient.Interface, p *proxy.Proxy, o options) (*controller, error) {
	c := &controller{
		options: o, proxy: p,
		core:  informers.NewSharedInformerFactoryWithOptions(core, 0, informers.WithTransform(trim)),
		gw:    gatewayinformers.NewSharedInformerFactoryWithOptions(gw, 0, gatewayinformers.WithTransform(trim)),
		wake:  make(chan struct{}, 1),
		dirty: map[serviceKey]bool{},
	}
	// Asking for a lister is what makes a factory start its informer.
	v1 := c.gw.Gateway().V1()
	c.gwv1 = gatewayListers{
		v1.GatewayClasses().Lister(), v1.Gateways().Lister(), v1.HTTPRoutes().Lister(), v1.GRPCRoutes().Lister(), v1.ReferenceGrants().Lister(),
	}
	c.backends = newBackends(c.core.Discovery().V1().EndpointSlices().Lister())
	c.statuses = newStatusWriter(gw, c.gwv1, o)
	return c, c.watch()
}

// trim drops what the gateway has no use for from what the caches keep.
func trim(object any) (any, error) {
	if o, ok := object.(metav1.Object); ok {
		o.SetManagedFields(nil)
	}
	return object, nil
}

// watch registers what each kind of event makes necessary.
func (c *controller) watch() error {
	v1, core := c.gw.Gateway().V1(), c.core.Core().V1()
	_, err1 := c.core.Discovery().V1().EndpointSlices().Informer().AddEventHandler(onChange(c.markEndpoints))
	_, err2 := core.Services().Informer().AddEventHandler(onDifference(c.markStale, func(s *corev1.Service) any {
		return []any{s.Spec.Ports, s.Spec.Type}
	}))
	_, err3 := core.Namespaces().Informer().AddEventHandler(onDifference(c.markStale, func(n *corev1.Namespace) any { return n.Labels }))
	_, err4 := v1.ReferenceGrants().Informer().AddEventHandler(onDifference(c.markStale, func(g *gwv1.ReferenceGrant) any { return g.Spec }))
	_, err5 := v1.GatewayClasses().Informer().AddEventHandler(onObject(c, kindGatewayClass))
	_, err6 := v1.Gateways().Informer().AddEventHandler(onObject(c, kindGateway))
	_, err7 := v1.HTTPRoutes().Informer().AddEventHandler(onObject(c, kindHTTPRoute))
	_, err8 := v1.GRPCRoutes().Informer().AddEventHandler(onObject(c, kindGRPCRoute))
	return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
}

// onChange calls f with every object that changes, as it was and as it is.
func onChange(f func(object any)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: f,
		// The old object counts, too: a slice may be relabelled to another Service.
		UpdateFunc: func(old, now any) { f(old); f(now) },
		DeleteFunc: func(object any) {
			// The last known state of an object whose deletion was not seen.
			if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = gone.Obj
			}
			f(object)
		},
	}
}

// onDifference calls f when an object comes or goes, or the part of it changes
// that part returns.
func onDifference[T any](f func(), part func(T) any) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { f() },
		UpdateFunc: func(old, now any) {
			if !reflect.DeepEqual(part(old.(T)), part(now.(T))) {
				f()
			}
		},
		DeleteFunc: func(any) { f() },
	}
}

// onObject is for the kinds with a status of the gateway's: a new generation
// changes the configuration; any change may have spoiled the status.
func onObject(c *controller, kind string) cache.ResourceEventHandler {
	check := func(object any) {
		if o, ok := object.(metav1.Object); ok {
			c.statuses.check(objectKey{kind, o.GetNamespace(), o.GetName()})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { c.markStale() },
		UpdateFunc: func(old, now any) {
			// One deleted and made again while not watched has a new UID, and
			// may have the same generation.
			if old.(metav1.Object).GetGeneration() != now.(metav1.Object).GetGeneration() ||
				old.(metav1.Object).GetUID() != now.(metav1.Object).GetUID() {
				c.markStale()
			}
			check(now)
		},
		DeleteFunc: func(any) { c.markStale() },
	}
}

func (c *controller) markStale() {
	c.mu.Lock()
	c.stale = true
	c.mu.Unlock()
	c.signal()
}

func (c *controller) markEndpoints(object any) {
	slice, ok := object.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	c.mu.Lock()
	c.dirty[serviceKey{slice.Namespace, slice.Labels[discoveryv1.LabelServiceName]}] = true
	c.mu.Unlock()
	c.signal()
}

func (c *controller) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // it is going to look anyway
	}
}

// sync starts the informers and puts the first configuration in force.
func (c *controller) sync(ctx context.Context) error {
	c.core.Start(ctx.Done())
	c.gw.Start(ctx.Done())
	synced := c.core.WaitForCacheSync(ctx.Done())
	maps.Copy(synced, c.gw.WaitForCacheSync(ctx.Done()))
	for kind, ok := range synced {
		if !ok {
			return fmt.Errorf("cannot list %v: %w", kind, context.Cause(ctx))
		}
	}
	// What the first listing has marked is in the first configuration.
	c.take()
	c.rebuild()
	return nil
}

// run follows the changes until ctx is done.
func (c *controller) run(ctx context.Context) {
	var writing sync.WaitGroup
	writing.Go(func() { c.statuses.run(ctx) })
	defer writing.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		// Endpoints come first: they are many, quick to change and urgent, since
		// a pod that leaves is about to end.
		services, stale := c.take()
		for s := range services {
			c.backends.refresh(s)
		}
		if stale {
			c.rebuild()
		}
	}
}

// take returns what there is to do and clears it.
func (c *controller) take() (map[serviceKey]bool, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	services, stale := c.dirty, c.stale
	c.dirty, c.stale = map[serviceKey]bool{}, false
	return services, stale
}

// rebuild puts a configuration in force that is made of everything known now,
// and only then lets the statuses be written that speak of it.
func (c *controller) rebuild() {
	w := c.world()
	t := translate(w)
	c.proxy.SetTable(t.table)
	// Only now is nothing sent to a backend that the new table does not have.
	c.backends.sweep()
	c.statuses.want(t, c.classGenerations())
}

// world reads everything from the caches. A lister of a cache does not fail.
func (c *controller) world() *world {
	w := &world{address: c.address, port: c.port, namespaceLabels: c.namespaceLabels}
	classes := c.classGenerations()
	all := labels.Everything()
	// A Gateway is the gateway's if its class is; a class that is deleted takes
	// its Gateways out of service, whatever their status says.
	gateways, _ := c.gwv1.gateways.List(all)
	for _, g := range gateways {
		if _, ours := classes[objectKey{kind: kindGatewayClass, name: string(g.Spec.GatewayClassName)}]; ours {
			w.gateways = append(w.gateways, g)
		}
	}
	httpRoutes, _ := c.gwv1.httpRoutes.List(all)
	for _, r := range httpRoutes {
		w.routes = append(w.routes, fromHTTPRoute(r))
	}
	grpcRoutes, _ := c.gwv1.grpcRoutes.List(all)
	for _, r := range grpcRoutes {
		w.routes = append(w.routes, fromGRPCRoute(r))
	}
	grants, _ := c.gwv1.grants.List(all)
	w.resolver = resolver{service: c.service, grants: slices.Clone(grants), backend: c.backends.get}
	return w
}

// classGenerations returns the generations of the gateway's GatewayClasses.
func (c *controller) classGenerations() map[objectKey]int64 {
	out := map[objectKey]int64{}
	classes, _ := c.gwv1.classes.List(labels.Everything())
	for _, class := range classes {
		if class.Spec.ControllerName == c.controllerName {
			out[objectKey{kind: kindGatewayClass, name: class.Name}] = class.Generation
		}
	}
	return out
}

func (c *controller) namespaceLabels(name string) (labels.Set, bool) {
	n, err := c.core.Core().V1().Namespaces().Lister().Get(name)
	if err != nil {
		return nil, false
	}
	return n.Labels, true
}

func (c *controller) service(namespace, name string) (*corev1.Service, bool) {
	s, err := c.core.Core().V1().Services().Lister().Services(namespace).Get(name)
	return s, err == nil
}
