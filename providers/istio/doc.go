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
// Istio does not say in a VirtualService whether proxies have it, unless told to
// (PILOT_ENABLE_STATUS). Where it does not, the object is taken for accepted when
// it is written, and the measured share is what proves it.
package istio
