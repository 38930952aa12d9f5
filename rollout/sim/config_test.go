package sim

import (
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Config is what one schedule is about: the Rollout, the cluster, and which
// faults and users there are.
type Config struct {
	// Replicas, Surge, Unavailable and HistoryLimit of the Deployment.
	Replicas, Surge, Unavailable int32
	HistoryLimit                 int
	// Labelled says that the Deployment carries Weir's label from the start.
	Labelled bool
	// Fresh says that nothing has run before: there is no stable version.
	Fresh bool
	// Quota is the number of pods that fit, 0 for no limit.
	Quota int32
	// Routes is their number; 0 is the native provider.
	Routes int
	// Hold mode of the cluster. Policies says which of the other policies are
	// there: pin, split.
	Hold            v1alpha1.HoldMode
	PinPolicy       bool
	SplitPolicy     bool
	ExemptRevert    bool
	Steps           []v1alpha1.Step
	Analysis        *v1alpha1.Analysis
	OnFailure       v1alpha1.FailurePolicy
	DeletionPolicy  v1alpha1.DeletionPolicy
	OtherCallers    v1alpha1.OtherCallers
	Sessions        bool
	Deadline, Drain v1alpha1.Duration
	// Preview says that the spec asks for a preview Service.
	Preview bool

	// Weather: how often, out of 1000 events, each kind of fault or user acts.
	Weather weather
	// Mutant is a defect that is switched on, none for 0.
	Mutant Mutant
	// ConfirmFirst confirms effects before it reads their object rather than after.
	ConfirmFirst bool
	// Twice runs every decision twice and compares.
	Twice bool
}

// weather is how often things happen, in thousandths of all events.
type weather struct {
	crash, depose, wake, flaky, splitRead int
	killPod, metrics, lie, skew           int
	deploy, revert, scale, zero, pause    int
	abort, approve, retry, promote        int
	steps, rewrite, strip, remove         int
	resume, policy, recreate, drift       int
	lag                                   int // out of 10: how seldom caches advance
	quiet                                 int // how much of the weather the leader has instead
}

// spec is the Rollout's.
func (c *Config) spec() v1alpha1.RolloutSpec {
	spec := v1alpha1.RolloutSpec{
		WorkloadRef:      v1alpha1.WorkloadReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "web"},
		Steps:            c.Steps,
		Analysis:         c.Analysis,
		OnFailure:        c.OnFailure,
		DeletionPolicy:   c.DeletionPolicy,
		ProgressDeadline: c.Deadline,
		Capacity:         &v1alpha1.Capacity{ScaleDownDelay: c.Drain},
	}
	if c.Routes > 0 {
		spec.Traffic = &v1alpha1.Traffic{OtherCallers: c.OtherCallers, RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "web"}}}
		if c.Preview {
			spec.Traffic.PreviewServiceName = previewName
		}
		if c.Sessions {
			spec.Traffic.SessionAffinity = &v1alpha1.SessionAffinity{}
		}
	}
	return spec
}

// pct and pods write the values of a step.
func pct(n int) *intstr.IntOrString     { v := intstr.FromInt32(int32(n)); return &v }
func pods(s string) *intstr.IntOrString { v := intstr.Parse(s); return &v }
func held(d string) *v1alpha1.Gates     { return &v1alpha1.Gates{Hold: v1alpha1.Duration(d)} }
func approved(names ...string) []v1alpha1.ApprovalGate {
	var gates []v1alpha1.ApprovalGate
	for _, n := range names {
		gates = append(gates, v1alpha1.ApprovalGate{Name: n, MinApprovals: 1})
	}
	return gates
}

// stepLists are the plans that schedules choose from, and edit to.
func stepLists(routed bool) [][]v1alpha1.Step {
	two := []v1alpha1.ApprovalGate{{Name: "sre", MinApprovals: 2, ChangeAuthor: v1alpha1.ChangeAuthorExcluded}}
	timed := []v1alpha1.ApprovalGate{{Name: "qa", MinApprovals: 1, Ask: v1alpha1.AskImmediately, Timeout: "5m", OnTimeout: v1alpha1.HoldActionRollback}}
	if !routed {
		return [][]v1alpha1.Step{
			{{Weight: pct(10), Gates: held("0s")}, {Weight: pct(30), Gates: held("0s")}, {Weight: pct(30), Replicas: pods("100%"), Gates: held("0s")}},
			{{Replicas: pods("1"), Gates: held("1m")}, {Replicas: pods("50%"), Gates: held("30s")}},
			{{Replicas: pods("1")}, {Replicas: pods("2"), Gates: &v1alpha1.Gates{Approvals: approved("go")}}, {Replicas: pods("100%")}},
			{{Weight: pct(5), Gates: &v1alpha1.Gates{Hold: "20s", Approvals: two}}, {Weight: pct(40), Gates: &v1alpha1.Gates{Approvals: timed}}},
		}
	}
	return [][]v1alpha1.Step{
		{{Weight: pct(10), Gates: held("0s")}, {Weight: pct(50), Gates: held("0s")}, {Weight: pct(100), Gates: held("0s")}},
		{{Weight: pct(5), Gates: held("1m")}, {Weight: pct(25), Gates: held("30s")}, {Weight: pct(50), Gates: held("1m")}},
		{{Name: "preview", Replicas: pods("100%"), Gates: held("10s")}, {Name: "live", Weight: pct(100), Gates: held("1m")}},
		{{Weight: pct(20)}, {Weight: pct(50), Gates: &v1alpha1.Gates{Approvals: approved("go")}}, {Weight: pct(50), Gates: held("0s")}},
		{{Name: "a", Weight: pct(5), Gates: held("0s")}, {Name: "b", Weight: pct(30), Gates: &v1alpha1.Gates{Hold: "20s", Approvals: two}}, {Name: "c", Weight: pct(60), Gates: &v1alpha1.Gates{Approvals: timed}}},
		{{Name: "b", Weight: pct(10), Gates: &v1alpha1.Gates{Approvals: approved("go")}}, {Name: "a", Weight: pct(80), Gates: held("40s")}},
		{{Weight: pct(1), Replicas: pods("2"), Gates: held("10s")}, {Weight: pct(40)}},
		{{Name: "shadow", Replicas: pods("50%"), Extras: mirrored(20), Gates: held("20s")}, {Weight: pct(10), Gates: held("0s")}, {Weight: pct(50), Gates: held("0s")}},
		{{Name: "cohort", Extras: cohort("b"), Gates: held("30s")}, {Weight: pct(20), Extras: cohort("b"), Gates: held("10s")}, {Weight: pct(20), Extras: cohort("c"), Gates: held("0s")}},
		{{Name: "cohort", Replicas: pods("2"), Extras: cohort("c")}, {Weight: pct(100), Extras: cohort("c"), Gates: held("20s")}},
		nil,
	}
}

// randomConfig draws the subject and the weather of a schedule.
func randomConfig(rng *rand.Rand) Config {
	one := func(n int) bool { return rng.IntN(n) == 0 }
	c := Config{
		Replicas:     int32([]int{1, 2, 3, 4, 6, 10}[rng.IntN(6)]),
		Surge:        int32(rng.IntN(3)),
		HistoryLimit: []int{1, 2, 10}[rng.IntN(3)],
		Labelled:     !one(4),
		Fresh:        one(12),
		Hold:         v1alpha1.HoldAdmissionPolicy,
		PinPolicy:    !one(4),
		SplitPolicy:  !one(3),
		ExemptRevert: one(2),
		Deadline:     v1alpha1.Duration([]string{"1m", "5m", "10m"}[rng.IntN(3)]),
		Drain:        v1alpha1.Duration([]string{"0s", "10s", "30s"}[rng.IntN(3)]),
	}
	if c.Unavailable = int32(rng.IntN(2)); c.Surge == 0 {
		c.Unavailable = 1
	}
	if one(6) {
		c.Hold = v1alpha1.HoldPaused
	}
	if !one(3) {
		c.Routes = 1 + rng.IntN(2)
	}
	if one(8) {
		c.Quota = c.Replicas + c.Surge + int32(rng.IntN(int(c.Replicas)+1))
	}
	lists := stepLists(c.Routes > 0)
	c.Steps = lists[rng.IntN(len(lists))]
	if one(2) {
		c.Analysis = &v1alpha1.Analysis{
			TemplateRefs:  []v1alpha1.TemplateReference{{Name: "golden"}},
			Timeout:       v1alpha1.Duration([]string{"2m", "30m"}[rng.IntN(2)]),
			OnTimeout:     []v1alpha1.TimeoutAction{v1alpha1.OnTimeoutHold, v1alpha1.OnTimeoutAdvance, v1alpha1.OnTimeoutRollback}[rng.IntN(3)],
			OnMissingData: []v1alpha1.HoldAction{v1alpha1.HoldActionHold, v1alpha1.HoldActionRollback}[rng.IntN(2)],
		}
	}
	if one(5) {
		c.OnFailure = v1alpha1.FailureHold
	}
	c.DeletionPolicy = []v1alpha1.DeletionPolicy{"", v1alpha1.DeletionKeepStable, v1alpha1.DeletionKeepPaused, v1alpha1.DeletionRelease}[rng.IntN(4)]
	if one(10) {
		c.OtherCallers = v1alpha1.OtherCallersShared
	}
	c.Weather = randomWeather(rng)
	c.Preview = c.Routes > 0 && one(3)
	c.Sessions = c.Routes > 0 && one(3)
	return c
}

// randomWeather switches on some faults and some users: what fails together
// differs from seed to seed.
func randomWeather(rng *rand.Rand) weather {
	some := func(rate int) int {
		if rng.IntN(2) == 0 {
			return 0
		}
		return 1 + rng.IntN(rate)
	}
	return weather{
		crash: some(40), depose: some(10), wake: 60, flaky: some(60), splitRead: some(300),
		killPod: some(20), metrics: some(8), lie: some(3), skew: some(2000),
		deploy: 4 + rng.IntN(12), revert: some(8), scale: some(10), zero: some(4), pause: some(6),
		abort: some(6), approve: some(30), retry: some(10), promote: some(6),
		steps: some(6), rewrite: some(6), strip: some(4), remove: some(2),
		resume: some(4), policy: 0, recreate: some(3) / 3, drift: some(4),
		lag: rng.IntN(9), quiet: []int{0, 30, 60}[rng.IntN(3)],
	}
}
