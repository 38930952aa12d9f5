package controller

import (
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/providers/gatewayapi"
	"github.com/weir-dev/weir/providers/istio"
	"github.com/weir-dev/weir/providers/linkerd"
	"github.com/weir-dev/weir/providers/split"
)

// routeGroups are the API groups of all kinds of route.
func routeGroups() []string { return []string{gatewayv1.GroupName, istio.Group, linkerd.Group} }

// newRouter splits routes of every kind that Weir knows. One Rollout may have had
// routes of one kind and have others now, both of which have to be given back.
func newRouter(c client.Client, live client.Reader) *split.Splitter {
	return split.New(c, live, gatewayapi.Part(live), istio.Part(live), linkerd.Part(live, nil))
}
