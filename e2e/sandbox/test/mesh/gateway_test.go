//go:build e2e

package mesh

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// edge is a Gateway of Istio, its Envoys, and their Service.
const edge = `
apiVersion: v1
kind: Service
metadata: {name: edge}
spec:
  selector: {istio: edge-NAMESPACE}
  ports: [{name: http, port: 80, targetPort: 80}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: edge}
spec:
  replicas: 2
  selector: {matchLabels: {istio: edge-NAMESPACE}}
  template:
    metadata: {labels: {istio: edge-NAMESPACE}}
    spec:
      terminationGracePeriodSeconds: 20
      containers:
      - name: envoy
        image: weir.dev/envoy
        args: [--role=gateway, --drain=3s]
        readinessProbe: {httpGet: {path: /ready, port: 15000}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: edge-NAMESPACE}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [shop.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [shop.example.com]
  gateways: [edge]
  http:
  - route:
    - {destination: {host: stable}, weight: 75}
    - {destination: {host: canary}, weight: 25}
`

// A VirtualService bound to a Gateway routes what comes from outside the mesh,
// and new Envoys take the old ones' place without losing a request.
func TestGateway(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.apply(edge)
	box.Run(t, "kubectl", "-n", m.name, "rollout", "status", "deployment/edge", "--timeout="+testbox.Patience.String())
	ips := strings.Fields(m.get("pod", `{.items[?(@.metadata.labels.istio)].status.podIP}`))
	if len(ips) != 2 {
		t.Fatalf("Envoys at %v, want two", ips)
	}
	shop := request{address: ips[0] + ":80", host: "shop.example.com", path: "/"}
	testbox.Eventually(t, "gateway", func(ctx context.Context) error {
		if key, err := m.send(ctx, shop); err != nil || key.Code != 200 {
			return fmt.Errorf("got %+v and error %w", key, err)
		}
		return nil
	})
	m.shareIs(m.count(1000, shop), "canary", 0.25)
	m.all(m.count(10, request{address: ips[0] + ":80", host: "other.example.com", path: "/"}), load.Key{Code: 404})

	log := m.load(200, "--target=http://edge/", "--host=shop.example.com", "--endpoints="+m.name+"/edge", "--kubeconfig="+box.InsideKubeconfig)
	box.Run(t, "kubectl", "-n", m.name, "rollout", "restart", "deployment/edge")
	testbox.Eventually(t, "restart", func(context.Context) error {
		left := m.get("pod", `{.items[?(@.metadata.labels.istio)].status.podIP}`)
		if ready := m.get("deployment/edge", "{.status.readyReplicas}"); ready != "2" || len(strings.Fields(left)) != 2 ||
			strings.Contains(left+" ", ips[0]+" ") || strings.Contains(left+" ", ips[1]+" ") {
			return fmt.Errorf("%s ready, pods at %s, old ones at %v", ready, left, ips)
		}
		return nil
	})
	m.goesOn(log, time.Second)
	for _, pod := range []string{"stable", "canary"} {
		if log.All().Of(pod).Total() == 0 {
			t.Errorf("%s had no request: %v", pod, log.All())
		}
	}
}
