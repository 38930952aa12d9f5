// Package served checks that what Linkerd's and Istio's own control planes serve is
// what decides whether a route counts as accepted.
package served

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/matrix"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/istio"
	istioserved "github.com/weir-dev/weir/providers/istio/served"
	"github.com/weir-dev/weir/providers/linkerd"
	linkerdserved "github.com/weir-dev/weir/providers/linkerd/served"
	"github.com/weir-dev/weir/providers/split"
)

// timeout bounds each wait.
const timeout = 60 * time.Second

var (
	box   *harness.Sandbox
	admin client.Client
	// missing is the binary without which there is nothing to test.
	missing string
	// shown is what the suite has shown.
	shown = matrix.New(matrix.Served)
)

func TestMain(m *testing.M) {
	flag.Parse()
	for _, name := range []string{"sandbox-istiod", "sandbox-linkerd"} {
		if _, err := harness.Binary(name); err != nil {
			missing = name
			os.Exit(m.Run())
		}
	}
	os.Exit(shown.Check(harness.Main(m, "served", []string{"--linkerd", "--istio", "--no-prometheus", "--no-gateway"}, func(_ context.Context, s *harness.Sandbox) (err error) {
		box = s
		admin, err = s.Client(harness.Admin, client.Options{})
		return err
	})))
}

// dial inside the sandbox.
func dial(ctx context.Context, address string) (net.Conn, error) {
	return control.NewClient(box.Dir).DialContext(ctx, "tcp", address)
}

func TestServed(t *testing.T) {
	if missing != "" {
		t.Skipf("%s is not built: run `make istiod linkerd` in e2e/sandbox", missing)
	}
	streams := linkerdserved.New(linkerdserved.Options{Address: cluster.LinkerdAddress, Dial: dial})
	proxies := istioserved.New(istioserved.Options{Address: cluster.IstiodXDS, Namespace: "weir-system", Domain: "cluster.local", Dial: dial})
	for _, run := range []func(context.Context) error{streams.Start, proxies.Start} {
		go func() { _ = run(t.Context()) }()
	}
	cases := map[string]struct {
		process, kind, name, object string
		part                        split.Part
	}{
		"Linkerd": {
			cluster.LinkerdDestination, "ServiceProfile", "web.served-linkerd.svc.cluster.local",
			"{apiVersion: linkerd.io/v1alpha2, kind: ServiceProfile, metadata: {name: web.served-linkerd.svc.cluster.local}, spec: {}}",
			linkerd.Part(admin, streams),
		},
		"Istio": {
			"istiod", "VirtualService", "web",
			"{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web}, spec: {hosts: [web], http: [{route: [{destination: {host: web}}]}]}}",
			istio.Part(admin, proxies),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := &route{t: t, splitter: split.New(admin, admin, tc.part), target: providers.Target{
				Namespace: map[string]string{"Linkerd": "served-linkerd", "Istio": "served-istio"}[name], Owner: "web",
				Routes: []v1alpha1.RouteReference{{Kind: tc.kind, Name: tc.name}},
				Pairs:  []providers.Pair{{Stable: "web", Canary: "web-canary"}},
			}}
			shown.ShowAtEnd(t, tc.kind, conformance.SaysInForce)
			c.create(tc.object)
			c.raise(1000, 1)
			c.accepted("10 percent")
			c.raise(3000, 2)
			c.accepted("30 percent")

			planes := control.NewClient(box.Dir)
			must(t, planes.Kill(t.Context(), tc.process))
			c.refused()
			must(t, c.splitter.Lower(t.Context(), c.target, 0, 3))
			c.refused()
			must(t, planes.StartAgain(t.Context(), tc.process))
			c.accepted("0 percent, by a control plane that is back")
			must(t, c.splitter.Restore(t.Context(), c.target, 4, nil))
			c.accepted("the route as it was")
		})
	}
}

// route that is split.
type route struct {
	t        *testing.T
	splitter *split.Splitter
	target   providers.Target
}

// create the Services and the route.
func (r *route) create(text string) {
	r.t.Helper()
	object := &unstructured.Unstructured{}
	must(r.t, yaml.Unmarshal([]byte(text), &object.Object))
	object.SetNamespace(r.target.Namespace)
	objects := []client.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: r.target.Namespace}}}
	for _, name := range []string{"web", "web-canary"} {
		objects = append(objects, &corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: r.target.Namespace, Name: name},
			Spec: corev1.ServiceSpec{Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{
				{Name: "http", Port: 80}, {Name: "tcp-metrics", Port: 9090},
			}},
		})
	}
	for _, o := range append(objects, object) {
		must(r.t, admin.Create(r.t.Context(), o))
	}
}

// raise the weight, and say what is seen right after.
func (r *route) raise(weight int32, stamp int64) {
	r.t.Helper()
	must(r.t, r.splitter.Raise(r.t.Context(), r.target, weight, stamp, nil))
	seen := r.observe()
	r.t.Logf("right after the write: accepted %t, %s", seen.Accepted, seen.Message)
}

// observe the route, live.
func (r *route) observe() providers.Observation {
	r.t.Helper()
	seen, err := r.splitter.Observe(r.t.Context(), r.target, true)
	must(r.t, err)
	return seen
}

// accepted waits until the control plane serves what is written.
func (r *route) accepted(what string) {
	r.t.Helper()
	began := time.Now()
	harness.Eventually(r.t, timeout, what, func(context.Context) error {
		if seen := r.observe(); !seen.Accepted || !seen.Processed {
			return errors.New(seen.Message)
		}
		return nil
	})
	r.t.Logf("%s: accepted after %s", what, time.Since(began).Round(time.Millisecond))
}

// refused waits until the control plane is known to be gone: then nothing is accepted.
func (r *route) refused() {
	r.t.Helper()
	harness.Eventually(r.t, timeout, "a control plane that is gone", func(context.Context) error {
		began := time.Now()
		seen := r.observe()
		if took := time.Since(began); took > 5*time.Second {
			return fmt.Errorf("an observation took %s", took)
		}
		if seen.Accepted || seen.Processed || !seen.Unannounced || seen.Message == "" {
			return fmt.Errorf("observed %+v", seen)
		}
		r.t.Log(seen.Message)
		return nil
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
