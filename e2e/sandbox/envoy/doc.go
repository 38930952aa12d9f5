// Package envoy runs a stock Envoy as the proxy of a pod in Istio's mesh: as the
// sidecar of a client, or as a gateway.
//
// It writes the configuration that Envoy starts with, which leads it to istiod
// for clusters and routes, runs Envoy, and drains it when the pod ends. Istio's
// own build of Envoy and its agent are not needed: what they bring beyond a
// stock Envoy is certificates, metrics and the capture of connections. A client
// here names its proxy, http://POD_IP:15080, and sends the Service it means as
// the Host header.
//
// # Metrics
//
// The series istio_requests_total and istio_request_duration_milliseconds are a
// stand-in: in Istio a filter of its own build makes them. Here they are made of the
// access log of the same Envoy, which has all that the filter would know: the
// cluster that a request was sent to, the code, the gRPC status, the flags of what went
// wrong, the time. They have Istio's names and labels and are served where its agent
// serves them. Labels of the other end's workload are missing, as it would have to tell
// them; so are series of the other end, since pods have no sidecar on the server's
// side.
package envoy
