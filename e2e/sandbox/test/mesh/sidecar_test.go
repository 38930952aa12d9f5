//go:build e2e

package mesh

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

func TestVirtualService(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	// The mirrored server is no version of web, so that it has no other requests.
	m.apply(service("shadow", "version: shadow") + shopPod("shadow"))
	box.Run(t, "kubectl", "-n", m.name, "label", "--overwrite", "pod/shadow", "app=shadow")
	m.podsReady()
	m.apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - match: [{headers: {x-user: {exact: tester}}}]
    route: [{destination: {host: canary}}]
  - match: [{headers: {cookie: {regex: "^(.*;)?user=tester(;.*)?$"}}}]
    route: [{destination: {host: canary}}]
  - match: [{uri: {prefix: /broken}}]
    fault: {abort: {httpStatus: 418, percentage: {value: 100}}}
    route: [{destination: {host: stable}}]
  - match: [{uri: {prefix: /client}, sourceLabels: {app: client}}]
    route: [{destination: {host: canary}}]
  - match: [{uri: {prefix: /other}, sourceLabels: {app: other}}]
    route: [{destination: {host: canary}}]
  - match: [{uri: {prefix: /mirror}}]
    route: [{destination: {host: stable}}]
    mirrors: [{destination: {host: shadow}, percentage: {value: 100}}]
  - match: [{uri: {prefix: /weights}}]
    route:
    - {destination: {host: stable}, weight: 90}
    - {destination: {host: canary}, weight: 10}
  - route: [{destination: {host: stable}}]
`)
	stable, canary := load.Key{Version: "stable", Code: 200}, load.Key{Version: "canary", Code: 200}
	m.answered(m.web("/", "X-User", "tester"), canary)
	m.answered(m.web("/mirror"), stable)

	m.all(m.count(50, m.web("/", "X-User", "tester")), canary)
	m.all(m.count(50, m.web("/", "Cookie", "a=b;user=tester")), canary)
	m.all(m.count(50, m.web("/", "X-User", "nobody")), stable)
	m.all(m.count(50, m.web("/broken")), load.Key{Code: 418})
	m.all(m.count(50, m.web("/client")), canary)
	m.all(m.count(50, m.web("/other")), stable)
	m.shareIs(m.count(2000, m.web("/weights")), "canary", 0.1)

	before := m.served("shadow")
	m.all(m.count(100, m.web("/mirror")), stable)
	testbox.Eventually(t, "mirror", func(context.Context) error {
		if got := m.served("shadow") - before; got != 100 {
			return fmt.Errorf("the mirrored server has seen %d requests, want 100", got)
		}
		return nil
	})
}

var servedOK = regexp.MustCompile(`http_requests_total\{code="200"\} (\d+)`)

// served returns how many requests a pod of the demo app has answered.
func (m *mesh) served(pod string) int {
	m.t.Helper()
	response, err := m.client.Get("http://" + m.podIP(pod) + ":8080/metrics")
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	match := servedOK.FindSubmatch(body)
	if match == nil {
		m.t.Fatalf("no requests in:\n%s", body)
	}
	n, err := strconv.Atoi(string(match[1]))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// An HTTPRoute whose parent is a Service is the mesh's, and its status says so.
func TestHTTPRoute(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	for generation, weight := range []int{20, 60} {
		m.apply(fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
  - matches: [{headers: [{name: x-weight, value: "%d"}]}]
    backendRefs: [{name: canary, port: 80}]
  - backendRefs:
    - {name: stable, port: 80, weight: %d}
    - {name: canary, port: 80, weight: %d}
`, weight, 100-weight, weight))
		testbox.Eventually(t, "status", func(context.Context) error {
			return accepted(m.get("httproute/web", "{.status.parents}"), generation+1)
		})
		// The rule of this generation tells that it is in force.
		m.answered(m.web("/", "X-Weight", strconv.Itoa(weight)), load.Key{Version: "canary", Code: 200})
		m.shareIs(m.count(1000, m.web("/")), "canary", float64(weight)/100)
	}
}

// accepted returns an error unless the one parent accepts the generation.
func accepted(parents string, generation int) error {
	var list []struct {
		Conditions []struct {
			Type, Status       string
			ObservedGeneration int
		} `json:"conditions"`
	}
	if err := json.Unmarshal([]byte(parents), &list); err != nil {
		return fmt.Errorf("parents %q: %w", parents, err)
	}
	if len(list) != 1 {
		return fmt.Errorf("parents %s, want one", parents)
	}
	for _, c := range list[0].Conditions {
		if c.Type == "Accepted" && c.Status == "True" && c.ObservedGeneration == generation {
			return nil
		}
	}
	return fmt.Errorf("parents %s, want Accepted of generation %d", parents, generation)
}

// gRPC calls are routed as HTTP requests are, over HTTP/2.
func TestGRPC(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - match: [{port: 9000, headers: {x-user: {exact: tester}}}]
    route: [{destination: {host: canary, port: {number: 9000}}}]
  - match: [{port: 9000}]
    route:
    - {destination: {host: stable, port: {number: 9000}}, weight: 70}
    - {destination: {host: canary, port: {number: 9000}}, weight: 30}
`)
	target := "--target=http://" + m.sidecar + ":15090/shop.Shop/Buy"
	// Not a call, but it tells that the rules are there.
	m.answered(request{address: m.sidecar + ":15090", host: "web:9000", path: "/", header: http.Header{"X-User": {"tester"}}},
		load.Key{Version: "canary", Code: 200})
	log := m.load(500, target, "--host=web:9000", "--protocol=grpc")
	from := time.Now()
	m.goesOn(log, 3*time.Second)
	m.shareIs(log.DueBetween(from, from.Add(2*time.Second)), "canary", 0.3)
}

// Weights of TCP and TLS connections, through listeners of istiod's own that a
// Sidecar resource binds.
func TestTCP(t *testing.T) {
	t.Parallel()
	m := newMesh(t)
	m.apply(fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  tcp:
  - match: [{port: 9001}]
    route:
    - {destination: {host: stable, port: {number: 9001}}, weight: 80}
    - {destination: {host: canary, port: {number: 9001}}, weight: 20}
  tls:
  - match: [{port: 9443, sniHosts: [web.NAMESPACE.svc.cluster.local]}]
    route:
    - {destination: {host: stable, port: {number: 9443}}, weight: 60}
    - {destination: {host: canary, port: {number: 9443}}, weight: 40}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: client}
spec:
  workloadSelector: {labels: {app: client}}
  egress:
  - port: {number: 9001, protocol: TCP, name: tcp}
    bind: %s
    captureMode: NONE
    hosts: [./web.NAMESPACE.svc.cluster.local]
  - port: {number: 9443, protocol: TLS, name: tls}
    bind: %[1]s
    captureMode: NONE
    hosts: [./web.NAMESPACE.svc.cluster.local]
  - hosts: ["*/*"]
`, m.sidecar))
	// A connection of its own for every request, since connections are routed.
	m.client.Transport = &http.Transport{DialContext: box.Control.DialContext, DisableKeepAlives: true}
	tcp := request{address: m.sidecar + ":9001", host: "any", path: "/"}
	testbox.Eventually(t, "listeners", func(ctx context.Context) error {
		if _, err := m.send(ctx, tcp); err != nil {
			return err
		}
		before := m.connections(9443)
		m.handshake("web." + m.name + ".svc.cluster.local")
		if after := m.connections(9443); maps.Equal(before, after) {
			return fmt.Errorf("a connection for TLS led to none of %v", after)
		}
		return nil
	})
	m.shareIs(m.count(500, tcp), "canary", 0.2)

	before := m.connections(9443)
	const handshakes = 500
	for range handshakes {
		m.handshake("web." + m.name + ".svc.cluster.local")
	}
	after := m.connections(9443)
	c := load.Counts{}
	for version := range after {
		c[load.Key{Version: version, Code: 200}] = after[version] - before[version]
	}
	if diff := cmp.Diff(handshakes, c.Total()); diff != "" {
		t.Errorf("connections (-want +got):\n%s", diff)
	}
	m.shareIs(c, "canary", 0.4)
}

// handshake begins TLS with a server name. The demo app does not speak TLS and
// refuses, in one way or another: whom it reached, the sidecar's statistics tell.
func (m *mesh) handshake(serverName string) {
	m.t.Helper()
	conn, err := box.Control.DialContext(m.t.Context(), "tcp", net.JoinHostPort(m.sidecar, "9443"))
	if err != nil {
		return // nothing listens yet
	}
	defer func() { _ = conn.Close() }()
	err = tls.Client(conn, &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}).HandshakeContext(m.t.Context())
	if err == nil {
		m.t.Error("the demo app speaks TLS")
	}
}

var connectionsTo = regexp.MustCompile(`cluster\.outbound\|\d+\|\|(\w+)\.([^.]+)\.[^:]*upstream_cx_total: (\d+)`)

// connections returns how many connections the sidecar has made to each Service
// of its namespace, on a port.
func (m *mesh) connections(port int) map[string]int {
	m.t.Helper()
	response, err := m.client.Get(fmt.Sprintf("http://%s:15000/stats?filter=outbound%%5C%%7C%d.*upstream_cx_total", m.sidecar, port))
	if err != nil {
		m.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	counts := map[string]int{}
	for _, match := range connectionsTo.FindAllStringSubmatch(string(body), -1) {
		n, err := strconv.Atoi(match[3])
		if err != nil {
			m.t.Fatal(err)
		}
		if match[2] == m.name {
			counts[match[1]] = n
		}
	}
	return counts
}

// knows waits until istiod lists the proxy of a pod. It tells that to callers at
// the loopback address alone.
func (m *mesh) knows(pod string) {
	m.t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return box.Control.DialFrom(ctx, "127.0.0.1", network, address)
		},
		DisableKeepAlives: true,
	}}
	testbox.Eventually(m.t, "syncz", func(ctx context.Context) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, box.InsideIstiodURL+"/debug/syncz", nil)
		if err != nil {
			return err
		}
		response, err := client.Do(q)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		body, err := io.ReadAll(response.Body)
		if err == nil && !bytes.Contains(body, []byte(`"`+pod+"."+m.name+`"`)) {
			err = fmt.Errorf("no %s in %s: %s", pod, response.Status, body)
		}
		return err
	})
}

// Proxies route on while istiod is away, and hear of changes when it is back.
// It is not parallel, since all proxies of the sandbox are served by it.
func TestIstiodKilled(t *testing.T) {
	m := newMesh(t)
	route := func(version string) {
		m.apply(fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http:
  - route: [{destination: {host: %s}}]
`, version))
	}
	route("stable")
	m.knows("client")
	m.answered(m.web("/"), load.Key{Version: "stable", Code: 200})
	log := m.load(200, "--target=http://"+m.sidecar+":15080/", "--host=web")

	if err := box.Control.Kill(t.Context(), "istiod"); err != nil {
		t.Fatal(err)
	}
	route("canary")
	m.goesOn(log, 2*time.Second)
	m.all(m.count(20, m.web("/")), load.Key{Version: "stable", Code: 200})

	if err := box.Control.StartAgain(t.Context(), "istiod"); err != nil {
		t.Fatal(err)
	}
	m.answered(m.web("/"), load.Key{Version: "canary", Code: 200})
	m.knows("client")
	m.goesOn(log, 500*time.Millisecond)
	statuses, err := box.Control.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statuses {
		if s.Name == "istiod" && s.State != control.Running {
			t.Errorf("istiod is %s", s.State)
		}
	}
}
