package sim

import "testing"

// TestWriteBudget bounds the writes of one release, from the new template to
// rest: records and effects, events apart.
func TestWriteBudget(t *testing.T) {
	cases := map[string]struct {
		world  string
		most   int
		reason string
	}{
		"NativeWithoutWaits": {"replicas=10 steps=pods=1,pods=4,pods=100%", 14, "three steps of distinct sizes that wait for nothing"},
		"RouteWithoutWaits":  {"routes=1 replicas=10 steps=10,50,100", 24, "three steps of distinct sizes that wait for nothing"},
		"NativeEachWaits":    {"replicas=10 steps=pods=1:hold=1m,pods=4:hold=1m,pods=100%:hold=1m", 17, "one more record for each step, when its clock begins"},
		"RouteEachWaits":     {"routes=1 replicas=10 steps=10:hold=1m,50:hold=1m,100:hold=1m", 27, "one more record for each step, when its clock begins"},
		"HoldPaused":         {"routes=1 replicas=10 steps=10,50,100 hold=Paused", 25, "the pause between releases, and its generation"},
		"TwoRoutes":          {"routes=2 replicas=10 steps=10,50,100", 28, "one more write a raise, and one to give it back"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, w, err := runTranscript("world "+c.world+"\ncalm\n", None)
			if err != nil {
				t.Fatal(err)
			}
			before := w.ledger.writes
			w.deploy(2, "alice")
			w.settle()
			if len(w.ledger.violations) > 0 {
				t.Fatal(w.ledger.violations)
			}
			if n := w.ledger.writes - before; n > c.most || w.ledger.promoted != 1 {
				t.Errorf("%d writes and %d promotions, at most %d writes: %s", n, w.ledger.promoted, c.most, c.reason)
			} else {
				t.Logf("%d writes", n)
			}
		})
	}
}
