// Package mesh tests the sandbox's optional parts, Istio's control plane and
// Envoy, with requests that real proxies route by rules in the API server.
package mesh
