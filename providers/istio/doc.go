// Package istio splits traffic by the weights of VirtualService.
//
// Weights are written as package split says, in the http, tls and tcp routes of a
// VirtualService, between the user's Service and the canary's. A destination with
// a subset keeps it; the canary's goes without, since the canary's Service selects
// nothing else.
//
// Everything else that a mesh does for a Service hangs on its host: TLS, outlier
// detection and connection pools in a DestinationRule. The user's Service keeps
// its host, and so keeps them. A DestinationRule that would be lost for the canary
// is named, and nothing is raised without it.
//
// # What is in force
//
// Istio does not say in a VirtualService whether proxies have it, unless told to
// (PILOT_ENABLE_STATUS). But istiod can be asked what it serves to sidecars, by
// Proxies; then the object is accepted when that is what the object says, route by
// route: names, order, weights by their ratio, mirrors, and the exact and regular values
// of headers and query parameters, which is all that Weir writes but faults. Those are
// written together with a rule of their own, and istiod serves an object as a whole.
//
// Asked are the http routes for Services of the object's namespace. An object is taken
// for accepted when it is written, and the measured share is what proves it, where
// nobody is asked or none of these are there to be asked for: routes for tls and tcp,
// which are in listeners; objects bound to gateways alone, whose proxies are of another
// kind and get routes by other names; those that are exported to some namespaces, or
// that delegate or are delegated to; hosts that are no Services of the namespace. So are
// rules for callers with certain labels, which are served to these alone.
package istio
