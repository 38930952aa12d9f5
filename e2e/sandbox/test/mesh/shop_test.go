//go:build e2e

package mesh

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// mesh is a namespace with Service web, which has two versions of the demo app
// behind it, a Service for each of them, and a client's sidecar.
type mesh struct {
	t      *testing.T
	name   string
	client *http.Client
	// sidecar is the address of the client's proxy, without a port.
	sidecar string
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	m := &mesh{t: t, name: "mesh-" + strings.ToLower(strings.NewReplacer("/", "-").Replace(t.Name())), client: newClient()}
	box.Run(t, "kubectl", "create", "namespace", m.name)
	t.Cleanup(func() {
		// Without its pods a namespace holds nothing that costs the next test time.
		cmd := box.Command(context.Background(), "kubectl", "-n", m.name, "delete", "deployment,pod", "--all", "--grace-period=1", "--wait=false")
		if _, err := testbox.Output(cmd); err != nil {
			t.Error(err)
		}
	})
	services := service("web", "app: web")
	for _, version := range []string{"stable", "canary"} {
		services += service(version, "version: "+version) + shopPod(version)
	}
	m.apply(services + `
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec:
  terminationGracePeriodSeconds: 20
  containers:
  - name: envoy
    image: weir.dev/envoy
    args: [--tcp, --http=15080=80, --http=15090=9000]
    readinessProbe: {httpGet: {path: /ready, port: 15000}}
`)
	m.podsReady()
	m.sidecar = m.podIP("client")
	return m
}

// newClient makes a client inside the sandbox's network.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{DialContext: box.Control.DialContext}, Timeout: 5 * time.Second}
}

// service is the manifest of a Service on every port that istiod reads a
// protocol from.
func service(name, selector string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Service
metadata: {name: %s}
spec:
  selector: {%s}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: grpc, port: 9000, targetPort: 8080}
  - {name: tcp, port: 9001, targetPort: 8080}
  - {name: tls, port: 9443, targetPort: 8080}
---
`, name, selector)
}

func shopPod(version string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web, version: %[1]s}}
spec:
  containers:
  - name: shop
    image: weir.dev/shop:%[1]s
    readinessProbe: {periodSeconds: 1, httpGet: {path: /healthz, port: 8080}}
---
`, version)
}

// apply applies manifests in the mesh's namespace. NAMESPACE in them is its
// name.
func (m *mesh) apply(manifests string) {
	m.t.Helper()
	cmd := box.Command(m.t.Context(), "kubectl", "-n", m.name, "apply", "-f", "-")
	cmd.Stdin = strings.NewReader(strings.ReplaceAll(manifests, "NAMESPACE", m.name))
	testbox.MustRun(m.t, cmd)
}

// get returns a field of an object.
func (m *mesh) get(object, jsonPath string) string {
	m.t.Helper()
	return box.Run(m.t, "kubectl", "-n", m.name, "get", object, "-o", "jsonpath="+jsonPath)
}

func (m *mesh) podIP(pod string) string {
	m.t.Helper()
	return m.get("pod/"+pod, "{.status.podIP}")
}

func (m *mesh) podsReady() {
	m.t.Helper()
	box.Run(m.t, "kubectl", "-n", m.name, "wait", "--for=condition=Ready", "pod", "--all", "--timeout="+testbox.Patience.String())
}

// request is what a client asks of a proxy.
type request struct {
	address, host, path string
	header              http.Header
}

// web is a request to Service web through the sidecar.
func (m *mesh) web(path string, header ...string) request {
	r := request{address: m.sidecar + ":15080", host: "web", path: path, header: http.Header{}}
	for i := 0; i+1 < len(header); i += 2 {
		r.header.Set(header[i], header[i+1])
	}
	return r
}

// send sends a request once.
func (m *mesh) send(ctx context.Context, r request) (load.Key, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.address+r.path, nil)
	if err != nil {
		return load.Key{}, err
	}
	q.Host, q.Header = r.host, r.header.Clone()
	response, err := m.client.Do(q)
	if err != nil {
		return load.Key{}, err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return load.Key{Version: response.Header.Get(shop.VersionHeader), Code: response.StatusCode}, err
}

// answered waits until a request gets an answer, and gets it again and again:
// without a rule a Service's own pods give it by chance.
func (m *mesh) answered(r request, want load.Key) {
	m.t.Helper()
	testbox.Eventually(m.t, r.host+r.path, func(ctx context.Context) error {
		for range 20 {
			got, err := m.send(ctx, r)
			if err != nil {
				return err
			}
			if got != want {
				return fmt.Errorf("got %+v, want %+v", got, want)
			}
		}
		return nil
	})
}

// count sends a request n times.
func (m *mesh) count(n int, r request) load.Counts {
	m.t.Helper()
	counts := load.Counts{}
	for range n {
		key, err := m.send(m.t.Context(), r)
		if err != nil {
			m.t.Fatal(err)
		}
		counts[key]++
	}
	return counts
}

// all fails the test unless all answers are alike.
func (m *mesh) all(c load.Counts, want load.Key) {
	m.t.Helper()
	if c[want] != c.Total() {
		m.t.Errorf("got %v, want nothing but %+v", c, want)
	}
}

// shareIs fails the test if the share of a version is not what a weight of p
// gives, or an answer is bad.
func (m *mesh) shareIs(c load.Counts, version string, p float64) {
	m.t.Helper()
	testbox.ShareIs(m.t, c, version, p)
	if c.Bad().Total() != 0 {
		m.t.Errorf("bad answers: %v", c.Bad())
	}
}

// load starts a load and returns its log once it has had a first good answer.
func (m *mesh) load(rate int, flags ...string) *load.Log {
	m.t.Helper()
	return box.Load(m.t, "load-"+m.name, append([]string{"--rate=" + strconv.Itoa(rate), "--await=30s"}, flags...)...)
}

// goesOn waits until a load has gone on for a time, and fails the test if any
// answer was bad.
func (m *mesh) goesOn(log *load.Log, over time.Duration) {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), over+testbox.Patience)
	defer cancel()
	if err := log.WaitCovered(ctx, time.Now().Add(over)); err != nil {
		m.t.Fatal(err)
	}
	testbox.NoneBad(m.t, log)
}
