package release

import (
	"context"
	"strings"
	"testing"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// TestStatusAfterApply: a pipeline that asks right after its apply gets the outcome
// of what it applied, however late the controller is.
func TestStatusAfterApply(t *testing.T) {
	s := open(t, "status", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: []v1alpha1.Step{stage.Hold(50, "1s"), stage.Hold(100, "1s")}})
	s.cli(0, harness.Carol, "status", stage.Name, "--wait", "--timeout=30s")

	_, err := world.Run(t.Context(), "pause", stage.ControllerName)
	must(t, err)
	paused := true
	resume := func(ctx context.Context) {
		if _, err := world.Run(ctx, "resume", stage.ControllerName); err != nil {
			t.Error(err)
		}
		paused = false
	}
	t.Cleanup(func() {
		if paused {
			resume(context.Background())
		}
	})
	s.release("v2", nil)
	for _, args := range [][]string{{}, {"--wait", "--timeout=3s"}} {
		out := s.cli(4, harness.Carol, append([]string{"status", stage.Name}, args...)...)
		if !strings.Contains(out, "has not looked at generation") {
			t.Errorf("status %v does not say that the controller is behind:\n%s", args, out)
		}
	}
	resume(t.Context())
	s.cli(0, harness.Carol, "status", stage.Name, "--wait", "--timeout=90s")
	s.await("the release to have been promoted when status said so", stage.Promoted(1))

	// A rollback is no answer to the fix that follows it.
	s.release("v3", map[string]string{"CRASH_AFTER": "1s"})
	s.cli(3, harness.Carol, "status", stage.Name, "--wait", "--timeout=90s")
	s.release("v4", nil)
	s.cli(0, harness.Carol, "status", stage.Name, "--wait", "--timeout=90s")
	if out := s.cli(0, harness.Carol, "history", stage.Name); !strings.Contains(out, "RolledBack") || strings.Count(out, "Promoted") != 2 {
		t.Errorf("the history is not two promotions and a rollback:\n%s", out)
	}
}
