package split

import (
	"slices"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

const (
	// maxWeight is the largest weight that Gateway API admits, and the largest that is
	// made from smaller ones. Others admit more.
	maxWeight = 1_000_000
	// minShare, in parts per 10,000, is the finest share that every entry must be
	// able to give, and minParts the number of parts that this takes.
	minShare = int32(10)
	minParts = int64(1000)
	// full is the whole, in parts per 10,000.
	full = int64(v1alpha1.FullWeight)
)

// factors by which a rule's weights may be multiplied. Few and round, so that
// people read 95/5 and 999/1 rather than 19/1.
var factors = [...]int64{1, 100, 1000, 10000}

// limit is the largest factor that keeps every weight within maxWeight. Weights
// that a user wrote larger stay as they are: no factor may make nothing of them.
func limit(weights []int64) int64 {
	return max(1, maxWeight/max(1, slices.Max(weights)))
}

// factor by which all weights of a rule are multiplied so that share (parts per
// 10,000) of each of the split ones is a whole number. Where none does within
// the limit, the largest possible: the parts are then rounded.
//
// The split policy computes the same in CEL; conformance compares the two.
func factor(weights, split []int64, share int64) int64 {
	most := limit(weights)
	for _, f := range factors {
		if f <= most && exact(split, f, share) {
			return f
		}
	}
	return most
}

// exact is true when the factor splits every weight without rounding.
func exact(split []int64, factor, share int64) bool {
	for _, w := range split {
		if w*factor*share%full != 0 {
			return false
		}
	}
	return true
}

// part is the canary's part of total at the given share, rounded by largest
// remainder: of the two parts, the one with the larger fraction gets the odd
// one, and on a tie stable does.
func part(total, share int64) int64 {
	return (total*share + full/2 - 1) / full
}

// shareOf is the share that the canary's part of total is. hint is the share
// that was meant: where part gives the same number for it, that is the answer,
// since a coarse total cannot tell neighbouring shares apart. Otherwise the
// share is rounded up, so that exposure is never reported too small.
func shareOf(canary, total int64, hint int32) int32 {
	if canary <= 0 || total <= 0 {
		return 0
	}
	if hint >= 0 && part(total, int64(hint)) == canary {
		return hint
	}
	return int32((canary*full + total - 1) / total)
}

// unscale finds the weights that a user most likely wrote, from the totals of a
// rule in a grid that nothing recorded: the smallest numbers that give this
// very grid at this share. Otherwise the totals themselves, which mean the same.
func unscale(totals []int64, split []bool, share int64) []int64 {
	for _, f := range slices.Backward(factors[:]) {
		weights, ok := divide(totals, f)
		if ok && factor(weights, pick(weights, split), share) == f {
			return weights
		}
	}
	return totals
}

// divide gives the totals divided by f, if all are divisible.
func divide(totals []int64, f int64) ([]int64, bool) {
	out := make([]int64, len(totals))
	for i, t := range totals {
		if t%f != 0 {
			return nil, false
		}
		out[i] = t / f
	}
	return out, true
}

// pick gives the weights whose flag is set.
func pick(weights []int64, flags []bool) []int64 {
	var out []int64
	for i, w := range weights {
		if flags[i] {
			out = append(out, w)
		}
	}
	return out
}
