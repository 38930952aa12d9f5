package gatewayapi

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gatewayKindName is the kind of parent that may be looked for, gatewayClassName
// the one that says whose it is.
const gatewayKindName, gatewayClassName = "Gateway", "GatewayClass"

// parents looks for the Gateways of routes, live.
type parents struct{ live client.Reader }

// find notes which Gateways that have not reported on the route as it is
// now do not exist: nobody ever will for them, and nothing serves the route there.
// Of those that cannot be read nothing is known.
func (p parents) find(ctx context.Context, r *report) {
	for _, parent := range r.spec.ParentRefs {
		k := r.parentKey(parent)
		if !k.isGateway() || r.parentProcessed(parent) {
			continue
		}
		gateway := &metav1.PartialObjectMetadata{}
		gateway.SetGroupVersionKind(gatewayKind(gatewayKindName))
		err := p.live.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: k.name}, gateway)
		if apierrors.IsNotFound(err) {
			r.gone = append(r.gone, k)
		}
	}
}

// isGateway tells whether the parent is one that may be looked for.
func (k parentKey) isGateway() bool {
	return k.group == gatewayv1.GroupName && k.kind == gatewayKindName
}

// settle finds out whose those Gateways are for which several controllers answer:
// whoever moved a Gateway from one implementation to another has left the
// reports of the former in the status of its routes, where nothing brings them up
// to date or takes them away. A Gateway belongs to the controller that its class
// names. What any other still carries by an old configuration, no change of the
// route reaches any more, so to wait for it would be of no use. Of a Gateway or a
// class that cannot be read nothing is known.
func (p parents) settle(ctx context.Context, r *report) {
	for _, parent := range r.spec.ParentRefs {
		k := r.parentKey(parent)
		if !k.isGateway() || !several(r.answersOf(parent)) {
			continue
		}
		if name := p.controllerOf(ctx, k); name != "" {
			if r.inCharge == nil {
				r.inCharge = map[parentKey]gatewayv1.GatewayController{}
			}
			r.inCharge[k] = name
		}
	}
}

// controllerOf is the controller that the class of a Gateway names; empty where it
// cannot be told.
func (p parents) controllerOf(ctx context.Context, k parentKey) gatewayv1.GatewayController {
	gateway, class := &unstructured.Unstructured{}, &unstructured.Unstructured{}
	gateway.SetGroupVersionKind(gatewayKind(gatewayKindName))
	class.SetGroupVersionKind(gatewayKind(gatewayClassName))
	if err := p.live.Get(ctx, client.ObjectKey{Namespace: k.namespace, Name: k.name}, gateway); err != nil {
		return ""
	}
	name, _, _ := unstructured.NestedString(gateway.Object, "spec", "gatewayClassName")
	if err := p.live.Get(ctx, client.ObjectKey{Name: name}, class); err != nil {
		return ""
	}
	controller, _, _ := unstructured.NestedString(class.Object, "spec", "controllerName")
	return gatewayv1.GatewayController(controller)
}
