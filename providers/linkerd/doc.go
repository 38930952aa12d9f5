// Package linkerd splits traffic by the dstOverrides of ServiceProfile, the way of
// Linkerd before it took Gateway API, and knows what Linkerd makes of routes of
// Gateway API with a Service as parent, which package gatewayapi writes.
//
// # What is written
//
// A ServiceProfile is for all requests to the Service that it is named after. Without
// dstOverrides they go to that Service; Weir adds two, and takes the field away at the
// end:
//
//	spec:                           spec:
//	  routes: [...]                   routes: [...]
//	                                  dstOverrides:
//	                                  - authority: web.shop.svc.cluster.local
//	                                    weight: 95m
//	                                  - authority: web-canary.shop.svc.cluster.local
//	                                    weight: 5m
//
// Weights are quantities, of which Linkerd takes thousandths. A user's own override
// of the Service is split as any entry of a route is; it must be written as Weir
// writes weights, or it could not be given back as it was.
//
// Only meshed callers obey: the split is the caller's proxy's. While there is a
// ServiceProfile, proxies pass over routes of Gateway API for the same Service.
package linkerd
