package main

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

// edge is where the users' requests are split.
type edge struct {
	// parts of the sandbox in words, and the flags that start them.
	parts string
	flags []string
	world stage.Options
	shop  stage.ShopOptions
	// way that the requests take, in words.
	way string
	// kind of the route, whose name is the shop's, and where in its spec the entries of
	// its first rule and an entry's Service are.
	kind           schema.GroupVersionKind
	rules, entries string
	service        []string
	// open prepares the shop for requests and sends them, stay does so for long.
	open func(ctx context.Context, shop *stage.Shop, rate int) (*stage.Load, error)
	stay func(ctx context.Context, shop *stage.Shop, rate int) error
	// try is a command for a request by hand.
	try func(shop *stage.Shop) string
}

// gateway is one of Gateway API.
func gateway() edge {
	return edge{
		parts: "a gateway", shop: stage.ShopOptions{Replicas: shopReplicas},
		way:   "the gateway",
		kind:  schema.GroupVersionKind{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "HTTPRoute"},
		rules: "rules", entries: "backendRefs", service: []string{"name"},
		open: func(ctx context.Context, shop *stage.Shop, rate int) (*stage.Load, error) {
			return shop.LoadThroughGateway(ctx, rate)
		},
		stay: func(ctx context.Context, shop *stage.Shop, rate int) error {
			_, err := shop.Traffic(ctx, rate)
			return err
		},
		try: func(shop *stage.Shop) string {
			return fmt.Sprintf("curl -s -H %q %s", "Host: "+shop.Host(), shop.GatewayURL)
		},
	}
}

// virtualService is the shop's in the mesh. Without retries nothing that fails is
// hidden.
const virtualService = `
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: shop}
spec:
  hosts: [shop]
  http:
  - retries: {attempts: 0}
    route: [{destination: {host: shop}}]
`

// istio is a sidecar of the callers, which istiod configures.
func istio() edge {
	sidecar := "" // its address, once it is there
	return edge{
		parts: "Istio's control plane and an Envoy", flags: []string{"--istio"},
		world: stage.Options{ControllerArgs: []string{"--istiod", cluster.IstiodXDS}},
		shop:  stage.ShopOptions{Replicas: shopReplicas, Native: true},
		way:   "a caller's sidecar",
		kind:  schema.GroupVersionKind{Group: "networking.istio.io", Version: "v1", Kind: "VirtualService"},
		rules: "http", entries: "route", service: []string{"destination", "host"},
		open: func(ctx context.Context, shop *stage.Shop, rate int) (*stage.Load, error) {
			route, err := shop.Object(virtualService)
			if err != nil {
				return nil, err
			}
			if err := shop.Admin.Create(ctx, route); err != nil {
				return nil, fmt.Errorf("cannot create the VirtualService: %w", err)
			}
			address, err := shop.StartProxy(ctx, stage.Sidecar("caller"))
			if err != nil {
				return nil, err
			}
			sidecar = address + ":" + stage.SidecarHTTP
			return shop.LoadThroughProxy(ctx, "sidecar", sidecar, stage.Name, load.HTTP, rate)
		},
		stay: func(ctx context.Context, shop *stage.Shop, rate int) error {
			_, err := shop.TrafficThroughProxy(ctx, sidecar, stage.Name, rate)
			return err
		},
		try: func(shop *stage.Shop) string {
			return fmt.Sprintf("sandbox --name %s exec -- curl -s -H %q http://%s", shop.Name, "Host: "+stage.Name, sidecar)
		},
	}
}

// traffic of the Rollout.
func (e edge) traffic() *v1alpha1.Traffic {
	return &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: e.kind.Kind, Name: stage.Name}}}
}

// canaryWeight is the canary's share in a route, in parts per 10,000. An entry without
// a weight has all of its rule, as only one that is alone may have.
func (e edge) canaryWeight(route *unstructured.Unstructured) int32 {
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", e.rules)
	if len(rules) == 0 {
		return 0
	}
	rule, _ := rules[0].(map[string]any)
	entries, _, _ := unstructured.NestedSlice(rule, e.entries)
	var canary, all int64
	for i := range entries {
		entry, _ := entries[i].(map[string]any)
		weight, written, _ := unstructured.NestedInt64(entry, "weight")
		if !written {
			weight = 1
		}
		all += weight
		if name, _, _ := unstructured.NestedString(entry, e.service...); name != stage.Name {
			canary += weight
		}
	}
	if all == 0 {
		return 0
	}
	return int32(canary * int64(v1alpha1.FullWeight) / all)
}
