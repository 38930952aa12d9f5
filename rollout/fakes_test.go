package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/telemetry"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/analysis"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/pods"
	"github.com/weir-dev/weir/rollout/workload"
)

var (
	web   = types.NamespacedName{Namespace: "shop", Name: "web"}
	began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

// shell is a Reconciler on fakes. What happens is written into one log, in
// order, so that a test reads as what the shell did.
type shell struct {
	*Reconciler
	t   *testing.T
	log []string

	// decisions are given in turn, the last one for ever.
	decisions []decide.Decision
	inputs    []decide.Input
	// facts and routes are what is observed.
	facts  workload.Facts
	routes func(target providers.Target, live bool) (providers.Observation, error)
	// fail gives the error of the next write of a name, once.
	fail    map[string]error
	trouble bool
	// splits says that a route is split for a Rollout that is gone.
	splits bool
	// going says that what is left of a Rollout that is gone is not gone at once.
	going     bool
	problems  []decide.Problem
	templates []metrics.Template
	answer    *analysis.Answer
	warnings  []string
	ended     []v1alpha1.ReleaseResult
	state     telemetry.State
	// stale are keys of Rollouts that the cache does not have.
	stale map[types.NamespacedName]bool
	// outdated is what the cache has of the Rollout, if it is not the newest.
	outdated *v1alpha1.Rollout
}

// newShell makes one whose API server has the objects.
func newShell(t *testing.T, objects ...client.Object) *shell {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	s := &shell{t: t, fail: map[string]error{}, stale: map[types.NamespacedName]bool{}, facts: workload.Facts{Target: decide.Target{UID: "d"}}}
	server := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Rollout{}, &v1alpha1.Approval{}).
		WithIndex(&v1alpha1.Rollout{}, ReferenceIndex, IndexReferences).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, subresource string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
				what := fmt.Sprintf("write status of %T", obj)
				s.note(what)
				if err := s.once(what); err != nil {
					return err
				}
				return c.SubResource(subresource).Update(ctx, obj, opts...)
			},
			Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
				s.note(fmt.Sprintf("patch %s", obj.GetName()))
				return c.Patch(ctx, obj, patch, opts...)
			},
		}).Build()
	s.Reconciler = &Reconciler{
		Decide: func(in decide.Input) decide.Decision {
			s.inputs = append(s.inputs, in)
			s.note(map[bool]string{false: "decide on caches", true: "decide live"}[in.Fresh])
			return s.decisions[min(len(s.inputs), len(s.decisions))-1]
		},
		Cached: cacheOf{server, s}, Live: server, Writer: server,
		Workload: (*fakeWorkload)(s), Warner: (*fakeWorkload)(s), Cleaner: (*fakeWorkload)(s), Splits: (*fakeProvider)(s),
		Routes:    (*fakeProvider)(s),
		Templates: (*fakeTemplates)(s), Analyses: (*fakeAnalyses)(s), Pods: (*fakePods)(s), Events: (*fakeEvents)(s), Telemetry: (*fakeTelemetry)(s),
		Hold: v1alpha1.HoldAdmissionPolicy, Term: "term", Now: func() time.Time { return began },
	}
	return s
}

// note writes a line into the log.
func (s *shell) note(line string) { s.log = append(s.log, line) }

// once gives the error that the next write of this name is to fail with.
func (s *shell) once(name string) error {
	err := s.fail[name]
	delete(s.fail, name)
	return err
}

// reconcile makes a pass over the Rollout and gives what was done in it.
func (s *shell) reconcile() (reconcile.Result, error) {
	s.t.Helper()
	return s.Reconcile(s.t.Context(), reconcile.Request{NamespacedName: web})
}

// rollout as the API server has it.
func (s *shell) rollout() *v1alpha1.Rollout {
	s.t.Helper()
	r := &v1alpha1.Rollout{}
	if err := s.Live.Get(s.t.Context(), web, r); err != nil {
		s.t.Fatal(err)
	}
	return r
}

// cacheOf is the server as its informers show it.
type cacheOf struct {
	client.Reader
	s *shell
}

func (c cacheOf) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if c.s.stale[key] {
		return client.IgnoreAlreadyExists(notFound(key.Name))
	}
	if rollout, ok := obj.(*v1alpha1.Rollout); ok && c.s.outdated != nil {
		c.s.outdated.DeepCopyInto(rollout)
		return nil
	}
	return c.Reader.Get(ctx, key, obj, opts...)
}

type fakeWorkload shell

func (f *fakeWorkload) Observe(context.Context, *v1alpha1.Rollout, []string, bool) (workload.Facts, error) {
	return f.facts, (*shell)(f).once("observe the workload")
}

func (f *fakeWorkload) Apply(_ context.Context, pass workload.Pass, effect decide.Effect) error {
	s := (*shell)(f)
	s.note(fmt.Sprintf("%s %s at seq %d", effect.Kind, effect.Name, pass.Rollout.Status.Record.Seq))
	return s.once(string(effect.Kind))
}

func (f *fakeWorkload) Confirm(context.Context, workload.Pass) error {
	s := (*shell)(f)
	s.note("check the record")
	return s.once("check")
}

func (f *fakeWorkload) ConfirmRaise(context.Context, workload.Pass) error {
	s := (*shell)(f)
	s.note("check the record and the template")
	return s.once("check")
}

func (f *fakeWorkload) CheckExposure(context.Context, workload.Pass, decide.Effect) error {
	s := (*shell)(f)
	s.note("check pods and Services")
	return s.once("check pods")
}

func (f *fakeWorkload) Forget(_ context.Context, namespace, rollout string) (bool, error) {
	(*shell)(f).note("remove what is left of " + namespace + "/" + rollout)
	return !f.going, nil
}

func (f *fakeWorkload) Warnings(context.Context, *v1alpha1.Rollout, workload.Facts) ([]string, error) {
	return f.warnings, nil
}

type fakeProvider shell

func (f *fakeProvider) Observe(_ context.Context, target providers.Target, live bool) (providers.Observation, error) {
	return f.routes(target, live)
}

func (f *fakeProvider) Lower(_ context.Context, target providers.Target, weight int32, stamp int64) error {
	return (*shell)(f).route("lower", target, weight, stamp)
}

func (f *fakeProvider) Raise(ctx context.Context, target providers.Target, weight int32, stamp int64, confirm providers.Confirm) error {
	if err := confirm(ctx); err != nil {
		return err
	}
	return (*shell)(f).route("raise", target, weight, stamp)
}

func (f *fakeProvider) Restore(ctx context.Context, target providers.Target, stamp int64, confirm providers.Confirm) error {
	if err := confirm(ctx); err != nil {
		return err
	}
	return (*shell)(f).route("restore", target, 0, stamp)
}

func (f *fakeProvider) Splits(context.Context, string, string) (bool, error) { return f.splits, nil }

// route notes a write of the routes.
func (s *shell) route(what string, target providers.Target, weight int32, stamp int64) error {
	s.note(fmt.Sprintf("%s %v to %d at seq %d", what, target.Pairs, weight, stamp))
	return s.once(what)
}

type fakeTemplates shell

func (f *fakeTemplates) Resolve(context.Context, *v1alpha1.Rollout) ([]metrics.Template, []decide.Problem, error) {
	return f.templates, slices.Clone(f.problems), nil
}

type fakeAnalyses shell

func (f *fakeAnalyses) Follow(_ types.NamespacedName, subject metrics.Request) {
	(*shell)(f).note(fmt.Sprintf("look at release %d with %d templates and Services %v, step since %t",
		subject.Release, len(subject.Templates), subject.CanaryServices, !subject.StepStart.IsZero()))
}

func (f *fakeAnalyses) Forget(types.NamespacedName) { (*shell)(f).note("look no more") }

func (f *fakeAnalyses) Answer(types.NamespacedName) (analysis.Answer, bool) {
	if f.answer == nil {
		return analysis.Answer{}, false
	}
	return *f.answer, true
}

type fakePods shell

func (f *fakePods) Follow(_ types.NamespacedName, release pods.Release) {
	(*shell)(f).note("watch pods of " + strings.Trim(release.Stable+" "+release.Canary, " "))
}

func (f *fakePods) Forget(types.NamespacedName) { (*shell)(f).note("watch no pods") }

func (f *fakePods) Trouble(types.NamespacedName) bool {
	trouble := f.trouble
	f.trouble = false
	return trouble
}

func (f *fakePods) TellAgain(types.NamespacedName) { f.trouble = true }

type fakeEvents shell

func (f *fakeEvents) Eventf(_, _ runtime.Object, eventtype, reason, action, note string, args ...any) {
	(*shell)(f).note(fmt.Sprintf("event %s %s %s: %s", eventtype, reason, action, fmt.Sprintf(note, args...)))
}

type fakeTelemetry shell

func (f *fakeTelemetry) Pass(string, time.Duration) {}
func (f *fakeTelemetry) Effect(string, error)       {}
func (f *fakeTelemetry) ReleaseEnded(_ string, result v1alpha1.ReleaseResult) {
	f.ended = append(f.ended, result)
}
func (f *fakeTelemetry) Set(_ types.NamespacedName, state telemetry.State) { f.state = state }
func (f *fakeTelemetry) Forget(types.NamespacedName)                       { (*shell)(f).note("count no more") }

// newRollout is a Rollout of Deployment web at rest.
func newRollout(with ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "web-uid", CreationTimestamp: metav1.NewTime(began)},
		Spec:       v1alpha1.RolloutSpec{WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"}},
	}
	for _, f := range with {
		f(r)
	}
	return r
}

// routed gives a Rollout a route.
func routed(names ...string) func(*v1alpha1.Rollout) {
	return func(r *v1alpha1.Rollout) {
		r.Spec.Traffic = &v1alpha1.Traffic{}
		for _, name := range names {
			r.Spec.Traffic.RouteRefs = append(r.Spec.Traffic.RouteRefs, v1alpha1.RouteReference{Kind: "HTTPRoute", Name: name})
		}
	}
}

// progressing puts a Rollout into a release.
func progressing(r *v1alpha1.Rollout) {
	r.Status.Release = v1alpha1.ReleaseStatus{Number: 7, Stage: v1alpha1.StageProgressing}
	r.Status.Stable.Revision, r.Status.Canary.Revision = "a", "w1"
	r.Status.Record.Seq = 40
}
