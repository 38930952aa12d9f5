package evaluate

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

const (
	fail         = v1alpha1.VerdictFail
	pass         = v1alpha1.VerdictPass
	noFailure    = v1alpha1.VerdictNoFailure
	inconclusive = v1alpha1.VerdictInconclusive
	noData       = v1alpha1.VerdictNoData
)

// idle serves nothing.
func idle(name string) pod { return steady(name, 0, 0, 0) }

func TestRatio(t *testing.T) {
	old := func(name string, before float64) pod { // Has served before the release.
		p := steady(name, -before, 10, 0)
		p.failed = func(t float64) float64 { return min(p.served(t), 2500) }
		return p
	}
	restarting := steady("canary-1", 0, 10, 0)
	restarting.served = func(t float64) float64 { return float64(int(max(0, t)*10) % 250) }
	restarting.failed = func(float64) float64 { return 0 }
	unscraped, down, gone := steady("canary-2", 0, 5, 0), steady("canary-1", 0, 5, 0), steady("canary-2", 0, 5, 0.5)
	unscraped.unscraped, down.down, gone.gone = true, true, 50

	cases := map[string]struct {
		reason      string
		world       world
		limit       string
		at          float64
		value, step v1alpha1.VerdictValue
		word        string
		message     string
		canary      string
	}{
		"Good":         {reason: "enough requests, none bad", world: world{pods: []pod{steady("canary-1", 0, 10, 0)}}, limit: "1%", at: 60, value: pass, step: pass, word: ReasonMetricsPassed, message: "error-rate: 0 bad of 600 (0%), limit 1%", canary: "0/600"},
		"SomeBad":      {reason: "within the limit", world: world{pods: []pod{steady("canary-1", 0, 10, 0.004)}}, limit: "1%", at: 90, value: pass, step: pass, word: ReasonMetricsPassed, message: "(0.33%), limit 1%", canary: "3/900"},
		"Bad":          {reason: "proof", world: world{pods: []pod{steady("canary-1", 0, 10, 0.05)}}, limit: "1%", at: 60, value: fail, step: fail, word: ReasonLimitExceeded, message: "30 bad of 600 (5.0%), limit 1%, at least 2.3% for certain", canary: "30/600"},
		"TwoPods":      {reason: "the pods of the canary are one", world: world{pods: []pod{steady("canary-1", 0, 5, 0.05), steady("canary-2", 0, 5, 0.05)}}, limit: "1%", at: 61, value: fail, step: fail, word: ReasonLimitExceeded, message: "limit 1%", canary: "30/603"},
		"StableBad":    {reason: "errors of the stable version are not the canary's", world: world{pods: []pod{steady("canary-1", 0, 10, 0), old("stable-1", 300)}}, limit: "1%", at: 60, value: pass, step: pass, word: ReasonMetricsPassed, message: "0 bad of 600", canary: "0/600"},
		"NotYetEnough": {reason: "good, but few", world: world{pods: []pod{steady("canary-1", 0, 2, 0)}}, limit: "1%", at: 40, value: noFailure, step: noFailure, word: ReasonNotProven, message: "0 bad of 60 (0%), limit 1%: a pass needs about 113 in all", canary: "0/60"},
		"AboveLimit":   {reason: "above the limit without proof", world: world{pods: []pod{steady("canary-1", 0, 10, 0.012)}}, limit: "1%", at: 100, value: noFailure, step: noFailure, word: ReasonNotProven, message: "10 bad of 900 (1.1%), limit 1%: above the limit, which may be chance", canary: "10/900"},
		"TooFew":       {reason: "a handful of requests", world: world{pods: []pod{steady("canary-1", 0, 0.2, 0)}}, limit: "1%", at: 60, value: inconclusive, step: inconclusive, word: ReasonFewRequests, message: "0 bad of 12, too few to say anything: 20 are needed", canary: "0/12"},
		"OneError":     {reason: "one error of one request", world: world{pods: []pod{steady("canary-1", 0, 0.03, 1)}}, limit: "1%", at: 60, value: inconclusive, step: inconclusive, word: ReasonFewRequests, message: "1 bad of 1, too few", canary: "1/1"},
		"NoRequest":    {reason: "a canary without any request neither passes nor fails", world: world{pods: []pod{idle("canary-1")}}, limit: "1%", at: 600, value: inconclusive, step: inconclusive, word: ReasonNoRequests, message: "no request yet", canary: "0/0"},
		"OneIdle":      {reason: "a pod without requests is scraped, so it is no gap", world: world{pods: []pod{steady("canary-1", 0, 10, 0), idle("canary-2")}}, limit: "1%", at: 600, value: pass, step: pass, word: ReasonMetricsPassed, canary: "0/6000"},
		"NoPod":        {reason: "no pod, no data to miss", limit: "1%", at: 600, value: inconclusive, step: inconclusive, word: ReasonNotSeenYet, message: "no pod yet"},
		"BeforeScrape": {reason: "the first scrape is still to come", world: world{pods: []pod{unscraped}}, limit: "1%", at: 60, value: inconclusive, step: inconclusive, word: ReasonNotSeenYet, message: "seen 0 of 1 pods"},
		"NeverScraped": {reason: "nobody scrapes the canary", world: world{pods: []pod{unscraped}}, limit: "1%", at: 121, value: noData, step: noData, word: string(metrics.NoSeries), message: "no samples of 1 of 1 pods of the canary: are they scraped?"},
		"ScrapeFails":  {reason: "it is scraped, but the scrapes fail", world: world{pods: []pod{down}}, limit: "1%", at: 300, value: noData, step: noData, word: string(metrics.NoSeries), message: "are they scraped?"},
		"HalfScraped":  {reason: "half of the canary is not seen: a pass would be of the other half", world: world{pods: []pod{steady("canary-1", 0, 10, 0), unscraped}}, limit: "1%", at: 300, value: noData, step: noData, word: string(metrics.NoSeries), message: "1 of 2 pods"},
		"HalfYet":      {reason: "as long as its first scrape may still come, that is no gap", world: world{pods: []pod{steady("canary-1", 0, 10, 0), unscraped}}, limit: "1%", at: 100, value: inconclusive, step: inconclusive, word: ReasonNotSeenYet, message: "seen 1 of 2 pods"},
		"HalfFails":    {reason: "but what is seen may fail", world: world{pods: []pod{steady("canary-1", 0, 10, 0.05), unscraped}}, limit: "1%", at: 300, value: fail, step: fail, word: ReasonLimitExceeded},
		"Mesh":         {reason: "a source that does not scrape pods cannot see idle ones", world: world{noUp: true, pods: []pod{steady("canary-1", 0, 10, 0), idle("canary-2")}}, limit: "1%", at: 300, value: pass, step: pass, word: ReasonMetricsPassed},
		"MeshIdle":     {reason: "nor can it tell a canary without requests from one that it does not see", world: world{noUp: true, pods: []pod{idle("canary-1")}}, limit: "1%", at: 300, value: noData, step: noData, word: string(metrics.NoSeries)},
		"GonePod":      {reason: "what a pod that is gone has shown still counts", world: world{pods: []pod{steady("canary-1", 0, 5, 0), gone}}, limit: "1%", at: 120, value: fail, step: fail, word: ReasonLimitExceeded},
		"OldErrors":    {reason: "errors from before the exposure do not count", world: world{pods: []pod{old("canary-1", 280)}}, limit: "1%", at: 60, value: pass, step: pass, word: ReasonMetricsPassed, message: "0 bad of", canary: "0/600"},
		"Restarts":     {reason: "a counter that begins anew loses nothing that was scraped", world: world{pods: []pod{restarting}}, limit: "1%", at: 100, value: pass, step: pass, word: ReasonMetricsPassed},
		"Stale":        {reason: "the source has stopped scraping", world: world{pods: []pod{steady("canary-1", 0, 10, 0)}, outages: [][2]float64{{100, 1e9}}}, limit: "1%", at: 200, value: noData, step: noData, word: string(metrics.StaleData), message: "the newest sample is 1m50s old"},
		"StaleFail":    {reason: "evidence that was there stands", world: world{pods: []pod{steady("canary-1", 0, 10, 0.05)}, outages: [][2]float64{{100, 1e9}}}, limit: "1%", at: 400, value: fail, step: fail, word: ReasonLimitExceeded},
		"StaleIdle":    {reason: "a canary without requests that is no longer scraped", world: world{pods: []pod{idle("canary-1")}, outages: [][2]float64{{100, 1e9}}}, limit: "1%", at: 400, value: noData, step: noData, word: string(metrics.StaleData)},
		"AfterGap":     {reason: "the scrape after an outage has its events", world: world{pods: []pod{steady("canary-1", 0, 10, 0.05)}, outages: [][2]float64{{15, 295}}}, limit: "1%", at: 301, value: fail, step: fail, word: ReasonLimitExceeded},
		"Slow":         {reason: "scrapes a minute apart are not stale", world: world{scrape: 60, pods: []pod{steady("canary-1", 0, 10, 0)}}, limit: "1%", at: 290, value: pass, step: pass, word: ReasonMetricsPassed},
		"BadLimit":     {reason: "a limit that is none", world: world{pods: []pod{idle("canary-1")}}, limit: "1", at: 60, value: noData, step: noData, word: string(metrics.BadQuery), message: `maxRatio: "1" is not a percentage`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.world.scrape == 0 {
				tc.world.scrape = 15
			}
			got, err := tc.world.evaluator().Evaluate(t.Context(), tc.world.request(tc.at, template(errorRate(tc.limit))))
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.value || got.Step != tc.step || got.Reason != tc.word || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s, step %s, %s %q, want %s, step %s, %s %q", tc.reason, got.Value, got.Step, got.Reason, got.Message, tc.value, tc.step, tc.word, tc.message)
			}
			if tc.canary != "" && got.Metrics[0].Canary != tc.canary {
				t.Errorf("%s: seen of the canary: got %s, want %s", tc.reason, got.Metrics[0].Canary, tc.canary)
			}
			if got.Release != 7 || got.Revision != "w2" || !got.NextLook.After(after(tc.at)) || got.NextLook.After(after(tc.at+15)) {
				t.Errorf("%s: release %d, revision %s, next look at %s", tc.reason, got.Release, got.Revision, got.NextLook)
			}
			if (got.Value == noData) == got.MissingSince.IsZero() {
				t.Errorf("%s: %s with data missing since %s", tc.reason, got.Value, got.MissingSince)
			}
		})
	}
}

// TestRatioOfTwoMetrics: bad and total events of different names take two
// questions, bad first; a contradiction is not judged.
func TestRatioOfTwoMetrics(t *testing.T) {
	metric := func(bad, total v1alpha1.Selector) v1alpha1.Metric {
		m := errorRate("1%")
		m.Ratio.Bad, m.Ratio.Total = bad, total
		return m
	}
	cases := map[string]struct {
		reason  string
		metric  v1alpha1.Metric
		queries []string
		want    v1alpha1.VerdictValue
		message string
	}{
		"OneQuestion": {reason: "the text shows that the bad ones are among all", metric: metric(`requests_total{code="500"}`, `requests_total`), queries: []string{`requests_total`}, want: fail},
		"TwoNames":    {reason: "two counters", metric: metric(`failures_total`, `requests_total`), queries: []string{`failures_total`, `requests_total`}, want: fail},
		"NoBad":       {reason: "a counter of bad events that does not exist is said", metric: metric(`misnamed_total`, `requests_total`), queries: []string{`misnamed_total`, `requests_total`}, want: pass, message: "no series matches bad"},
		"Disjoint":    {reason: "a total without the bad events", metric: metric(`requests_total{code="200"}`, `requests_total{code="500"}`), queries: []string{`requests_total{code="200"}`, `requests_total{code="500"}`}, want: noData, message: "total must select the bad events too"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 15, pods: []pod{steady("canary-1", 0, 10, 0.05)}}
			got, err := w.evaluator().Evaluate(t.Context(), w.request(100, template(tc.metric)))
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.want || !strings.Contains(got.Message, tc.message) {
				t.Errorf("%s: got %s %q, want %s", tc.reason, got.Value, got.Message, tc.want)
			}
			if diff := cmp.Diff(tc.queries, w.queries[:len(tc.queries)]); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// until ends the requests of a pod at a time.
func until(p pod, end float64) pod {
	served, failed := p.served, p.failed
	p.served = func(t float64) float64 { return served(min(t, end)) }
	p.failed = func(t float64) float64 { return failed(min(t, end)) }
	return p
}

// TestRatioSteps: a failure counts from the beginning, a pass from the step.
func TestRatioSteps(t *testing.T) {
	cases := map[string]struct {
		reason      string
		pod         pod
		stepStart   time.Time
		at          float64
		value, step v1alpha1.VerdictValue
		word        string
	}{
		"NewStep":     {reason: "what passed before is none of this step's", pod: steady("canary-1", 0, 5, 0), stepStart: after(300), at: 316, value: pass, step: noFailure, word: ReasonNotProven},
		"NoScrape":    {reason: "nothing was scraped in this step yet", pod: steady("canary-1", 0, 10, 0), stepStart: after(301), at: 302, value: pass, step: inconclusive, word: ReasonNotSeenYet},
		"NoRequests":  {reason: "a step that nobody uses", pod: until(steady("canary-1", 0, 10, 0), 300), stepStart: after(301), at: 360, value: pass, step: inconclusive, word: ReasonNoRequests},
		"Later":       {reason: "after a while it has its own", pod: steady("canary-1", 0, 10, 0), stepStart: after(300), at: 331, value: pass, step: pass, word: ReasonMetricsPassed},
		"NotVerified": {reason: "a step whose exposure is not verified has nothing", pod: steady("canary-1", 0, 10, 0), at: 331, value: pass, step: inconclusive, word: ReasonStepNotVerified},
		"FailedThen":  {reason: "a failure is one in every step", pod: steady("canary-1", 0, 10, 0.05), stepStart: after(300), at: 305, value: fail, step: fail, word: ReasonLimitExceeded},
		"FailedFirst": {reason: "and one before the step is verified", pod: steady("canary-1", 0, 10, 0.05), at: 331, value: fail, step: fail, word: ReasonLimitExceeded},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := world{scrape: 15, pods: []pod{tc.pod}}
			r := w.request(tc.at, template(errorRate("1%")))
			r.StepStart = tc.stepStart
			got, err := w.evaluator().Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if got.Value != tc.value || got.Step != tc.step || got.Reason != tc.word {
				t.Errorf("%s: got %s, step %s, %s (%s), want %s, step %s, %s", tc.reason, got.Value, got.Step, got.Reason, got.Message, tc.value, tc.step, tc.word)
			}
		})
	}
}

// TestStableIsShown: beside a failure stands what the stable version did in the
// same time.
func TestStableIsShown(t *testing.T) {
	stable := steady("stable-1", -3000, 100, 0.001)
	w := world{scrape: 15, pods: []pod{steady("canary-1", 0, 10, 0.05), stable}}
	got, err := w.evaluator().Evaluate(t.Context(), w.request(100, template(errorRate("1%"))))
	if err != nil {
		t.Fatal(err)
	}
	// From the scrape at -14.3 s to the one at 90.7 s; bad ones begin long before.
	if want := "11/10500"; got.Metrics[0].Stable != want {
		t.Errorf("got %q, want %q: the counts of the stable pods since the beginning", got.Metrics[0].Stable, want)
	}
}

// TestFailWithinOneScrape: however the requests come, the look that follows a
// scrape after which the evidence suffices has the failure; and looks follow
// each scrape before the next.
func TestFailWithinOneScrape(t *testing.T) {
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 2))
		scrape := []float64{2, 5, 15, 30}[random.IntN(4)]
		broken := steady("canary-1", 0, 5+random.Float64()*30, 0.03+random.Float64()*0.5)
		from := random.Float64() * 200 // A fault that is there from then on.
		failed := broken.failed
		broken.failed = func(t float64) float64 { return max(0, failed(t)-failed(from)) }
		w := world{scrape: scrape, pods: []pod{broken}}
		e := w.evaluator()
		first := func(step time.Duration) time.Time {
			for now := after(from); now.Before(after(3600)); now = now.Add(step) {
				r := w.request(0, template(errorRate("1%")))
				r.Now = now
				v, err := e.Evaluate(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if v.Value == fail {
					return now
				}
			}
			t.Fatalf("seed %d: never found", seed)
			return time.Time{}
		}
		evidence := first(500 * time.Millisecond)
		// As the runner looks: when the verdict says.
		for now := begin; ; {
			r := w.request(0, template(errorRate("1%")))
			r.Now = now
			v, err := e.Evaluate(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if v.Value == fail {
				if late := now.Sub(evidence); late > time.Duration(scrape*float64(time.Second)) {
					t.Errorf("seed %d: scrapes each %v s: found %s after the evidence was there", seed, scrape, late)
				}
				break
			}
			now = v.NextLook
		}
	}
}

// TestMissingDataDecidesNothing: in worlds with outages, unscraped and idle pods
// and wild restarts, a canary that keeps its limit by far never fails, and
// whenever the source has nothing new of most pods it does not pass either.
func TestMissingDataDecidesNothing(t *testing.T) {
	seen := map[v1alpha1.VerdictValue]int{}
	for seed := range uint64(800) {
		random := rand.New(rand.NewPCG(seed, 3))
		w := world{scrape: float64(5 + random.IntN(40)), noUp: random.IntN(4) == 0}
		for i := range 1 + random.IntN(4) {
			p := steady(fmt.Sprintf("canary-%d", i), float64(random.IntN(200)), random.Float64()*20, random.Float64()*0.0005)
			p.unscraped, p.down = random.IntN(5) == 0, random.IntN(6) == 0
			if life := 20 + random.Float64()*300; random.IntN(3) == 0 {
				served, failed := p.served, p.failed
				p.served = func(t float64) float64 { return served(t - life*float64(int(t/life))) }
				p.failed = func(t float64) float64 { return failed(t - life*float64(int(t/life))) }
			}
			w.pods = append(w.pods, p)
		}
		for range random.IntN(3) {
			from := random.Float64() * 600
			w.outages = append(w.outages, [2]float64{from, from + random.Float64()*400})
		}
		at := 1 + random.Float64()*900
		r := w.request(at, template(errorRate("1%")))
		r.StepStart = after(random.Float64() * at)
		got, err := w.evaluator().Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.evaluator().Evaluate(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(got, again); diff != "" {
			t.Errorf("seed %d: another evaluator comes to another verdict:\n%s", seed, diff)
		}
		seen[got.Step]++
		if got.Value == fail {
			t.Errorf("seed %d: %s", seed, got.Message)
		}
		silent := true
		for _, p := range w.pods {
			for back := 0.0; back < max(3*w.scrape, 30)+w.scrape; back++ {
				silent = silent && (p.unscraped || p.down || !w.scraped(p, at-back))
			}
		}
		if silent && (got.Value == pass || got.Step == pass) {
			t.Errorf("seed %d: passes without a new scrape: %s", seed, got.Message)
		}
	}
	for _, v := range []v1alpha1.VerdictValue{pass, noFailure, inconclusive, noData} {
		if seen[v] < 10 {
			t.Errorf("only %d worlds end in %s: the test shows little", seen[v], v)
		}
	}
}
