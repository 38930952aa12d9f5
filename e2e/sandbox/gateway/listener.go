package gateway

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
)

// listener is a listener of one of the Gateways, with what is attached to it.
type listener struct {
	gateway    types.NamespacedName
	name       gwv1.SectionName
	port       gwv1.PortNumber
	hostname   string
	kinds      []string // of routes that may attach
	namespaces func(name string) bool
	// refused and wrongKinds are the reasons of conditions that are not as they
	// should be; empty when they are.
	refused, refusedMessage string
	wrongKinds              bool
	// attached are the routes with the hostnames they have here.
	attached []attachment
}

// attachment is a route at a listener.
type attachment struct {
	route *route
	hosts []string
}

// newListener reads a listener. namespaceLabels returns the labels of a
// namespace, and false if there is none of that name.
func newListener(g *gwv1.Gateway, l *gwv1.Listener, port gwv1.PortNumber, namespaceLabels func(string) (labels.Set, bool)) *listener {
	out := &listener{
		gateway: types.NamespacedName{Namespace: g.Namespace, Name: g.Name},
		name:    l.Name, port: l.Port, hostname: deref(l.Hostname, ""),
	}
	out.kinds, out.wrongKinds = routeKinds(l.AllowedRoutes)
	out.namespaces = allowedNamespaces(g.Namespace, l.AllowedRoutes, namespaceLabels)
	switch {
	case l.Protocol != gwv1.HTTPProtocolType:
		out.refused = string(gwv1.ListenerReasonUnsupportedProtocol)
		out.refusedMessage = "protocol " + string(l.Protocol) + " is not supported: use HTTP"
	case l.Port != port:
		out.refused = string(gwv1.ListenerReasonPortUnavailable)
		out.refusedMessage = "the gateway listens on one port only: use that"
	case out.namespaces == nil:
		out.refused = string(gwv1.ListenerReasonUnsupportedValue)
		out.refusedMessage = "allowedRoutes.namespaces.selector is no label selector"
	}
	return out
}

// routeKinds returns the kinds of routes that may attach, and whether the
// listener names some that are not supported.
func routeKinds(allowed *gwv1.AllowedRoutes) (kinds []string, wrong bool) {
	supported := []string{kindHTTPRoute, kindGRPCRoute}
	if allowed == nil || len(allowed.Kinds) == 0 {
		return supported, false
	}
	for _, k := range allowed.Kinds {
		if deref(k.Group, gwv1.GroupName) == gwv1.GroupName && slices.Contains(supported, string(k.Kind)) {
			kinds = append(kinds, string(k.Kind))
		} else {
			wrong = true
		}
	}
	return kinds, wrong
}

// allowedNamespaces returns whether routes of a namespace may attach, or nil
// when the selector is not valid.
func allowedNamespaces(own string, allowed *gwv1.AllowedRoutes, namespaceLabels func(string) (labels.Set, bool)) func(string) bool {
	from := gwv1.NamespacesFromSame
	if allowed != nil && allowed.Namespaces != nil {
		from = gwv1.FromNamespaces(deref(allowed.Namespaces.From, string(from)))
	}
	switch from {
	case gwv1.NamespacesFromAll:
		return func(string) bool { return true }
	case gwv1.NamespacesFromSelector:
		selector, err := metav1.LabelSelectorAsSelector(allowed.Namespaces.Selector)
		if err != nil {
			return nil
		}
		return func(name string) bool {
			set, ok := namespaceLabels(name)
			return ok && selector.Matches(set)
		}
	case gwv1.NamespacesFromSame:
		return func(name string) bool { return name == own }
	case gwv1.NamespacesFromNone:
	}
	return func(string) bool { return false }
}

// named reports whether the parent reference is to this listener; without a
// section or a port it is to all of the Gateway.
func (l *listener) named(ref gwv1.ParentReference) bool {
	return (ref.SectionName == nil || *ref.SectionName == l.name) && (ref.Port == nil || *ref.Port == l.port)
}

func (l *listener) allows(r *route) bool {
	return slices.Contains(l.kinds, r.key.kind) && l.namespaces(r.key.namespace)
}

// hosts returns the hostnames for which a route gets requests here.
func (l *listener) hosts(r *route) []string {
	if len(r.hostnames) == 0 {
		return []string{l.hostname}
	}
	var list []string
	for _, h := range r.hostnames {
		if host, ok := match.Intersect(l.hostname, string(h)); ok && !slices.Contains(list, host) {
			list = append(list, host)
		}
	}
	return list
}

// has reports whether the route is attached already, by another reference.
func (l *listener) has(r *route) bool {
	return slices.ContainsFunc(l.attached, func(a attachment) bool { return a.route == r })
}

// conflicting returns an attached route of another kind that has one of the
// hosts, which Gateway API does not allow; nil if there is none.
func (l *listener) conflicting(r *route, hosts []string) *route {
	for _, a := range l.attached {
		if a.route.key.kind == r.key.kind {
			continue
		}
		for _, theirs := range a.hosts {
			for _, ours := range hosts {
				if _, ok := match.Intersect(theirs, ours); ok {
					return a.route
				}
			}
		}
	}
	return nil
}

// refusal says why a parent does not accept a route.
type refusal struct {
	reason  gwv1.RouteConditionReason
	message string
}

// attach attaches a route to the listeners that the parent reference names and
// that take it. It returns the hostnames the route has got, or the reason why
// it got none.
func attach(r *route, ref gwv1.ParentReference, listeners []*listener) ([]string, *refusal) {
	no := &refusal{gwv1.RouteReasonNoMatchingParent, "the Gateway has no usable listener of that section name and port"}
	var got []string
	for _, l := range listeners {
		if l.refused != "" || !l.named(ref) {
			continue
		}
		if !l.allows(r) {
			no = no.or(gwv1.RouteReasonNotAllowedByListeners, "allowedRoutes of the listener exclude the route's kind or namespace")
			continue
		}
		hosts := l.hosts(r)
		if len(hosts) == 0 {
			no = no.or(gwv1.RouteReasonNoMatchingListenerHostname, "no hostname of the route is one of the listener's")
			continue
		}
		// Routes attach in order of age, so what is attached already is older.
		if other := l.conflicting(r, hosts); other != nil {
			no = no.or(reasonHostnameConflict, "the older "+other.key.String()+" has a hostname of the route: use another")
			continue
		}
		if !l.has(r) {
			l.attached = append(l.attached, attachment{r, hosts})
		}
		for _, h := range hosts {
			if !slices.Contains(got, h) {
				got = append(got, h)
			}
		}
	}
	if len(got) > 0 {
		return got, nil
	}
	return nil, no
}

// reasonHostnameConflict is the reason of a route that may not share a hostname
// with a route of another kind. Gateway API demands the refusal and leaves the
// reason open; it uses this one for listeners.
const reasonHostnameConflict = gwv1.RouteConditionReason(gwv1.ListenerReasonHostnameConflict)

// or returns the refusal of the listener that came closer to taking the route.
func (r *refusal) or(reason gwv1.RouteConditionReason, message string) *refusal {
	order := []gwv1.RouteConditionReason{
		gwv1.RouteReasonNoMatchingParent, gwv1.RouteReasonNotAllowedByListeners,
		gwv1.RouteReasonNoMatchingListenerHostname, reasonHostnameConflict,
	}
	if slices.Index(order, reason) > slices.Index(order, r.reason) {
		return &refusal{reason, message}
	}
	return r
}
