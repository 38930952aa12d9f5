package judge

import (
	"math"
	"testing"
)

func TestConsistent(t *testing.T) {
	cases := map[string]struct {
		reason              string
		canary, total, want float64
		consistent          bool
	}{
		"NoRequests":  {reason: "without requests everything is plausible", want: 0.5, consistent: true},
		"Exact":       {reason: "exactly the share", canary: 50, total: 1000, want: 0.05, consistent: true},
		"Near":        {reason: "two deviations off", canary: 64, total: 1000, want: 0.05, consistent: true},
		"FarAbove":    {reason: "twice the share", canary: 100, total: 1000, want: 0.05},
		"FarBelow":    {reason: "half the share", canary: 250, total: 10000, want: 0.05},
		"FewBelow":    {reason: "none of ten at 5 % is nothing unusual", canary: 0, total: 10, want: 0.05, consistent: true},
		"ManyNone":    {reason: "none of a thousand is", canary: 0, total: 1000, want: 0.05},
		"ZeroHeld":    {reason: "nothing asked, nothing came", canary: 0, total: 1000, want: 0, consistent: true},
		"ZeroBroken":  {reason: "at weight zero one request is one too many", canary: 1, total: 1000, want: 0},
		"FullHeld":    {reason: "all asked, all came", canary: 1000, total: 1000, want: 1, consistent: true},
		"FullBroken":  {reason: "at full weight none may go elsewhere", canary: 999, total: 1000, want: 1},
		"Impossible":  {reason: "more than all", canary: 11, total: 10, want: 0.5},
		"Large":       {reason: "large numbers are as exact", canary: 5_000_000, total: 100_000_000, want: 0.05, consistent: true},
		"LargeOff":    {reason: "and as strict", canary: 5_020_000, total: 100_000_000, want: 0.05},
		"RoundedDown": {reason: "counts are whole", canary: 0.4, total: 10.2, want: 0.05, consistent: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Consistent(tc.canary, tc.total, tc.want); got != tc.consistent {
				t.Errorf("%s: Consistent(%v, %v, %v) = %t", tc.reason, tc.canary, tc.total, tc.want, got)
			}
		})
	}
}

// TestConsistentLevel: by enumeration, a right share is refused with probability
// at most the level, and the smallest counts that are refused are near it.
func TestConsistentLevel(t *testing.T) {
	for _, n := range []float64{1, 10, 100, 1000} {
		for _, p := range []float64{0.001, 0.01, 0.05, 0.25, 0.5, 0.99} {
			refused := 0.0
			for k := 0.0; k <= n; k++ {
				if !Consistent(k, n, p) {
					refused += math.Exp(logBinomial(k, n, p))
				}
			}
			if refused > shareLevel {
				t.Errorf("%v requests at %v: refused with probability %v, want at most %v", n, p, refused, shareLevel)
			}
		}
	}
}
