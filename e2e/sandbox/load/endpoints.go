package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/clientcmd"
)

// errNoEndpoints is what a Service without ready endpoints answers, as
// kube-proxy rejects connections to it.
var errNoEndpoints = errors.New("the Service has no ready endpoints")

// endpoints chooses a ready endpoint of one Service for each new connection, at
// random, as kube-proxy does. It stands in for kube-proxy where that cannot run.
type endpoints struct {
	slices   discoverylisters.EndpointSliceNamespaceLister
	selector labels.Selector
}

// watchEndpoints follows the endpoints of service, NAMESPACE/NAME, until ctx
// ends, and returns when they are known.
func watchEndpoints(ctx context.Context, kubeconfig, service string) (*endpoints, error) {
	namespace, name, ok := strings.Cut(service, "/")
	if !ok {
		return nil, fmt.Errorf("invalid endpoints %q: want NAMESPACE/NAME of a Service", service)
	}
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("cannot read the kubeconfig: %w", err)
	}
	clients, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client: %w", err)
	}
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: name})
	factory := informers.NewSharedInformerFactoryWithOptions(clients, 0, informers.WithNamespace(namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = selector.String() }))
	lister := factory.Discovery().V1().EndpointSlices().Lister().EndpointSlices(namespace)
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("cannot list %s of Service %s: %w", kind, service, ctx.Err())
		}
	}
	return &endpoints{slices: lister, selector: selector}, nil
}

// pick returns the address of a ready endpoint, at the Service's first port.
func (e *endpoints) pick() (string, error) {
	slices, err := e.slices.List(e.selector)
	if err != nil {
		return "", fmt.Errorf("cannot list the endpoints: %w", err)
	}
	var addresses []string
	for _, slice := range slices {
		if len(slice.Ports) == 0 || slice.Ports[0].Port == nil {
			continue
		}
		port := strconv.Itoa(int(*slice.Ports[0].Port))
		for i := range slice.Endpoints {
			if ready := slice.Endpoints[i].Conditions.Ready; ready == nil || *ready {
				addresses = append(addresses, net.JoinHostPort(slice.Endpoints[i].Addresses[0], port))
			}
		}
	}
	if len(addresses) == 0 {
		return "", errNoEndpoints
	}
	return addresses[rand.IntN(len(addresses))], nil //nolint:gosec // a draw is no secret
}
