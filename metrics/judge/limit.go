package judge

import (
	"math"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Rules that are no statistics.
const (
	// MinBad is how many bad events a failure needs at least, unless the limit is
	// zero: one unlucky request fails no release.
	MinBad = 3
	// MinTotal is how many events a verdict of any kind needs at least, apart
	// from a failure.
	MinTotal = 20
)

const (
	// worseOdds and worseShare define the version that must not pass: three
	// times the odds of the limit, and at least half a percent point more.
	worseOdds  = 3
	worseShare = 0.005
)

// Limit is the test whether a share of bad events exceeds Max.
type Limit struct {
	// Max is the largest share that is acceptable, from 0 to 1.
	Max float64
	// Alpha bounds the probability that a version which keeps the limit ever
	// fails.
	Alpha float64
	// Beta bounds the probability that a version which is much worse than the
	// limit (see the package) passes, since one point in time.
	Beta float64
}

// Finding is what the counts say.
type Finding struct {
	// Verdict is Fail, NoData (the counts contradict each other: more bad events
	// than events), Inconclusive (fewer than MinTotal events), Pass or NoFailure.
	Verdict v1alpha1.VerdictValue
	// Bad and Total events on which it rests: all of them for Fail, else those
	// since the time that was asked for.
	Bad, Total float64
	// Odds are the largest odds against the version that there ever were: it
	// fails at 1/Alpha.
	Odds float64
	// Needed is about how many events a pass needs in all if the share stays as it
	// is. Zero where the share is above the limit: no number is enough.
	Needed float64
}

// Find judges a version: on everything whether it has failed, and on the events
// since a time whether it passes.
func (l Limit) Find(windows Windows, since time.Time) Finding {
	bad, total := windows.Since(windows.Start)
	if bad > total {
		return Finding{Verdict: v1alpha1.VerdictNoData, Bad: bad, Total: total}
	}
	odds := math.Exp(l.logOdds(windows))
	if odds >= 1/l.Alpha && (bad >= MinBad || l.Max == 0) {
		return Finding{Verdict: v1alpha1.VerdictFail, Bad: bad, Total: total, Odds: odds}
	}
	bad, total = windows.Since(since)
	f := Finding{Verdict: v1alpha1.VerdictNoFailure, Bad: bad, Total: total, Odds: odds}
	within := bad <= l.Max*total
	if within {
		f.Needed = l.needed(bad, total)
	}
	switch {
	case total < MinTotal:
		f.Verdict = v1alpha1.VerdictInconclusive
	case within && l.refuted(bad, total):
		f.Verdict = v1alpha1.VerdictPass
	}
	return f
}

// logOdds is the logarithm of the largest evidence that there ever was that the
// share is above the limit. Evidence falls with each event that is not bad, so
// only windows with a bad one can have the largest.
func (l Limit) logOdds(windows Windows) float64 {
	evidence := newRestarted(against(above, l.Max))
	largest := 0.0
	for _, w := range windows.Windows {
		evidence.add(windows.number(w), w.Bad, w.Total)
		if w.Bad > 0 {
			largest = max(largest, evidence.log())
		}
	}
	return largest
}

// LowerBound on the share of bad events: the share is at least as large, with a
// probability of 1-alpha for all times together.
func LowerBound(bad, total, alpha float64) float64 {
	// The evidence against a share falls as the share grows.
	low, high := 0.0, 1.0
	for range 50 {
		middle := (low + high) / 2
		if against(above, middle).logRatio(bad, total) >= -math.Log(alpha) {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// refuted tells whether a version much worse than the limit is refuted.
func (l Limit) refuted(bad, total float64) bool {
	return against(below, worse(l.Max)).logRatio(bad, total) >= -math.Log(l.Beta)
}

// needed is about how many events a pass needs if the share of bad ones stays
// the same.
func (l Limit) needed(bad, total float64) float64 {
	share := 0.0
	if total > 0 {
		share = bad / total
	}
	low, high := 0.0, float64(MinTotal)
	for ; !l.refuted(share*high, high); high *= 2 {
		if high > 1e9 {
			return 0
		}
		low = high
	}
	for high-low > 1 {
		middle := math.Floor((low + high) / 2)
		if l.refuted(share*middle, middle) {
			high = middle
		} else {
			low = middle
		}
	}
	return max(high, MinTotal)
}

// worse is the share of a version that is much worse than the limit.
func worse(limit float64) float64 {
	odds := worseOdds * limit / (1 + (worseOdds-1)*limit)
	return min(1, max(odds, limit+worseShare))
}
