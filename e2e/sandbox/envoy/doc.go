// Package envoy runs a stock Envoy as the proxy of a pod in Istio's mesh: as the
// sidecar of a client, or as a gateway.
//
// It writes the configuration that Envoy starts with, which leads it to istiod
// for clusters and routes, runs Envoy, and drains it when the pod ends. Istio's
// own build of Envoy and its agent are not needed: what they bring beyond a
// stock Envoy is certificates, metrics and the capture of connections. A client
// here names its proxy, http://POD_IP:15080, and sends the Service it means as
// the Host header.
package envoy
