package judge

import "math"

// shareLevel is the probability with which a right share is taken for a wrong
// one, at one look.
const shareLevel = 1e-4

// Consistent tells whether it is plausible that each of total requests reached
// the canary with the probability want (0 to 1) when canary of them did. Both
// counts are rounded. Without requests everything is plausible.
//
// The test is the exact two-sided one of the binomial distribution, at one in
// ten thousand. Gateways that deal out requests in turn deviate less than that;
// ones that choose by connection deviate more.
func Consistent(canary, total, want float64) bool {
	k, n := math.Round(canary), math.Round(total)
	switch {
	case n <= 0:
		return true
	case k < 0 || k > n:
		return false
	case want <= 0:
		return k == 0
	case want >= 1:
		return k == n
	}
	return tail(k, n, want) > shareLevel/2
}

// tail is the probability of k of n or a number that lies further from the mean
// on the same side.
func tail(k, n, p float64) float64 {
	step := -1.0
	if k > n*p {
		step = 1
	}
	term := math.Exp(logBinomial(k, n, p))
	sum := 0.0
	// Away from the mean the terms fall, in the end faster than geometrically.
	for ; k >= 0 && k <= n && term > sum*1e-12; k += step {
		sum += term
		if step > 0 {
			term *= (n - k) / (k + 1) * p / (1 - p)
		} else {
			term *= k / (n - k + 1) * (1 - p) / p
		}
	}
	return sum
}

// logBinomial is the logarithm of the probability of k of n.
func logBinomial(k, n, p float64) float64 {
	lgamma := func(x float64) float64 { v, _ := math.Lgamma(x + 1); return v }
	return lgamma(n) - lgamma(k) - lgamma(n-k) + k*math.Log(p) + (n-k)*math.Log1p(-p)
}
