// Package gateway is the sandbox's stand-in for a Gateway API implementation:
// one process that watches the routes and proxies their requests, so that
// progressive delivery can be tried on real HTTP traffic without a mesh or an
// ingress product. It is no product itself.
//
// # What it does
//
// It serves every Gateway of every GatewayClass with its controller name, all
// on one address. HTTPRoute: hostnames, matches by path, header, query and
// method with the precedence that Gateway API demands, weights,
// RequestHeaderModifier and ResponseHeaderModifier (of rules and of backends),
// RequestMirror with percent and fraction, and timeouts. GRPCRoute: hostnames,
// matches by method and header, weights and the same filters, over HTTP/2
// without TLS. Backends are Services, also of other namespaces by
// ReferenceGrant; requests go to their ready endpoints, in turn, as
// EndpointSlices list them. The backend of a request is drawn at random by
// weight, so that a measured share has binomial error and no other.
//
// A condition of a route with the present observedGeneration is a promise kept:
// it is written after the configuration it speaks of is in force, for every
// request that arrives from then on. Real implementations promise less.
//
// An endpoint that is no longer listed as ready gets no further request, and
// requests under way to it end normally. A request is sent to a second
// endpoint only if the first was removed while it was being connected to and
// has got no byte of it; there are no other retries, so that a pod that fails
// is seen to fail.
//
// # What it does not do
//
// TLS; RequestRedirect, URLRewrite, CORS, external authorization and
// extensions; retries and session persistence; routes attached to Services
// (mesh) or to ListenerSets; TCPRoute, TLSRoute and UDPRoute; backends other
// than Services; addresses or ports of one's own for each Gateway. A route that
// uses what it does not do is not accepted, with a message that names the
// field, and none of its rules is in force. Listeners are not isolated from
// each other: of all routes the most specific hostname decides.
package gateway
