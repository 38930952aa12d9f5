// Package served asks istiod over xDS which routes it serves to sidecars, as one of
// them.
//
// # What is asked
//
// One stream (aggregated discovery, state of the world), opened with the first
// question, subscribes to route configurations by the names that sidecars use where a
// port's protocol is detected: web.shop.svc.cluster.local:80. Of such a name istiod
// serves the virtual host of that Service alone, also where the port is known to be
// HTTP, while "80" would be all Services of the mesh with that port: megabytes, decoded
// anew with each change of any of them. The names are those of Services with a release
// under way; one that nobody asked for in a while is left out again, and with the last
// one the stream ends.
//
// istiod pushes on it what it pushes to all sidecars, when it pushes to them, so that
// what is kept here is what they were sent at about the same time. Of each push is kept
// what the routes of VirtualServices say, by package istio's ServedRoute, and the rest
// is dropped.
//
// # How long a pass waits
//
// What is known is answered at once. A name that is new waits for its first answer as
// long as the caller's context says. While there is no stream, and from the moment that
// it breaks, all questions fail at once, with the reason. New names are sent together
// after a short while, so that hundreds of releases at the start of the controller are
// some requests and not hundreds; Rollouts at rest are not asked for at all.
//
// After an outage the stream is soon there again, and proxies may not be: Envoy waits
// up to half a minute between its attempts. Until they are back questions fail, too, so
// that no pods are taken away to which they still send requests.
//
// # Who asks
//
// A sidecar of the namespace and the service account of Weir: istiod compares the node
// with the token. It sees what sidecars there see: a VirtualService that is exported to
// other namespaces only, or left out by a Sidecar of Weir's namespace or of the root
// namespace, is served to nobody here.
//
// With several replicas of istiod one of them answers; others may be behind. Of a value
// that was served before and is written again it cannot be told whether the old one is
// meant.
package served
