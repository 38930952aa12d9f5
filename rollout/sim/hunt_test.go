package sim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hunts say where each defect is found: by random search within so many
// schedules, or by the transcript that was written for it.
var hunts = []struct {
	mutant     Mutant
	schedules  uint64
	transcript string
	reason     string
}{
	{PodsBeforePin, 2000, "", "callers beside the routes meet the canary"},
	{AbsoluteLowering, 20000, "", "a write that is meant to lower raises"},
	{NoGenerationRule, 2000, "", "an old observation of the workload looks like a new template"},
	{NoCAS, 1000, "", "one decision overwrites another"},
	{ApprovalWithoutNumber, 2000, "", "an answer about one attempt decides about the next"},
	{NoLiveRead, 60000, "", "what a cache does not show yet is taken for gone"},
	{NoRestoreBeforeHandover, 20000, "", "routes point at the canary while the workload may roll back"},
	{ClockNotReset, 5000, "", "a hold counts time without exposure"},
	{NoStamp, 60000, "", "a process that was stopped writes over a newer decision"},
	{NoSeal, 5000, "", "a raise in flight lands after the rollback"},
	{NoSweep, 60000, "", "a set that was made too late stays"},
	{NoSettleRule, 200000, "", "decisions rest on sets that the controller has not brought up to date"},
	{NoCheckBeforeRaise, 20000, "", "weight goes to pods that are gone"},
	{NoTerm, 0, "trap-takeover", "a process that was stopped takes pods from under a new weight"},
	{UnpauseAnything, 20000, "", "a template that came in between rolls out"},
	{NoTakeoverStamps, 0, "trap-takeover", "a process that was stopped takes pods from under a new weight"},
	{NoSetSeal, 0, "trap-seal", "pods are added to a canary that is rolled back"},
	{NoStampInForce, 0, "trap-in-force", "a raise in flight lands after the clock has begun"},
	{NoBackendStamp, 0, "trap-late-service", "a Service that an older process made is not fenced"},
	{ConfirmBeforeRead, 0, "trap-confirm", "what was confirmed is long past when it is written"},
	{KeepExtras, 5000, "", "requests that match go on to the canary after its rollback"},
	{ExtrasByIndex, 0, "extras-edited", "a cohort that was edited away is sent to the canary"},
	{PreviewLeft, 5000, "", "the preview has nothing to show once the canary's pods are gone"},
	{NoPruning, 0, "history", "the workload prefers its own old set, and restarts every pod"},
}

// TestMutants shows that each defect would be found: it violates an invariant
// within so many schedules, or its transcript comes out differently.
func TestMutants(t *testing.T) {
	if len(hunts) != int(mutants)-1 {
		t.Fatalf("%d defects are hunted, there are %d", len(hunts), mutants-1)
	}
	for _, h := range hunts {
		t.Run(h.mutant.String(), func(t *testing.T) {
			if h.transcript != "" {
				huntInTranscript(t, h.mutant, h.transcript, h.reason)
				return
			}
			r := search(1, h.schedules, h.mutant)
			if len(r.Violations) == 0 {
				t.Fatalf("%d schedules do not show that %s", h.schedules, h.reason)
			}
			t.Logf("seed %d: %s", r.Seed, r.Violations[0])
		})
	}
}

func huntInTranscript(t *testing.T, m Mutant, name, reason string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(transcripts, name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	got, w, err := runTranscript(string(text), m)
	switch {
	case err != nil:
		t.Logf("the transcript cannot be run to its end: %v", err)
	case len(w.ledger.violations) > 0:
		t.Logf("%s", strings.Join(w.ledger.violations, "; "))
	case got == string(text):
		t.Errorf("transcript %s does not show that %s", name, reason)
	default:
		t.Logf("the transcript comes out differently")
	}
}
