package split

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFactor(t *testing.T) {
	cases := map[string]struct {
		reason         string
		weights, split []int64
		share          int64
		want           int64
	}{
		"Percent":       {"one backend reads as a percentage", []int64{1}, []int64{1}, 500, 100},
		"RoundPercent":  {"ten percent reads 90/10, not 9/1", []int64{1}, []int64{1}, 1000, 100},
		"TenthPercent":  {"one in a thousand reads 999/1", []int64{1}, []int64{1}, 10, 1000},
		"Hundred":       {"weights that are percentages already stay", []int64{100}, []int64{100}, 500, 1},
		"Nothing":       {"at 0 % the numbers are the user's", []int64{3, 7}, []int64{3}, 0, 1},
		"All":           {"at 100 % the numbers are the user's", []int64{3, 7}, []int64{3}, 10000, 1},
		"Mixed":         {"the split entry decides, the other follows", []int64{10, 90}, []int64{90}, 500, 100},
		"Limit":         {"no weight grows beyond a million", []int64{7, 999}, []int64{7}, 1, 1001},
		"NoRoom":        {"weights at the limit cannot be multiplied", []int64{1, maxWeight}, []int64{1}, 500, 1},
		"NoTraffic":     {"a rule without any weight has no limit", []int64{0}, []int64{0}, 500, 1},
		"SeveralSplits": {"the factor suits every entry", []int64{4, 3}, []int64{4, 3}, 2500, 100},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := factor(tc.weights, tc.split, tc.share); got != tc.want {
				t.Errorf("\n%s\nfactor(%v, %v, %d) = %d, want %d", tc.reason, tc.weights, tc.split, tc.share, got, tc.want)
			}
		})
	}
}

func TestPart(t *testing.T) {
	cases := map[string]struct {
		reason       string
		total, share int64
		want         int64
	}{
		"Exact":      {"whole numbers are exact", 100, 500, 5},
		"Down":       {"the larger fraction gets the odd one: stable", 1001, 500, 50},
		"Up":         {"the larger fraction gets the odd one: canary", 1012, 500, 51},
		"Tie":        {"on a tie stable gets it", 1, 5000, 0},
		"Everything": {"the whole is the whole", 7, 10000, 7},
		"Nothing":    {"nothing is nothing", 7, 0, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := part(tc.total, tc.share); got != tc.want {
				t.Errorf("\n%s\npart(%d, %d) = %d, want %d", tc.reason, tc.total, tc.share, got, tc.want)
			}
		})
	}
}

func TestShareOf(t *testing.T) {
	cases := map[string]struct {
		reason        string
		canary, total int64
		hint          int32
		want          int32
	}{
		"Exact":   {"no hint is needed where the grid is fine", 5, 100, -1, 500},
		"Hint":    {"a coarse grid stands for the share that was meant", 33, 1001, 333, 333},
		"NoHint":  {"without a hint exposure is rounded up", 33, 1001, -1, 330},
		"Wrong":   {"a hint that gives another number is no answer", 33, 1001, 500, 330},
		"Nothing": {"no weight is no exposure, whatever was meant", 0, 100, 1, 0},
		"Empty":   {"no traffic is no exposure", 0, 0, 500, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := shareOf(tc.canary, tc.total, tc.hint); got != tc.want {
				t.Errorf("\n%s\nshareOf(%d, %d, %d) = %d, want %d", tc.reason, tc.canary, tc.total, tc.hint, got, tc.want)
			}
		})
	}
}

func TestUnscale(t *testing.T) {
	cases := map[string]struct {
		reason string
		totals []int64
		split  []bool
		share  int64
		want   []int64
	}{
		"Scaled":   {"the smallest numbers that give this grid", []int64{300, 100}, []bool{true, false}, 500, []int64{3, 1}},
		"Not":      {"a grid that no factor gives is taken as it is", []int64{95, 5}, []bool{true, false}, 500, []int64{95, 5}},
		"AtZero":   {"at 0 % nothing was multiplied", []int64{100}, []bool{true}, 0, []int64{100}},
		"Finer":    {"a fine share needs a fine grid", []int64{1000, 2000}, []bool{true, false}, 10, []int64{1, 2}},
		"NoWeight": {"no traffic stays no traffic", []int64{0}, []bool{true}, 500, []int64{0}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, unscale(tc.totals, tc.split, tc.share)); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestGrid checks what every split must keep, over random weights and shares.
func TestGrid(t *testing.T) {
	random := newRandom(t)
	for range 20000 {
		weights := make([]int64, 1+random.IntN(4))
		for i := range weights {
			weights[i] = 1 + random.Int64N([]int64{1, 10, 100, 1000}[random.IntN(4)])
		}
		share := random.Int64N(full + 1)
		f := factor(weights, weights[:1], share)
		total := weights[0] * f
		canary := part(total, share)
		for _, w := range weights {
			if w*f > maxWeight {
				t.Fatalf("weights %v at %d: %d is more than Gateway API admits", weights, share, w*f)
			}
		}
		if off := canary*full - total*share; off > full/2 || off < -full/2 {
			t.Fatalf("weights %v at %d: %d of %d is off by more than half a part", weights, share, canary, total)
		}
		if canary > 0 {
			if got := shareOf(canary, total, int32(share)); got != int32(share) {
				t.Fatalf("weights %v at %d: read back as %d", weights, share, got)
			}
		}
	}
}
