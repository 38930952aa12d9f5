package sim

import (
	"os"
	"strconv"
	"testing"
)

// number reads a number from the environment.
func number(t testing.TB, name string, def uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return def
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s=%q is not a number", name, text)
	}
	return n
}

func TestSchedules(t *testing.T) {
	n := number(t, "WEIR_SIM_SCHEDULES", 50000)
	first := number(t, "WEIR_SIM_SEED", 1)
	for seed := first; seed < first+n; seed++ {
		r := Run(seed, None, false)
		if len(r.Violations) > 0 {
			r = Run(seed, None, true)
			t.Fatalf("%s\nreproduce: WEIR_SIM_SEED=%d WEIR_SIM_SCHEDULES=1 go test ./rollout/sim -run TestSchedules\n%s", r.Violations[0], seed, r.Trace)
		}
	}
}
