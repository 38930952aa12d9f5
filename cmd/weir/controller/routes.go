package controller

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/gatewayapi"
)

// router is a provider that splits routes.
type router interface {
	providers.Provider
	// Objects are empty objects of the kinds of route that it reads.
	Objects() []client.Object
	// Splits tells whether any route of a namespace is split for an owner.
	Splits(ctx context.Context, namespace, owner string) (bool, error)
}

// routers are all of them.
type routers []router

func newRouters(c client.Client, live client.Reader) routers {
	return routers{gatewayapi.New(c, live)}
}

// byName for the reconciler.
func (r routers) byName() map[v1alpha1.TrafficProvider]providers.Provider {
	out := make(map[v1alpha1.TrafficProvider]providers.Provider, len(r))
	for _, p := range r {
		out[p.Name()] = p
	}
	return out
}

// objects of all kinds of route.
func (r routers) objects() []client.Object {
	var out []client.Object
	for _, p := range r {
		out = append(out, p.Objects()...)
	}
	return out
}

// Splits tells whether any route of a namespace, of any kind, is split for an
// owner.
func (r routers) Splits(ctx context.Context, namespace, owner string) (bool, error) {
	for _, p := range r {
		if found, err := p.Splits(ctx, namespace, owner); found || err != nil {
			return found, err
		}
	}
	return false, nil
}
