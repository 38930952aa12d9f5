package gateway

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// backends are the backends in use, by what they stand for. They live as long
// as a rule refers to them, so that their connections do. It is not safe for
// concurrent use.
type backends struct {
	slices discoverylisters.EndpointSliceLister
	known  map[backendKey]*proxy.Backend
	used   map[backendKey]bool // since the last sweep
}

func newBackends(slices discoverylisters.EndpointSliceLister) *backends {
	return &backends{slices: slices, known: map[backendKey]*proxy.Backend{}, used: map[backendKey]bool{}}
}

// get returns the backend of a key, with its present endpoints.
func (b *backends) get(key backendKey) *proxy.Backend {
	b.used[key] = true
	if known, ok := b.known[key]; ok {
		return known
	}
	created := proxy.NewBackend(key.h2c)
	b.known[key] = created
	// It is not in a table yet, so no request finds it empty.
	created.Set(b.endpoints(key))
	return created
}

// refresh takes over the present endpoints of a Service.
func (b *backends) refresh(s serviceKey) {
	for key, known := range b.known {
		if key.namespace == s.namespace && key.service == s.name {
			known.Set(b.endpoints(key))
		}
	}
}

// sweep forgets the backends that nothing has asked for since the last sweep.
func (b *backends) sweep() {
	for key, known := range b.known {
		if !b.used[key] {
			// Requests that found it in the last table still end as they began.
			known.CloseIdle()
			delete(b.known, key)
		}
	}
	clear(b.used)
}

// endpoints returns the ready endpoints of a port of a Service, sorted.
func (b *backends) endpoints(key backendKey) []proxy.Endpoint {
	selector := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: key.service})
	list, err := b.slices.EndpointSlices(key.namespace).List(selector)
	if err != nil {
		return nil // a lister of a cache does not fail
	}
	var out []proxy.Endpoint
	for _, slice := range list {
		out = append(out, sliceEndpoints(slice, key.port)...)
	}
	slices.SortFunc(out, func(a, b proxy.Endpoint) int {
		if d := a.Address.Compare(b.Address); d != 0 {
			return d
		}
		return strings.Compare(a.Pod, b.Pod)
	})
	return out
}

// sliceEndpoints returns the ready endpoints of one slice. While a Service's
// slices are rearranged an endpoint may be in two of them.
func sliceEndpoints(slice *discoveryv1.EndpointSlice, portName string) []proxy.Endpoint {
	if slice.AddressType == discoveryv1.AddressTypeFQDN {
		return nil
	}
	port, ok := slicePort(slice, portName)
	if !ok {
		return nil
	}
	var out []proxy.Endpoint
	for _, e := range slice.Endpoints {
		// An unset condition means ready.
		if e.Conditions.Ready != nil && !*e.Conditions.Ready {
			continue
		}
		pod := ""
		if e.TargetRef != nil && e.TargetRef.Kind == "Pod" {
			pod = e.TargetRef.Name
		}
		for _, a := range e.Addresses {
			if addr, err := netip.ParseAddr(a); err == nil {
				out = append(out, proxy.Endpoint{Address: netip.AddrPortFrom(addr, port), Pod: pod})
			}
		}
	}
	return out
}

func slicePort(slice *discoveryv1.EndpointSlice, name string) (uint16, bool) {
	for _, p := range slice.Ports {
		if p.Port == nil || p.Protocol != nil && *p.Protocol != corev1.ProtocolTCP {
			continue
		}
		if p.Name == nil && name == "" || p.Name != nil && *p.Name == name {
			return uint16(*p.Port), true
		}
	}
	return 0, false
}
