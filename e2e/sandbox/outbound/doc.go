// Package outbound is the sandbox's stand-in for Linkerd's proxy on the side of
// the caller: an HTTP proxy that sends each request where Linkerd's destination
// controller says. Linkerd's own proxy cannot be had here: it is a Rust program
// that only container images carry. The controller that this one obeys is the
// real one, so that what it is told of a ServiceProfile is what a mesh is told.
//
// # What it does
//
// A request for the authority NAME.NAMESPACE.svc.cluster.local, with or without
// port (80), goes to one of the dstOverrides that the profile of that authority
// has, drawn at random by weight for each request, so that a measured share has
// binomial error and no other. Overrides of weight 0 are left out, and where none
// is left, the authority itself is the target, as in Linkerd's proxy. Within the
// target, ready endpoints take turns. The Host header stays as it is. HTTP/1.1
// goes on as HTTP/1.1, HTTP/2 without TLS as the same, gRPC among it.
//
// New weights are in force once the endpoints of all targets are known, or
// are not to be had within the time that a request waits. Streams that break are
// opened again; meanwhile all goes on as it was. As in Linkerd's balancer, a
// request waits up to three seconds for an endpoint that can be connected to and
// is answered with 503 or 502 after it; it goes on to the next endpoint if one
// refuses the connection. Nothing that was sent is sent again.
//
// At /metrics it has response_total as Linkerd's proxy has it on the caller's side:
// by the Service and pod that a request was sent to, and by whether that was a
// failure. Requests for which there was no endpoint to connect to are in none of them,
// as Linkerd's balancer hands these to nobody.
//
// # What it does not do
//
// It does not take over the connections of a pod: a caller must send its requests
// to the proxy, with the authority as their Host. There are no TLS, identities,
// policies or inbound side. Endpoints take turns where Linkerd's prefers fast
// ones. Of a profile, routes with their timeouts, retries and response classes
// have no effect; profiles in the caller's namespace are not asked for. An
// authority that was asked for once is followed until the proxy ends.
package outbound
