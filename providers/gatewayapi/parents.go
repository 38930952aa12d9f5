package gatewayapi

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// gatewayKindName is the kind of parent that may be looked for.
const gatewayKindName = "Gateway"

// findParents notes which Gateways that have not reported on the route as it is
// now do not exist: nobody ever will for them, and nothing serves the route there.
// Of those that cannot be read nothing is known.
func (p *Provider) findParents(ctx context.Context, r *route) {
	route, err := r.reported()
	if err != nil {
		return // Its status cannot be read either: see accepted.
	}
	for _, parent := range route.Spec.ParentRefs {
		k := r.parentKey(parent)
		if k.group != gatewayv1.GroupName || k.kind != gatewayKindName || r.parentProcessed(parent, route.Status.Parents) {
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
