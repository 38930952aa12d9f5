package judge

import "math"

// above are the alternatives for a share beyond the limit: their odds as
// multiples of those of the limit, evenly spaced in the logarithm from a little
// to two thousand times. They count alike.
var above = spaced(1.25, 2000, 24) //nolint:gochecknoglobals // a table that nothing writes

// below are the alternatives for a share within the limit, as multiples of the
// odds of the version that must not pass. A version without any bad event, the
// usual one, has a larger weight.
var below = []alternative{ //nolint:gochecknoglobals // a table that nothing writes
	{odds: 0, weight: 0.3},
	{odds: 0.02, weight: 0.1}, {odds: 0.05, weight: 0.1}, {odds: 0.1, weight: 0.1}, {odds: 0.17, weight: 0.1},
	{odds: 0.25, weight: 0.1}, {odds: 0.35, weight: 0.1}, {odds: 0.5, weight: 0.1},
}

// alternative is one of the hypotheses of a mixture.
type alternative struct{ odds, weight float64 }

// spaced are alternatives of equal weight, evenly spaced in the logarithm.
func spaced(from, to float64, number int) []alternative {
	list := make([]alternative, number)
	for i := range list {
		list[i] = alternative{
			odds:   from * math.Pow(to/from, float64(i)/float64(number-1)),
			weight: 1 / float64(number),
		}
	}
	return list
}

// kernel is a mixture of alternatives against one share.
type kernel struct {
	// certain: the share is zero, so that the first bad event refutes it.
	certain bool
	terms   []kernelTerm
}

// kernelTerm is the likelihood ratio of one alternative, in logarithms:
// weight + bad*odds - total*event.
type kernelTerm struct{ weight, odds, event float64 }

// against prepares a mixture for a share p:
//
//	sum of weight * odds^bad / (1 + (odds-1) p)^total
func against(alternatives []alternative, p float64) kernel {
	k := kernel{certain: p == 0, terms: make([]kernelTerm, len(alternatives))}
	for i, a := range alternatives {
		k.terms[i] = kernelTerm{weight: math.Log(a.weight), odds: math.Log(a.odds), event: math.Log1p((a.odds - 1) * p)}
	}
	return k
}

// logRatio is the logarithm of the mixed likelihood ratio.
func (k kernel) logRatio(bad, total float64) float64 {
	bad = max(0, min(bad, total))
	if k.certain && bad > 0 {
		return math.Inf(1)
	}
	largest := math.Inf(-1)
	var buffer [32]float64
	logs := buffer[:0]
	for _, t := range k.terms {
		log := t.weight
		if bad > 0 {
			log += bad * t.odds
		}
		if total > 0 {
			log -= total * t.event
		}
		if math.IsNaN(log) {
			// Bad events where there can be none, against good ones where there
			// can be none: neither happened.
			log = math.Inf(-1)
		}
		logs = append(logs, log)
		largest = max(largest, log)
	}
	return logSum(logs, largest)
}

// restarted is evidence that is counted anew from the beginning of each window,
// all at once: the mean of a mixture over the windows in which a fault may have
// begun, with the weights of latest.
//
// With L(t) the logarithm of the likelihood ratio of one alternative up to t,
// the evidence since s is exp(L(t)-L(s)). So the sum over all s is exp(L(t))
// times a sum that only grows, and a window costs the same however many came
// before it.
type restarted struct {
	kernel kernel
	// sofar is L of each alternative; begun is the logarithm of the sum, over
	// the windows begun, of weight * exp(-L at their beginning).
	sofar, begun []float64
	// next window to begin.
	next int64
	// refuted: a bad event where there may be none.
	refuted bool
}

func newRestarted(k kernel) *restarted {
	r := &restarted{kernel: k, sofar: make([]float64, len(k.terms)), begun: make([]float64, len(k.terms)), next: 1}
	for i := range r.begun {
		r.begun[i] = math.Inf(-1)
	}
	return r
}

// latest is the weight of a fault that begins in the given window or later. The
// first window has more than half: most faults are there from the beginning.
// After that the weight falls a little faster than 1/n, the least that has a sum.
func latest(window int64) float64 {
	if window <= 1 {
		return 1
	}
	return 0.5 / math.Log(float64(window-1)+math.E)
}

// add counts a window. Windows come in order; those left out had no events, so
// a fault that begins in one of them may as well begin in this.
func (r *restarted) add(window int64, bad, total float64) {
	bad = max(0, min(bad, total))
	r.refuted = r.refuted || r.kernel.certain && bad > 0
	weight := math.Log(latest(r.next) - latest(window+1))
	r.next = window + 1
	for i, t := range r.kernel.terms {
		r.begun[i] = logAdd(r.begun[i], weight-r.sofar[i])
		r.sofar[i] += bad*t.odds - total*t.event
	}
}

// log is the logarithm of the evidence. Windows to come are worth their weight.
func (r *restarted) log() float64 {
	if r.refuted {
		return math.Inf(1)
	}
	logs := make([]float64, 0, len(r.sofar)+1)
	logs = append(logs, math.Log(latest(r.next)))
	largest := logs[0]
	for i, t := range r.kernel.terms {
		log := t.weight + r.sofar[i] + r.begun[i]
		logs = append(logs, log)
		largest = max(largest, log)
	}
	return logSum(logs, largest)
}

// logAdd is the logarithm of the sum of two numbers given as logarithms.
func logAdd(a, b float64) float64 {
	if a < b {
		a, b = b, a
	}
	if math.IsInf(a, -1) {
		return a
	}
	return a + math.Log1p(math.Exp(b-a))
}

// logSum is the logarithm of the sum of numbers that are given as logarithms.
func logSum(logs []float64, largest float64) float64 {
	if math.IsInf(largest, 0) {
		return largest
	}
	sum := 0.0
	for _, log := range logs {
		sum += math.Exp(log - largest)
	}
	return largest + math.Log(sum)
}
