package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// examples is where the examples are.
const examples = "../../../docs/examples"

// inMesh is the example for a mesh, which the suite of Istio runs.
const inMesh = "08-golden-signals.yaml"

// exampleTimeout bounds each wait: one percent of the traffic takes its time to be
// evidence.
const exampleTimeout = 4 * time.Minute

// example is a file of docs/examples, and what becomes of a release by it.
type example struct {
	// workload that the example is for, by its name; native ones have no route.
	workload string
	native   bool
	// routes are written beside the workload instead of an HTTPRoute of its name; HOST
	// stands for their host.
	routes string
	// rate of requests a second: the smaller the first weight, the more it takes.
	rate int
	// edit makes hours seconds, and nothing else: old and new text by turns.
	edit []string
	// during the release, somebody may have to act.
	during func(*exampleRun)
	// promises are what was seen, in this order, among all that was.
	promises []string
}

// elsewhere are the examples that another suite runs.
var elsewhere = []string{"02-shared-virtualservice.yaml"} // suites/mesh/istio

// exampleRun is a release by an example.
type exampleRun struct {
	*stage.Shop
	example
	t *testing.T
}

// TestExamples: each example is applied as it is, but for the length of its
// holds, beside the plain workload that it presumes, and brings a new version to
// where it says.
func TestExamples(t *testing.T) {
	t.Parallel()
	cases := map[string]example{
		"01-default.yaml": {
			workload: "web", rate: gatewayRate,
			during:   shortenDefaultSteps,
			promises: []string{"1/5 at 1%", "2/5 at 5%", "3/5 at 25%", "4/5 at 50%", "5/5 at 100%"},
		},
		"03-analysis-and-approval.yaml": {
			workload: "pay", rate: 200, edit: []string{"hold: 10m", "hold: 2s"},
			during:   letTwoLeadsApprove,
			promises: []string{"1/5 at 1%", "2/5 at 5%", "3/5 at 25%", "approval sre-leads 0/2", "approval sre-leads 1/2", "4/5 at 50%", "5/5 at 100%"},
		},
		"04-blue-green.yaml": {
			workload: "api", rate: gatewayRate, edit: []string{"hold: 15m", "hold: 2s"},
			during: func(r *exampleRun) {
				r.await("the question", func(rollout *v1alpha1.Rollout) bool { return rollout.Status.WaitingFor == "approval switch 0/1" })
				r.cli(0, harness.Admin, "approve", r.workload, "switch")
			},
			promises: []string{"1/2 at 0%", "approval switch 0/1", "2/2 at 100%"},
		},
		"05-experiment.yaml": {
			workload: "search", rate: gatewayRate, edit: []string{"hold: 24h", "hold: 3s", "hold: 10m", "hold: 2s"},
			promises: []string{"1/3 at 0% + match", "2/3 at 25%", "3/3 at 100%"},
		},
		"06-shadow.yaml": {
			workload: "rank", rate: gatewayRate, edit: []string{"hold: 30m", "hold: 2s", "hold: 10m", "hold: 2s"},
			promises: []string{"1/3 at 0% + mirror", "2/3 at 10%", "3/3 at 100%"},
		},
		"07-native.yaml": {
			workload: "admin", native: true, edit: []string{"hold: 10m", "hold: 3s"},
			promises: []string{"1/2 at 25%"},
		},
		"09-grpc-and-http.yaml": {
			workload: "ledger", rate: gatewayRate, routes: ledgerRoutes, edit: []string{"hold: 10m", "hold: 2s"},
			promises: []string{"1/3 at 10%", "2/3 at 50%", "3/3 at 100%"},
		},
		"10-sticky-sessions.yaml": {
			workload: "cart", rate: gatewayRate, edit: []string{"hold: 1h", "hold: 3s", "hold: 10m", "hold: 2s"},
			during:   seeCookies,
			promises: []string{"1/4 at 5%", "2/4 at 25%", "3/4 at 50%", "4/4 at 100%"},
		},
	}
	files, err := filepath.Glob(filepath.Join(examples, "*"))
	must(t, err)
	files = slices.DeleteFunc(files, func(file string) bool { return filepath.Base(file) == inMesh })
	for _, file := range files {
		name := filepath.Base(file)
		if slices.Contains(elsewhere, name) {
			continue
		}
		tc, ok := cases[name]
		if !ok {
			t.Errorf("docs/examples/%s is not run by this test", name)
			continue
		}
		delete(cases, name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.run(t, name)
		})
	}
	for name := range cases {
		t.Errorf("docs/examples/%s does not exist", name)
	}
}

// run releases a second version of the workload by the example.
func (e example) run(t *testing.T, file string) {
	content, err := os.ReadFile(filepath.Join(examples, file))
	must(t, err)
	if says := "Presumes a Deployment named " + e.workload; !strings.Contains(string(content), says) {
		t.Errorf("the example does not say what it is for: %q", says)
	}
	shop, err := world.NewNamespace(t.Context(), "example-"+e.workload)
	must(t, err)
	run := &exampleRun{Shop: shop, example: e, t: t}
	run.apply(run.manifests("v1"))
	run.kubectl("", "rollout", "status", "deployment/"+e.workload, "--timeout=60s")
	run.apply(e.shortened(t, string(content)))
	run.cli(0, harness.Admin, "status", e.workload, "--wait", "--timeout=60s")
	if !e.native {
		stop, err := shop.Traffic(t.Context(), e.rate)
		must(t, err)
		t.Cleanup(func() {
			if err := stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	seen := run.watch()
	run.apply(run.manifests("v2"))
	if e.during != nil {
		e.during(run)
	}
	run.cli(0, harness.Admin, "status", e.workload, "--wait", "--timeout="+exampleTimeout.String())
	run.promoted()
	run.kept(seen())
}

// shortened is the example with holds that a test has the time for.
func (e example) shortened(t *testing.T, content string) string {
	for i := 0; i < len(e.edit); i += 2 {
		if !strings.Contains(content, e.edit[i]) {
			t.Errorf("the example has no %q any more", e.edit[i])
		}
	}
	return strings.NewReplacer(e.edit...).Replace(content)
}

// manifests are the plain workload that the example presumes, at a version.
func (r *exampleRun) manifests(version string) string {
	text, err := r.Manifests(version, !r.native && r.routes == "")
	must(r.t, err)
	text += strings.ReplaceAll(r.routes, "HOST", r.Host())
	renamed := strings.NewReplacer(": "+stage.Name+"\n", ": "+r.workload+"\n", "replicas: 4\n", "replicas: 3\n").Replace(text)
	if renamed == text {
		r.t.Fatalf("the workload has another name than %s in:\n%s", stage.Name, text)
	}
	return renamed
}

func (r *exampleRun) apply(manifests string) { r.kubectl(manifests, "apply", "-f", "-") }

// kubectl runs kubectl in the example's namespace.
func (r *exampleRun) kubectl(stdin string, args ...string) string {
	r.t.Helper()
	out, _, err := r.Kubectl(r.t.Context(), harness.Admin, stdin, append(args, "-n", r.Namespace)...)
	must(r.t, err)
	return out
}

// cli runs the command line and checks its exit code.
func (r *exampleRun) cli(wantCode int, user harness.User, args ...string) {
	r.t.Helper()
	out, code, err := r.CLI(r.t.Context(), user, args...)
	must(r.t, err)
	if code != wantCode {
		r.t.Fatalf("weir %v left with %d, not %d: %s", args, code, wantCode, out)
	}
}

// rollout reads the example's Rollout.
func (r *exampleRun) rollout(ctx context.Context) (*v1alpha1.Rollout, error) {
	var rollout v1alpha1.Rollout
	err := r.Admin.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.workload}, &rollout)
	return &rollout, err
}

// await waits for a state of the example's Rollout.
func (r *exampleRun) await(what string, ok stage.Condition) {
	r.t.Helper()
	harness.Eventually(r.t, exampleTimeout, what, func(ctx context.Context) error {
		rollout, err := r.rollout(ctx)
		return errors.Join(err, errorUnless(err == nil && ok(rollout), "%s", stage.Describe(rollout)))
	})
}

// watch notes each exposure that was accepted and all that was waited for, until
// the function that it gives is called for them.
func (r *exampleRun) watch() func() []string {
	r.t.Helper()
	events, err := r.Admin.Watch(r.t.Context(), &v1alpha1.RolloutList{}, client.InNamespace(r.Namespace))
	must(r.t, err)
	seen := make(chan []string)
	go func() {
		var notes []string
		for event := range events.ResultChan() {
			if rollout, ok := event.Object.(*v1alpha1.Rollout); ok {
				status := &rollout.Status
				notes = append(notes, status.Release.Position+" at "+status.Exposure.Accepted, status.WaitingFor)
			}
		}
		seen <- slices.Compact(notes)
	}()
	return func() []string {
		events.Stop()
		return <-seen
	}
}

// kept checks that what the example promises was seen in its order.
func (r *exampleRun) kept(seen []string) {
	r.t.Helper()
	rest := seen
	for _, promise := range r.promises {
		i := slices.Index(rest, promise)
		if i < 0 {
			r.t.Errorf("the example promises %q, in this order: %q\nand what was seen is %q", promise, r.promises, seen)
			return
		}
		rest = rest[i+1:]
	}
}

// promoted checks that the workload runs the second version, by its release.
func (r *exampleRun) promoted() {
	r.t.Helper()
	rollout, err := r.rollout(r.t.Context())
	must(r.t, err)
	history := rollout.Status.History
	if len(history) != 1 || history[0].Result != v1alpha1.ResultPromoted {
		r.t.Fatalf("want one release, promoted, got %+v", history)
	}
	pods, err := r.Pods(r.t.Context(), history[0].Revision)
	must(r.t, err)
	var images []string
	for i := range pods {
		images = append(images, pods[i].Spec.Containers[0].Image)
	}
	if diff := cmp.Diff([]string{"weir.dev/shop:v2", "weir.dev/shop:v2", "weir.dev/shop:v2"}, images); diff != "" {
		r.t.Errorf("images of the promoted version's pods: -want +got:\n%s", diff)
	}
}

// ledgerRoutes are the routes that the example of HTTP and gRPC presumes.
const ledgerRoutes = `---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: ledger-http}
spec:
  parentRefs: [{name: sandbox, namespace: default}]
  hostnames: [HOST]
  rules:
  - name: status
    matches: [{path: {value: /healthz}}]
    backendRefs: [{name: ledger, port: 80}]
  - name: v2
    matches: [{path: {value: /v2}}]
    backendRefs: [{name: ledger, port: 80}]
  - name: v1
    backendRefs: [{name: ledger, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: ledger-grpc}
spec:
  parentRefs: [{name: sandbox, namespace: default}]
  hostnames: [grpc.HOST]
  rules:
  - backendRefs: [{name: ledger, port: 80}]
`

// shortenDefaultSteps checks the first of the default steps, and then writes them
// down with holds of a second.
func shortenDefaultSteps(r *exampleRun) {
	r.t.Helper()
	r.await("the first step to be held for five minutes", func(rollout *v1alpha1.Rollout) bool {
		gates := rollout.Status.Release.Gates
		return rollout.Status.Exposure.Accepted == "1%" && len(gates) == 1 && gates[0].Type == v1alpha1.GateHold &&
			gates[0].Deadline != nil && rollout.Status.Release.VerifiedAt != nil &&
			gates[0].Deadline.Sub(rollout.Status.Release.VerifiedAt.Time).Round(time.Minute) == 5*time.Minute
	})
	var steps []string
	for _, weight := range []string{"1", "5", "25", "50", "100"} {
		steps = append(steps, `{"weight": `+weight+`, "gates": {"hold": "1s"}}`)
	}
	r.kubectl("", "patch", "rollout", r.workload, "--type=merge", "-p", `{"spec": {"steps": [`+strings.Join(steps, ", ")+`]}}`)
}

// seeCookies checks that answers to those who come without a cookie set one that names
// the version that answered.
func seeCookies(r *exampleRun) {
	r.t.Helper()
	r.await("the first step", stage.AtStep(0))
	rollout, err := r.rollout(r.t.Context())
	must(r.t, err)
	release := fmt.Sprintf("%s-%d", rollout.Status.Canary.Revision, rollout.Status.Release.Number)
	for _, value := range []string{"canary-" + release, "stable-" + release + "-500"} {
		cookie := "cart-version=" + value + "; Path=/; Max-Age=28800; HttpOnly; SameSite=Lax"
		// The apply that began the release may have put the route back meanwhile.
		harness.Eventually(r.t, exampleTimeout, "answers to set the cookie "+cookie, func(ctx context.Context) error {
			var route gatewayv1.HTTPRoute
			err := r.Admin.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: r.workload}, &route)
			text, broken := json.Marshal(route.Spec.Rules)
			return errors.Join(err, broken, errorUnless(strings.Contains(string(text), cookie), "the rules are %s", text))
		})
	}
}

// letTwoLeadsApprove answers the gate as two of the group, and not before it asks.
func letTwoLeadsApprove(r *exampleRun) {
	r.t.Helper()
	r.await("the question", func(rollout *v1alpha1.Rollout) bool { return rollout.Status.WaitingFor == "approval sre-leads 0/2" })
	r.cli(1, harness.Carol, "approve", r.workload, "sre-leads")
	r.cli(0, harness.Alice, "approve", r.workload, "sre-leads")
	r.await("the second question", func(rollout *v1alpha1.Rollout) bool { return rollout.Status.WaitingFor == "approval sre-leads 1/2" })
	r.cli(0, harness.Bob, "approve", r.workload, "sre-leads")
}
