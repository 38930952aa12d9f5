package judge

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// limits that the exact tests go through.
var limits = []float64{0.0001, 0.001, 0.005, 0.01, 0.05, 0.2, 0.5, 0.9}

// ever is the exact probability that a rule is true at least once while events
// are looked at one after the other, each bad with the probability p.
func ever(p float64, events int, rule func(bad, total float64) bool) float64 {
	alive := []float64{1} // By the number of bad events so far.
	hit := 0.0
	for n := 1; n <= events; n++ {
		next := make([]float64, n+1)
		for x, probability := range alive {
			next[x] += probability * (1 - p)
			next[x+1] += probability * p
		}
		for x := range next {
			if next[x] > 0 && rule(float64(x), float64(n)) {
				hit += next[x]
				next[x] = 0
			}
		}
		alive = next
	}
	return hit
}

// TestFalseAlarm: a version exactly at its limit, or better, fails with
// probability at most alpha, though it is looked at after each single event.
func TestFalseAlarm(t *testing.T) {
	for _, limit := range limits {
		for _, alpha := range []float64{0.1, 0.01} {
			for _, better := range []float64{1, 0.5} {
				evidence := against(above, limit)
				got := ever(limit*better, 600, func(x, n float64) bool { return evidence.logRatio(x, n) >= -math.Log(alpha) })
				if got > alpha {
					t.Errorf("limit %v, share %v: false alarm %v, want at most %v", limit, limit*better, got, alpha)
				}
			}
		}
	}
}

// TestFalsePass: a version as bad as the one that must not pass does so with
// probability at most beta, though it is looked at after each single event.
func TestFalsePass(t *testing.T) {
	for _, limit := range limits {
		l := Limit{Max: limit, Alpha: 0.01, Beta: 0.05}
		for _, more := range []float64{1, 1.05} {
			p := min(1, worse(limit)*more)
			refutation := against(below, worse(limit))
			got := ever(p, 600, func(x, n float64) bool {
				return n >= MinTotal && x <= limit*n && refutation.logRatio(x, n) >= -math.Log(l.Beta)
			})
			if got > l.Beta {
				t.Errorf("limit %v, share %v: false pass %v, want at most %v", limit, p, got, l.Beta)
			}
		}
	}
}

// TestLowerBound: the bound is above the true share at any time with
// probability at most alpha, and it is no idle bound.
func TestLowerBound(t *testing.T) {
	const alpha = 0.1
	for _, p := range []float64{0.01, 0.1, 0.5} {
		got := ever(p, 150, func(x, n float64) bool { return LowerBound(x, n, alpha) > p })
		if got > alpha {
			t.Errorf("share %v: the bound is wrong at some time with probability %v, want at most %v", p, got, alpha)
		}
	}
	if got := LowerBound(41, 820, 0.01); got < 0.025 || got > 0.04 {
		t.Errorf("41 of 820 at 1 %%: got a lower bound of %v, want about 0.026", got)
	}
	if got := LowerBound(0, 1000, 0.01); got > 1e-6 {
		t.Errorf("without bad events the bound is zero, got %v", got)
	}
}

// TestExpectation: each likelihood ratio has, by enumeration, an expectation of
// at most one for every share within the hypothesis.
func TestExpectation(t *testing.T) {
	const n = 60
	for _, limit := range limits {
		for _, part := range []float64{1, 0.7, 0.1, 0} {
			for name, tc := range map[string]struct {
				kernel kernel
				p      float64
			}{
				"above": {against(above, limit), limit * part},
				"below": {against(below, limit), limit + (1-limit)*(1-part)},
			} {
				sum := 0.0
				for x := 0.0; x <= n; x++ {
					log := logBinomial(x, n, tc.p)
					if tc.p == 0 || tc.p == 1 {
						log = math.Inf(-1)
						if x == n*tc.p {
							log = 0
						}
					}
					sum += math.Exp(log + tc.kernel.logRatio(x, n))
				}
				if sum > 1+1e-9 {
					t.Errorf("%s %v at %v: expectation %v, want at most 1", name, limit, tc.p, sum)
				}
			}
		}
	}
}

// plain is the evidence at the last window, by its definition: the mean over
// all windows in which a fault may have begun.
func plain(windows Windows, limit float64) float64 {
	evidence := against(above, limit)
	last := windows.number(windows.Windows[len(windows.Windows)-1])
	sum := latest(last + 1)
	for begins := int64(1); begins <= last; begins++ {
		var bad, total float64
		for _, w := range windows.Windows {
			if windows.number(w) >= begins {
				bad += w.Bad
				total += w.Total
			}
		}
		sum += (latest(begins) - latest(begins+1)) * math.Exp(evidence.logRatio(bad, total))
	}
	return sum
}

// TestRestarts: the whole evidence, with its restarts, by enumeration of every
// sequence of 14 events in windows of their own, some with gaps between them.
func TestRestarts(t *testing.T) {
	const events = 14
	const limit, alpha = 0.3, 0.2
	l := Limit{Max: limit, Alpha: alpha}
	failed, expectation := 0.0, 0.0
	for sequence := range 1 << events {
		windows := Windows{Start: begin}
		probability := 1.0
		evidence := newRestarted(against(above, limit))
		for i := range events {
			number := i + 1 + i/3
			w := Window{End: begin.Add(time.Duration(number) * WindowStep), Total: 1}
			if sequence>>i&1 == 1 {
				w.Bad = 1
				probability *= limit
			} else {
				probability *= 1 - limit
			}
			windows.Windows = append(windows.Windows, w)
			evidence.add(int64(number), w.Bad, w.Total)
		}
		if sequence%37 == 0 {
			if got, want := math.Exp(evidence.log()), plain(windows, limit); math.Abs(got-want) > 1e-9*want {
				t.Fatalf("sequence %b: evidence %v, by definition %v", sequence, got, want)
			}
		}
		if l.logOdds(windows) >= -math.Log(alpha) {
			failed += probability
		}
		expectation += probability * math.Exp(evidence.log())
	}
	if failed > alpha {
		t.Errorf("false alarm %v, want at most %v", failed, alpha)
	}
	if math.Abs(expectation-1) > 1e-9 {
		t.Errorf("expectation %v at the limit, want 1", expectation)
	}
	if failed == 0 {
		t.Error("no sequence fails at all: the test shows nothing")
	}
}

// TestLateFault: a fault that appears after long good service is found nearly as
// soon as one that is there from the beginning.
func TestLateFault(t *testing.T) {
	l := Limit{Max: 0.01, Alpha: 0.01, Beta: 0.05}
	seconds := func(good time.Duration) float64 {
		windows := Windows{Start: begin}
		end := begin
		for end.Before(begin.Add(good)) {
			end = end.Add(WindowStep)
			windows.Windows = append(windows.Windows, Window{End: end, Bad: 0.05, Total: 50})
		}
		from := end
		for l.Find(windows, begin).Verdict != v1alpha1.VerdictFail {
			end = end.Add(WindowStep)
			windows.Windows = append(windows.Windows, Window{End: end, Bad: 2.5, Total: 50})
			if end.Sub(from) > time.Hour {
				return math.Inf(1)
			}
		}
		return end.Sub(from).Seconds()
	}
	for _, tc := range []struct {
		good   time.Duration
		within float64
	}{{0, 20}, {time.Minute, 30}, {10 * time.Minute, 40}, {time.Hour, 45}, {6 * time.Hour, 50}} {
		if got := seconds(tc.good); got > tc.within {
			t.Errorf("5 %% bad at 10 a second, limit 1 %%, after %s of good service: found after %v s, want %v", tc.good, got, tc.within)
		}
	}
}

// one is a release with its events in one window.
func one(bad, total float64) Windows {
	return Windows{Start: begin, Windows: []Window{{End: begin.Add(WindowStep), Bad: bad, Total: total}}}
}

func TestFind(t *testing.T) {
	const (
		fail         = v1alpha1.VerdictFail
		pass         = v1alpha1.VerdictPass
		noFailure    = v1alpha1.VerdictNoFailure
		inconclusive = v1alpha1.VerdictInconclusive
		noData       = v1alpha1.VerdictNoData
	)
	cases := map[string]struct {
		reason     string
		limit      float64
		bad, total float64
		want       v1alpha1.VerdictValue
	}{
		"NoEvents":       {reason: "without a request there is nothing to say", limit: 0.01, want: inconclusive},
		"OneGood":        {reason: "one good request says nothing", limit: 0.01, total: 1, want: inconclusive},
		"OneBad":         {reason: "one bad request fails nothing", limit: 0.0001, bad: 1, total: 1, want: inconclusive},
		"TwoBad":         {reason: "nor do two", limit: 0.0001, bad: 2, total: 2, want: inconclusive},
		"ThreeBad":       {reason: "three of three do, and no least number of requests holds that up", limit: 0.01, bad: 3, total: 3, want: fail},
		"Few":            {reason: "good, but not enough for a pass", limit: 0.01, total: 100, want: noFailure},
		"Enough":         {reason: "enough good requests", limit: 0.01, total: 200, want: pass},
		"WithSome":       {reason: "some bad ones within the limit", limit: 0.01, bad: 3, total: 700, want: pass},
		"AtLimit":        {reason: "exactly at the limit is within it", limit: 0.01, bad: 10, total: 1000, want: pass},
		"JustAbove":      {reason: "above the limit by chance neither passes nor fails", limit: 0.01, bad: 13, total: 1000, want: noFailure},
		"ClearlyAbove":   {reason: "proof", limit: 0.01, bad: 41, total: 820, want: fail},
		"Catastrophe":    {reason: "all bad", limit: 0.05, bad: 30, total: 30, want: fail},
		"Contradiction":  {reason: "more bad events than events", limit: 0.01, bad: 21, total: 20, want: noData},
		"ZeroGood":       {reason: "a limit of zero can pass", limit: 0, total: 2000, want: pass},
		"ZeroFew":        {reason: "though not with few requests", limit: 0, total: 500, want: noFailure},
		"ZeroOne":        {reason: "and one bad request is the proof", limit: 0, bad: 1, total: 100000, want: fail},
		"AllAllowed":     {reason: "a limit of 100 % cannot be exceeded", limit: 1, bad: 30, total: 30, want: noFailure},
		"AllAllowedGood": {reason: "some good events show that not all are bad", limit: 1, bad: 25, total: 30, want: pass},
		"Huge":           {reason: "large numbers do not overflow", limit: 0.001, bad: 9e8, total: 1e12, want: pass},
		"HugeBad":        {reason: "in neither direction", limit: 0.001, bad: 9e9, total: 1e12, want: fail},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := Limit{Max: tc.limit, Alpha: 0.01, Beta: 0.05}
			got := l.Find(one(tc.bad, tc.total), begin)
			if got.Verdict != tc.want {
				t.Errorf("%s: %v of %v at %v: got %s (%+v), want %s", tc.reason, tc.bad, tc.total, tc.limit, got.Verdict, got, tc.want)
			}
		})
	}
}

// TestFindSince: a failure rests on everything, a pass only on what came since.
func TestFindSince(t *testing.T) {
	l := Limit{Max: 0.01, Alpha: 0.01, Beta: 0.05}
	step := begin.Add(time.Minute)
	early, late := Window{End: begin.Add(30 * time.Second), Total: 500}, Window{End: begin.Add(90 * time.Second), Total: 30}
	cases := map[string]struct {
		reason      string
		early, late Window
		want        Finding
	}{
		"EarlyPass":    {reason: "what passed an earlier step is none of this one's", early: early, late: late, want: Finding{Verdict: v1alpha1.VerdictNoFailure, Total: 30, Needed: 113}},
		"EarlyFailure": {reason: "what failed before stays failed", early: Window{End: early.End, Bad: 50, Total: 500}, late: late, want: Finding{Verdict: v1alpha1.VerdictFail, Bad: 50, Total: 530}},
		"Nothing":      {reason: "no request in this step yet", early: early, late: Window{End: late.End}, want: Finding{Verdict: v1alpha1.VerdictInconclusive, Needed: 113}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := l.Find(Windows{Start: begin, Windows: []Window{tc.early, tc.late}}, step)
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(Finding{}, "Odds")); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestFailureStays: once the evidence was there, good events do not undo it.
func TestFailureStays(t *testing.T) {
	l := Limit{Max: 0.01, Alpha: 0.01, Beta: 0.05}
	windows := one(40, 500)
	windows.Windows = append(windows.Windows, Window{End: begin.Add(time.Hour), Total: 1e6})
	if got := l.Find(windows, begin).Verdict; got != v1alpha1.VerdictFail {
		t.Errorf("got %s, want Fail: a controller that was away must see what one that was there saw", got)
	}
}

// TestNeeded: the number of events that a pass needs is the number at which it
// passes, and the documented one.
func TestNeeded(t *testing.T) {
	for limit, want := range map[float64]float64{0: 670, 0.001: 558, 0.01: 113, 0.05: 23, 0.3: 20} {
		l := Limit{Max: limit, Alpha: 0.01, Beta: 0.05}
		needed := l.Find(one(0, 0), begin).Needed
		if needed != want {
			t.Errorf("limit %v: needs %v, want %v", limit, needed, want)
		}
		if got := l.Find(one(0, needed), begin).Verdict; got != v1alpha1.VerdictPass {
			t.Errorf("limit %v: %v good events: got %s, want Pass", limit, needed, got)
		}
		if got := l.Find(one(0, needed-1), begin).Verdict; got == v1alpha1.VerdictPass {
			t.Errorf("limit %v: %v good events pass already", limit, needed-1)
		}
	}
}

// TestMonotone: one more bad event among as many never makes a verdict better.
func TestMonotone(t *testing.T) {
	rank := map[v1alpha1.VerdictValue]int{
		v1alpha1.VerdictPass: 0, v1alpha1.VerdictNoFailure: 1, v1alpha1.VerdictInconclusive: 1, v1alpha1.VerdictFail: 2, v1alpha1.VerdictNoData: 3,
	}
	for _, limit := range append([]float64{0, 1}, limits...) {
		l := Limit{Max: limit, Alpha: 0.01, Beta: 0.05}
		for _, total := range []float64{1, 5, 19, 20, 50, 150, 400} {
			last := 0
			for bad := 0.0; bad <= total; bad++ {
				now := rank[l.Find(one(bad, total), begin).Verdict]
				if now < last {
					t.Fatalf("limit %v: %v of %v is judged better than one fewer", limit, bad, total)
				}
				last = now
			}
		}
	}
}

// TestPower: how many events a bad version is exposed to before it fails, by
// enumeration, when it is looked at after each event.
func TestPower(t *testing.T) {
	const limit = 0.01
	cases := map[float64]int{0.05: 180, 0.1: 65, 0.2: 28, 1: 3}
	l := Limit{Max: limit, Alpha: 0.01, Beta: 0.05}
	for share, most := range cases {
		rule := func(x, n float64) bool { return x >= MinBad && l.logOdds(one(x, n)) >= -math.Log(l.Alpha) }
		if got := ever(share, most, rule); got < 0.5 {
			t.Errorf("share %v, limit %v: only %.0f %% have failed after %d events, want half", share, limit, got*100, most)
		}
	}
}

func BenchmarkFind(b *testing.B) {
	for _, hours := range []int{1, 24} {
		windows := Windows{Start: begin}
		for i := range hours * 240 {
			windows.Windows = append(windows.Windows, Window{End: begin.Add(time.Duration(i+1) * 15 * time.Second), Bad: 1, Total: 1500})
		}
		l := Limit{Max: 0.001, Alpha: 0.01, Beta: 0.05}
		b.Run(fmt.Sprintf("%dh", hours), func(b *testing.B) {
			for b.Loop() {
				l.Find(windows, begin)
			}
		})
	}
}
