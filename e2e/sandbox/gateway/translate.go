package gateway

import (
	"cmp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// world is what a configuration is made of.
type world struct {
	address         string // of the gateway, and its port
	port            gwv1.PortNumber
	gateways        []*gwv1.Gateway // of the gateway's classes
	routes          []*route
	namespaceLabels func(string) (labels.Set, bool)
	resolver        resolver
}

// translation is a configuration of the data plane and what there is to say of
// the objects it was made of.
type translation struct {
	table    *proxy.Table
	routes   map[objectKey]routeStatus
	gateways map[objectKey]gatewayStatus
}

// routeStatus is what a route's status is to say of the gateway's parents.
type routeStatus struct {
	generation int64
	parents    []parentStatus
}

// parentStatus is the status of one parent; its conditions have no times.
type parentStatus struct {
	ref        gwv1.ParentReference
	conditions []metav1.Condition
}

// gatewayStatus is what a Gateway's status is to say.
type gatewayStatus struct {
	generation int64
	address    string
	conditions []metav1.Condition
	listeners  []listenerStatus
}

type listenerStatus struct {
	name       gwv1.SectionName
	kinds      []string
	attached   int32
	conditions []metav1.Condition
}

// translate makes a configuration. The routes come out in order of age, which
// is also the order in which they attach to listeners.
func translate(w *world) *translation {
	slices.SortFunc(w.routes, byAge)
	listeners := map[types.NamespacedName][]*listener{}
	for _, g := range w.gateways {
		name := types.NamespacedName{Namespace: g.Namespace, Name: g.Name}
		// Also a Gateway without listeners is the gateway's to speak of.
		listeners[name] = []*listener{}
		for i := range g.Spec.Listeners {
			l := newListener(g, &g.Spec.Listeners[i], w.port, w.namespaceLabels)
			if !w.hasAddress(g) {
				l.refused = string(gwv1.ListenerReasonPortUnavailable)
				l.refusedMessage = "the Gateway has an address that the gateway has not"
			}
			listeners[name] = append(listeners[name], l)
		}
	}
	out := &translation{routes: map[objectKey]routeStatus{}, gateways: map[objectKey]gatewayStatus{}}
	var entries []match.Entry[*proxy.Rule]
	for _, r := range w.routes {
		got, status := w.translateRoute(r, listeners)
		entries = append(entries, got...)
		out.routes[r.key] = status
	}
	for _, g := range w.gateways {
		key := objectKey{kindGateway, g.Namespace, g.Name}
		out.gateways[key] = w.gatewayStatus(g, listeners[types.NamespacedName{Namespace: g.Namespace, Name: g.Name}])
	}
	out.table = match.NewTable(entries)
	return out
}

// hasAddress reports whether the Gateway asks for no address or for the one
// that there is.
func (w *world) hasAddress(g *gwv1.Gateway) bool {
	for _, a := range g.Spec.Addresses {
		if a.Value != "" && a.Value != w.address {
			return false
		}
	}
	return true
}

// translateRoute returns the entries of a route in the table, and its status. A
// route without a parent of the gateway's has neither.
func (w *world) translateRoute(r *route, listeners map[types.NamespacedName][]*listener) ([]match.Entry[*proxy.Rule], routeStatus) {
	status := routeStatus{generation: r.generation}
	// References are resolved whether or not a parent accepts the route: the two
	// conditions say different things.
	var hosts []string
	rules, resolved := w.resolver.rules(r)
	for _, ref := range r.parents {
		ours, ok := listeners[parentName(r, ref)]
		if !ok || !isGateway(ref) {
			continue
		}
		var no *refusal
		if r.unsupported != nil {
			no = &refusal{gwv1.RouteReasonUnsupportedValue, r.unsupported.Error()}
		} else {
			var got []string
			got, no = attach(r, ref, ours)
			hosts = append(hosts, got...)
		}
		status.parents = append(status.parents, parentStatus{ref, []metav1.Condition{accepted(r, no), resolvedRefs(r, resolved)}})
	}
	// Several parents may give a route the same hostname.
	slices.Sort(hosts)
	var entries []match.Entry[*proxy.Rule]
	for _, host := range slices.Compact(hosts) {
		for i, rule := range rules {
			for _, m := range r.rules[i].matches {
				entries = append(entries, match.Entry[*proxy.Rule]{Host: host, Match: m, Rule: rule})
			}
		}
	}
	return entries, status
}

func parentName(r *route, ref gwv1.ParentReference) types.NamespacedName {
	return types.NamespacedName{Namespace: deref(ref.Namespace, r.key.namespace), Name: string(ref.Name)}
}

func isGateway(ref gwv1.ParentReference) bool {
	return deref(ref.Group, gwv1.GroupName) == gwv1.GroupName && deref(ref.Kind, kindGateway) == kindGateway
}

// rules resolves the references of all rules of a route. It returns a rule of
// the data plane for each, and everything that cannot be used.
func (s *resolver) rules(r *route) ([]*proxy.Rule, []unresolved) {
	var rules []*proxy.Rule
	var bad []unresolved
	resolve := func(field string, ref gwv1.BackendObjectReference) *proxy.Backend {
		b, no := s.resolve(r, field, ref)
		if no != nil {
			bad = append(bad, *no)
		}
		return b
	}
	for _, spec := range r.rules {
		rule := &proxy.Rule{
			Kind: r.key.kind, Namespace: r.key.namespace, Route: r.key.name, Name: spec.name,
			RequestHeaders: spec.request, ResponseHeaders: spec.response, Timeout: spec.timeout,
		}
		// A backend that cannot be used keeps its weight: its share of requests
		// fails and is not given to the others.
		for _, b := range spec.backends {
			rule.Backends = append(rule.Backends, proxy.WeightedBackend{
				Service: string(b.ref.Name), Weight: b.weight, Backend: resolve(b.field, b.ref),
				RequestHeaders: b.request, ResponseHeaders: b.response,
			})
		}
		for _, m := range spec.mirrors {
			rule.Mirrors = append(rule.Mirrors, proxy.Mirror{
				Service: string(m.ref.Name), Backend: resolve(m.field, m.ref), Numerator: m.numerator, Denominator: m.denominator,
			})
		}
		rules = append(rules, rule)
	}
	return rules, bad
}

// condition makes one without a time; that is set when it is written.
func condition[T, R ~string](kind T, ok bool, reason R, message string, generation int64) metav1.Condition {
	status := metav1.ConditionFalse
	if ok {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{
		Type: string(kind), Status: status, Reason: string(reason), Message: message, ObservedGeneration: generation,
	}
}

func accepted(r *route, no *refusal) metav1.Condition {
	if no != nil {
		return condition(gwv1.RouteConditionAccepted, false, no.reason, no.message, r.generation)
	}
	return condition(gwv1.RouteConditionAccepted, true, gwv1.RouteReasonAccepted, "the route is in force", r.generation)
}

// resolvedRefs has the reason of the first reference that cannot be used, and
// the messages of all.
func resolvedRefs(r *route, bad []unresolved) metav1.Condition {
	if len(bad) == 0 {
		return condition(gwv1.RouteConditionResolvedRefs, true, gwv1.RouteReasonResolvedRefs, "all references are resolved", r.generation)
	}
	var messages []string
	for _, b := range bad {
		messages = append(messages, b.message)
	}
	return condition(gwv1.RouteConditionResolvedRefs, false, bad[0].reason, strings.Join(messages, "; "), r.generation)
}

func (w *world) gatewayStatus(g *gwv1.Gateway, listeners []*listener) gatewayStatus {
	status := gatewayStatus{generation: g.Generation, address: w.address}
	usable := 0
	for _, l := range listeners {
		if l.refused == "" {
			usable++
		}
		status.listeners = append(status.listeners, l.status(g.Generation))
	}
	acceptedReason, programmedReason := gwv1.GatewayReasonAccepted, gwv1.GatewayReasonProgrammed
	message := "the Gateway is served"
	switch {
	case !w.hasAddress(g):
		acceptedReason, programmedReason = gwv1.GatewayReasonUnsupportedAddress, gwv1.GatewayReasonAddressNotUsable
		message = "the only address is " + w.address
	case usable == 0:
		acceptedReason, programmedReason = gwv1.GatewayReasonListenersNotValid, gwv1.GatewayReasonInvalid
		message = "no listener is usable: see their conditions"
	case usable < len(listeners):
		acceptedReason = gwv1.GatewayReasonListenersNotValid
		message = "not all listeners are usable: see their conditions"
	}
	status.conditions = []metav1.Condition{
		condition(gwv1.GatewayConditionAccepted, usable > 0, acceptedReason, message, g.Generation),
		condition(gwv1.GatewayConditionProgrammed, usable > 0, programmedReason, message, g.Generation),
	}
	return status
}

func (l *listener) status(generation int64) listenerStatus {
	ok := l.refused == ""
	message := cmp.Or(l.refusedMessage, "the listener is served")
	kindsReason, kindsMessage := gwv1.ListenerReasonResolvedRefs, "all kinds are supported"
	if l.wrongKinds {
		kindsReason, kindsMessage = gwv1.ListenerReasonInvalidRouteKinds, "allowedRoutes.kinds has kinds other than HTTPRoute and GRPCRoute"
	}
	programmed := gwv1.ListenerReasonProgrammed
	if !ok {
		programmed = gwv1.ListenerReasonInvalid
	}
	return listenerStatus{
		name: l.name, kinds: l.kinds, attached: int32(len(l.attached)),
		conditions: []metav1.Condition{
			condition(gwv1.ListenerConditionAccepted, ok, cmp.Or(l.refused, string(gwv1.ListenerReasonAccepted)), message, generation),
			condition(gwv1.ListenerConditionProgrammed, ok, programmed, message, generation),
			condition(gwv1.ListenerConditionResolvedRefs, !l.wrongKinds, kindsReason, kindsMessage, generation),
			condition(gwv1.ListenerConditionConflicted, false, gwv1.ListenerReasonNoConflicts, "no other listener conflicts", generation),
		},
	}
}
