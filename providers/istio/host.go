package istio

import "strings"

// serviceOf is the Service of a namespace that a host names, empty where it names
// something else. Istio takes a name without dots for a Service in the namespace
// of the rule, and any other for a full name, so that "web.shop" is no Service.
// Clusters may have another domain than cluster.local.
func serviceOf(host, namespace string) string {
	name, rest, full := strings.Cut(host, ".")
	if !full {
		return name
	}
	in := namespace + ".svc"
	if rest == in || strings.HasPrefix(rest, in+".") {
		return name
	}
	return ""
}

// hostOf is the host of another Service of the same namespace, in the same form.
func hostOf(like, service string) string {
	_, rest, full := strings.Cut(like, ".")
	if !full {
		return service
	}
	return service + "." + rest
}
