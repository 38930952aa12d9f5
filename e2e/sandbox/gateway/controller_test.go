package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	gatewayfake "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned/fake"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// patience is how long a test waits for what has to come at once.
const patience = 30 * time.Second

// rig is a gateway with fake clients, real servers as pods, and a real server
// of its own.
type rig struct {
	t      *testing.T
	core   *fake.Clientset
	gw     *gatewayfake.Clientset
	proxy  *proxy.Proxy
	server *httptest.Server
}

// newRig starts a gateway for Gateway infra/gw with the given objects in the
// API server.
func newRig(t *testing.T, route *gwv1.HTTPRoute, core ...runtime.Object) *rig {
	t.Helper()
	class := &gwv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "sandbox", Generation: 1}, Spec: gwv1.GatewayClassSpec{ControllerName: ControllerName},
	}
	r := &rig{
		t: t, core: fake.NewClientset(core...), gw: gatewayfake.NewSimpleClientset(class, route), proxy: proxy.New(prometheus.NewRegistry(), "sandbox_gateway"),
	}
	// The fake would file a Gateway that it is made with under a wrong plural.
	if _, err := r.gw.GatewayV1().Gateways("infra").Create(t.Context(), newGateway(open("http")), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.gw.PrependReactor("update", "httproutes", r.updateStatus)
	r.server = httptest.NewServer(r.proxy)
	t.Cleanup(r.server.Close)
	return r
}

// updateStatus makes the fake do what an API server does with the status of a
// route: the rest stays as it is, and what was made of an older object is a
// conflict.
func (r *rig) updateStatus(action clienttesting.Action) (bool, runtime.Object, error) {
	update, ok := action.(clienttesting.UpdateAction)
	if !ok || action.GetSubresource() != "status" {
		return false, nil, nil
	}
	written := update.GetObject().(*gwv1.HTTPRoute)
	object, err := r.gw.Tracker().Get(action.GetResource(), written.Namespace, written.Name)
	if err != nil {
		return true, nil, fmt.Errorf("tracker: %w", err)
	}
	current := object.(*gwv1.HTTPRoute).DeepCopy()
	if current.Generation != written.Generation {
		conflict := apierrors.NewConflict(action.GetResource().GroupResource(), written.Name, errors.New("it has changed"))
		return true, nil, fmt.Errorf("tracker: %w", conflict)
	}
	current.Status = written.Status
	if err := r.gw.Tracker().Update(action.GetResource(), current, written.Namespace); err != nil {
		return true, nil, fmt.Errorf("tracker: %w", err)
	}
	return true, current, nil
}

// start runs the controller until the end of the test.
func (r *rig) start() {
	r.t.Helper()
	c, err := newController(r.core, r.gw, r.proxy, options{
		controllerName: ControllerName, address: "10.0.0.3", port: 80, log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	if err := c.sync(ctx); err != nil {
		r.t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { c.run(ctx) })
	r.t.Cleanup(func() { cancel(); running.Wait() })
}

// get asks the gateway and returns the code and the answer.
func (r *rig) get() (int, string) {
	r.t.Helper()
	response, err := http.Get(r.server.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close() //nolint:errcheck // it is read here
	body, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// eventually polls until check returns an empty text, or fails with the last.
func (r *rig) eventually(what string, check func() string) {
	r.t.Helper()
	deadline := time.After(patience)
	for tick := time.Tick(2 * time.Millisecond); ; {
		not := check()
		if not == "" {
			return
		}
		select {
		case <-tick:
		case <-deadline:
			r.t.Fatalf("%s: %s", what, not)
		}
	}
}

// answers waits until the gateway answers so.
func (r *rig) answers(code int, body string) {
	r.t.Helper()
	r.eventually("answer", func() string {
		gotCode, got := r.get()
		if gotCode == code && (body == "" || got == body) {
			return ""
		}
		return fmt.Sprintf("%d %q, want %d %q", gotCode, got, code, body)
	})
}

func (r *rig) route() *gwv1.HTTPRoute {
	r.t.Helper()
	route, err := r.gw.GatewayV1().HTTPRoutes("shop").Get(r.t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	return route
}

// update changes the route as the API server would: with a new generation.
func (r *rig) update(change func(*gwv1.HTTPRoute)) {
	r.t.Helper()
	route := r.route()
	change(route)
	route.Generation++
	if _, err := r.gw.GatewayV1().HTTPRoutes("shop").Update(r.t.Context(), route, metav1.UpdateOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// pod starts a server that answers with its name, and returns its endpoint.
func (r *rig) pod(name string) *discoveryv1.EndpointSlice {
	r.t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	r.t.Cleanup(s.Close)
	addr := netip.MustParseAddrPort(s.Listener.Addr().String())
	return newSlice(name, name, slicePortOf("", int32(addr.Port())), endpoint(name, addr.Addr().String(), ptr.To(true)))
}

func (r *rig) setSlice(slice *discoveryv1.EndpointSlice) {
	r.t.Helper()
	client := r.core.DiscoveryV1().EndpointSlices("shop")
	if _, err := client.Update(r.t.Context(), slice, metav1.UpdateOptions{}); err != nil {
		if _, err := client.Create(r.t.Context(), slice, metav1.CreateOptions{}); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestControllerFollowsEndpoints(t *testing.T) {
	r := newRig(t, newHTTPRoute("web"), newService("shop", "web"))
	slice := r.pod("web")
	r.start()
	if code, _ := r.get(); code != http.StatusServiceUnavailable {
		t.Errorf("code %d without endpoints, want 503", code)
	}
	r.setSlice(slice)
	r.answers(http.StatusOK, "web")
	gone := slice.DeepCopy()
	gone.Endpoints[0].Conditions.Ready = ptr.To(false)
	r.setSlice(gone)
	r.answers(http.StatusServiceUnavailable, "")
	r.setSlice(slice)
	r.answers(http.StatusOK, "web")
	if err := r.core.DiscoveryV1().EndpointSlices("shop").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.answers(http.StatusServiceUnavailable, "")
}

func TestControllerFollowsRoutesServicesAndGateways(t *testing.T) {
	r := newRig(t, newHTTPRoute("web"))
	web, other := r.pod("web"), r.pod("other")
	r.start()
	r.setSlice(web)
	r.setSlice(other)
	if code, _ := r.get(); code != http.StatusInternalServerError {
		t.Errorf("code %d for a Service that there is not, want 500", code)
	}
	for _, name := range []string{"web", "other"} {
		if _, err := r.core.CoreV1().Services("shop").Create(t.Context(), newService("shop", name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	r.answers(http.StatusOK, "web")
	r.update(func(route *gwv1.HTTPRoute) { route.Spec.Rules[0].BackendRefs[0].Name = "other" })
	r.answers(http.StatusOK, "other")
	if err := r.core.CoreV1().Services("shop").Delete(t.Context(), "other", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.answers(http.StatusInternalServerError, "")
	r.eventually("condition", func() string {
		return cmp.Diff([]said{isAccepted(), unusable("BackendNotFound")}, say(r.route().Status.Parents[0].Conditions))
	})
	if err := r.gw.GatewayV1().Gateways("infra").Delete(t.Context(), "gw", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	r.answers(http.StatusNotFound, "")
	r.eventually("parents", func() string { return cmp.Diff(0, len(r.route().Status.Parents)) })
}

// A status that speaks of a generation is written only once every request is
// served as that generation says.
func TestStatusIsWrittenAfterTheConfigurationIsInForce(t *testing.T) {
	r := newRig(t, newHTTPRoute("web"), newService("shop", "web"), newService("shop", "other"))
	r.setSlice(r.pod("web"))
	r.setSlice(r.pod("other"))
	backendOf := map[int64]string{1: "web"}
	var mu sync.Mutex
	written := map[int64]bool{}
	r.gw.PrependReactor("update", "httproutes", func(action clienttesting.Action) (bool, runtime.Object, error) {
		update, ok := action.(clienttesting.UpdateAction)
		if !ok || action.GetSubresource() != "status" {
			return false, nil, nil
		}
		route := update.GetObject().(*gwv1.HTTPRoute)
		generation := route.Status.Parents[0].Conditions[0].ObservedGeneration
		mu.Lock()
		defer mu.Unlock()
		written[generation] = true
		for range 5 {
			// A generation that is newer still may have come into force.
			if _, got := r.get(); got != backendOf[generation] && backendOf[generation+1] == "" {
				t.Errorf("status of generation %d while %q answers, want %q", generation, got, backendOf[generation])
			}
		}
		return false, nil, nil
	})
	r.start()
	const last = 30
	for n := int64(2); n <= last; n++ {
		name := []string{"web", "other"}[n%2]
		mu.Lock()
		backendOf[n] = name
		mu.Unlock()
		r.update(func(route *gwv1.HTTPRoute) {
			route.Spec.Rules[0].BackendRefs[0].Name = gwv1.ObjectName(name)
		})
		if n%3 != 0 {
			continue // some writes are to meet the next generation
		}
		r.eventually("observed generation", func() string {
			parents := r.route().Status.Parents
			if len(parents) == 1 && parents[0].Conditions[0].ObservedGeneration == n && parents[0].Conditions[1].ObservedGeneration == n {
				return ""
			}
			return fmt.Sprintf("parents %v, want generation %d", parents, n)
		})
	}
	mu.Lock()
	defer mu.Unlock()
	if !written[last] {
		t.Errorf("no status of generation %d written: %v", last, written)
	}
}

func TestControllerWritesNothingWhenThereIsNothingToSay(t *testing.T) {
	r := newRig(t, newHTTPRoute("web"), newService("shop", "web"))
	slice := r.pod("web")
	r.start()
	r.setSlice(slice)
	r.eventually("status", func() string { return cmp.Diff(1, len(r.route().Status.Parents)) })
	// The statuses of the class and the Gateway are written, too.
	r.eventually("statuses", func() string {
		class, err := r.gw.GatewayV1().GatewayClasses().Get(t.Context(), "sandbox", metav1.GetOptions{})
		if err != nil || len(class.Status.Conditions) == 0 {
			return "the class has no condition"
		}
		g, err := r.gw.GatewayV1().Gateways("infra").Get(t.Context(), "gw", metav1.GetOptions{})
		if err != nil || len(g.Status.Listeners) == 0 || g.Status.Listeners[0].AttachedRoutes != 1 {
			return "the Gateway has no listener with a route"
		}
		return ""
	})
	writes := func() int {
		n := 0
		for _, a := range r.gw.Actions() {
			if a.GetVerb() == "update" && a.GetSubresource() == "status" {
				n++
			}
		}
		return n
	}
	before := writes()
	// Endpoints, labels and other namespaces change nothing in any status. The
	// change of the backend that follows shows that they have been seen.
	slice.Endpoints[0].Conditions.Ready = ptr.To(false)
	r.setSlice(slice)
	route := r.route()
	route.Labels = map[string]string{"seen": "yes"}
	if _, err := r.gw.GatewayV1().HTTPRoutes("shop").Update(t.Context(), route, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.core.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "new"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.answers(http.StatusServiceUnavailable, "")
	slice.Endpoints[0].Conditions.Ready = ptr.To(true)
	r.setSlice(slice)
	r.answers(http.StatusOK, "web")
	if n := writes() - before; n != 0 {
		t.Errorf("%d statuses written, want none", n)
	}
	// Someone else spoils the status: it is written again.
	route = r.route()
	route.Status.Parents = nil
	if _, err := r.gw.GatewayV1().HTTPRoutes("shop").UpdateStatus(t.Context(), route, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.eventually("status", func() string { return cmp.Diff(1, len(r.route().Status.Parents)) })
}

func TestOtherClassesAreLeftAlone(t *testing.T) {
	r := newRig(t, newHTTPRoute("web"), newService("shop", "web"))
	class, err := r.gw.GatewayV1().GatewayClasses().Get(t.Context(), "sandbox", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	class.Spec.ControllerName = "example.com/other"
	if _, err := r.gw.GatewayV1().GatewayClasses().Update(t.Context(), class, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	r.start()
	if code, _ := r.get(); code != http.StatusNotFound {
		t.Errorf("code %d, want 404", code)
	}
	for _, a := range r.gw.Actions() {
		if a.GetVerb() == "update" && a.GetSubresource() == "status" {
			t.Errorf("a status was written: %v", a)
		}
	}
}
