package sim

import (
	"testing"
	"time"
)

func TestMutantSearch(t *testing.T) {
	n := number(t, "WEIR_SIM_SCHEDULES", 20000)
	for m := None + 1; m < mutants; m++ {
		start := time.Now()
		r := search(1, n, m)
		v := ""
		if len(r.Violations) > 0 {
			v = r.Violations[0]
		}
		t.Logf("%-24s seed %d %s (%s)", m, r.Seed, v, time.Since(start))
	}
}
