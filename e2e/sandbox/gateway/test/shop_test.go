//go:build e2e

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// shop is a namespace with versions of the demo app behind the gateway. Its
// name is also the hostname of its routes.
type shop struct {
	t    *testing.T
	name string
}

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, name: box.Namespace(t, "shop-")}
	t.Cleanup(func() {
		// Without their pods the namespaces hold nothing that costs the next
		// test time.
		err := box.Kube.AppsV1().Deployments(s.name).DeleteCollection(context.Background(), metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			t.Error(err)
		}
	})
	return s
}

// deploy creates a Deployment and its Service for a version, and waits for the
// pods.
func (s *shop) deploy(version string, replicas int32, env ...corev1.EnvVar) {
	s.t.Helper()
	box.Expose(s.t, s.name, version, version)
	box.Deploy(s.t, s.name, version, replicas, testbox.Shop(version, env...))
	box.RolledOut(s.t, s.name, version)
}

// share is a version and its weight.
type share struct {
	version string
	weight  int32
}

func backendRefs(shares []share) []gwv1.HTTPBackendRef {
	var refs []gwv1.HTTPBackendRef
	for _, sh := range shares {
		refs = append(refs, gwv1.HTTPBackendRef{BackendRef: backendRef(sh)})
	}
	return refs
}

func backendRef(sh share) gwv1.BackendRef {
	return gwv1.BackendRef{
		BackendObjectReference: gwv1.BackendObjectReference{Name: gwv1.ObjectName(sh.version), Port: ptr.To[gwv1.PortNumber](80)},
		Weight:                 &sh.weight,
	}
}

func (s *shop) parents() gwv1.CommonRouteSpec {
	return gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "sandbox", Namespace: ptr.To[gwv1.Namespace]("default")}}}
}

// route creates the HTTPRoute of the shop and waits until it is in force.
func (s *shop) route(rule gwv1.HTTPRouteRule) {
	s.t.Helper()
	route := &gwv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Spec: gwv1.HTTPRouteSpec{
		CommonRouteSpec: s.parents(), Hostnames: []gwv1.Hostname{gwv1.Hostname(s.name)}, Rules: []gwv1.HTTPRouteRule{rule},
	}}
	if _, err := box.gw.GatewayV1().HTTPRoutes(s.name).Create(s.t.Context(), route, metav1.CreateOptions{}); err != nil {
		s.t.Fatal(err)
	}
	s.inForce()
}

// shift changes the weights and returns the time at which the route's status
// had said that they are in force.
func (s *shop) shift(shares ...share) time.Time {
	s.t.Helper()
	patch, err := json.Marshal([]map[string]any{{"op": "replace", "path": "/spec/rules/0/backendRefs", "value": backendRefs(shares)}})
	if err != nil {
		s.t.Fatal(err)
	}
	routes := box.gw.GatewayV1().HTTPRoutes(s.name)
	if _, err := routes.Patch(s.t.Context(), "shop", types.JSONPatchType, patch, metav1.PatchOptions{}); err != nil {
		s.t.Fatal(err)
	}
	return s.inForce()
}

func (s *shop) inForce() time.Time {
	s.t.Helper()
	testbox.Eventually(s.t, "HTTPRoute", func(ctx context.Context) error {
		r, err := box.gw.GatewayV1().HTTPRoutes(s.name).Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return fmt.Errorf("API server: %w", err)
		}
		return inForce(r.Generation, r.Status.Parents)
	})
	return time.Now()
}

// inForce returns an error unless all conditions of the one parent are true
// and of the generation.
func inForce(generation int64, parents []gwv1.RouteParentStatus) error {
	if len(parents) != 1 || len(parents[0].Conditions) != 2 {
		return fmt.Errorf("parents %+v, want one with two conditions", parents)
	}
	for _, c := range parents[0].Conditions {
		if c.Status != metav1.ConditionTrue || c.ObservedGeneration != generation {
			return fmt.Errorf("condition %+v, want it true for generation %d", c, generation)
		}
	}
	return nil
}

// load starts a load on the shop through the gateway and returns its log.
func (s *shop) load(rate int, flags ...string) *load.Log {
	s.t.Helper()
	return box.Load(s.t, "load-"+s.name, append([]string{
		"--target=http://10.0.0.3/shop.Shop/Buy", "--host=" + s.name, "--rate=" + strconv.Itoa(rate), "--bind=10.244.250.1",
	}, flags...)...)
}

// metrics returns the gateway's metrics.
func metrics(t *testing.T) *http.Response {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: box.Control.DialContext, DisableKeepAlives: true}}
	response, err := client.Get("http://10.0.0.3:9100/metrics")
	if err != nil {
		t.Fatal(err)
	}
	return response
}
