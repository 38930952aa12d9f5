package linkerd

import (
	"context"
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// meshRoute is an HTTPRoute whose parent is the Service.
func (m *mesh) meshRoute() *gatewayv1.HTTPRoute {
	return &gatewayv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: "shop-http"},
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{
				Group: ptr.To(gatewayv1.Group("")), Kind: ptr.To(gatewayv1.Kind("Service")), Name: stage.Name, Port: ptr.To[gatewayv1.PortNumber](80),
			}}},
			Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: stage.Name, Port: ptr.To[gatewayv1.PortNumber](80)},
			}}}}},
		},
	}
}

// acceptRoute says in the route's status what Linkerd's policy controller says there,
// which does not run in the sandbox: that it is accepted as it is, until the test ends.
func (m *mesh) acceptRoute(route *gatewayv1.HTTPRoute) {
	accept := func(ctx context.Context) error {
		now := &gatewayv1.HTTPRoute{}
		if err := m.Admin.Get(ctx, client.ObjectKeyFromObject(route), now); err != nil {
			return client.IgnoreNotFound(err)
		}
		if parents := now.Status.Parents; len(parents) > 0 && parents[0].Conditions[0].ObservedGeneration == now.Generation {
			return nil
		}
		status := gatewayv1.RouteParentStatus{ParentRef: now.Spec.ParentRefs[0], ControllerName: "linkerd.io/policy-controller"}
		for _, kind := range []string{"Accepted", "ResolvedRefs"} {
			status.Conditions = append(status.Conditions, metav1.Condition{
				Type: kind, Status: metav1.ConditionTrue, Reason: kind, ObservedGeneration: now.Generation, LastTransitionTime: metav1.Now(),
			})
		}
		now.Status.Parents = []gatewayv1.RouteParentStatus{status}
		return m.Admin.Status().Update(ctx, now)
	}
	go func() {
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-m.T.Context().Done():
				return
			case <-ticker.C:
				if err := accept(m.T.Context()); err != nil && m.T.Context().Err() == nil && !apierrors.IsConflict(err) {
					m.T.Error(err)
					return
				}
			}
		}
	}()
}

// TestSwitchToHTTPRoute: a user moves from a ServiceProfile to an HTTPRoute. In the middle
// of a release Weir lets nobody; once it is aborted, the profile is what the user wrote,
// and the HTTPRoute carries the weights. When the Rollout is deleted in the middle of
// that, the HTTPRoute is what the user wrote, too.
func TestSwitchToHTTPRoute(t *testing.T) {
	t.Parallel()
	const empty = `{"routes": [{"name": "buy", "condition": {"pathRegex": "/buy"}}]}`
	m := open(t, "switch", empty)
	profile := m.Live(m.profile(empty))
	byProfile := &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "ServiceProfile", Name: m.authority}}}
	byRoute := &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "shop-http"}}}
	to := func(r *v1alpha1.Rollout) { r.Spec.Traffic = byRoute }
	m.Must(m.CreateRollout(t.Context(), v1alpha1.RolloutSpec{Traffic: byProfile, Steps: []v1alpha1.Step{stage.Hold(30, "1h")}}))
	m.Must(m.Release(t.Context(), "v2", nil))
	m.AwaitState("the first step", stage.AtStep(0))
	if err := m.EditRollout(t.Context(), to); !apierrors.IsInvalid(err) {
		t.Errorf("a switch in the middle of a release is answered with %v", err)
	}
	m.Abort()
	m.GivenBack(profile)

	route := m.meshRoute()
	m.Must(m.Admin.Create(t.Context(), route))
	like := &unstructured.Unstructured{Object: map[string]any{"apiVersion": gatewayv1.GroupVersion.String(), "kind": "HTTPRoute"}}
	like.SetNamespace(m.Namespace)
	like.SetName(route.Name)
	written := m.Live(like)
	m.acceptRoute(route)
	m.Must(m.Admin.Delete(t.Context(), profile))
	m.Must(m.EditRollout(t.Context(), to))
	m.Must(m.Release(t.Context(), "v3", nil))
	m.AwaitState("the first step by the HTTPRoute", func(r *v1alpha1.Rollout) bool {
		return r.Status.Release.Number == 2 && stage.AtStep(0)(r)
	})
	now := &gatewayv1.HTTPRoute{}
	m.Must(m.Admin.Get(t.Context(), client.ObjectKeyFromObject(route), now))
	weights := map[gatewayv1.ObjectName]int32{}
	for _, ref := range now.Spec.Rules[0].BackendRefs {
		weights[ref.Name] = ptr.Deref(ref.Weight, 1)
	}
	if stable, canary := weights[stage.Name], weights[stage.Name+"-canary"]; canary == 0 || 10*canary != 3*(stable+canary) {
		t.Errorf("the HTTPRoute has the weights %v, not 30 percent for the canary", weights)
	}
	m.Must(m.Admin.Delete(t.Context(), &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: m.Namespace, Name: stage.Name}}))
	harness.Eventually(t, time.Minute, "the Rollout to be gone", func(ctx context.Context) error {
		r, err := m.Rollout(ctx)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New(stage.Describe(r)), err)
	})
	m.GivenBack(written)
	m.NoneFailed()
}
