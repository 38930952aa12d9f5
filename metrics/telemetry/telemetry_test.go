package telemetry

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/types"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestTelemetry(t *testing.T) {
	now := time.Unix(1000, 0)
	registry := prometheus.NewPedanticRegistry()
	weir, err := New(registry, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	idle := types.NamespacedName{Namespace: "shop", Name: "idle"}
	gone := types.NamespacedName{Namespace: "shop", Name: "gone"}

	waiting := State{Reason: v1alpha1.ReasonWaitingForApproval, Stage: v1alpha1.StageProgressing, Weight: 2500, Waiting: "Approval"}
	weir.Set(web, waiting)
	weir.Set(idle, State{Reason: v1alpha1.ReasonStable, Stage: v1alpha1.StageIdle})
	weir.Set(gone, State{Reason: v1alpha1.ReasonStable, Stage: v1alpha1.StageIdle})
	weir.Forget(gone)
	now = now.Add(time.Minute)
	weir.Set(web, waiting) // The same wait goes on.
	weir.Effect("SetWeight", nil)
	weir.Effect("SetWeight", errors.New("conflict"))
	weir.ReleaseEnded("shop", v1alpha1.ResultPromoted)
	weir.Look(v1alpha1.VerdictPass, time.Second, nil)
	weir.Look("", time.Second, errors.New("no answer"))
	weir.Pass(OutcomeActed, time.Millisecond)

	want := `
# HELP weir_analysis_errors_total Looks at the metrics of releases that could not be made.
# TYPE weir_analysis_errors_total counter
weir_analysis_errors_total 1
# HELP weir_analysis_verdicts_total Looks at the metrics of releases, by verdict.
# TYPE weir_analysis_verdicts_total counter
weir_analysis_verdicts_total{verdict="Pass"} 1
# HELP weir_effects_total Effects, records and answers, by kind and whether they were performed. One that was in place already wrote nothing.
# TYPE weir_effects_total counter
weir_effects_total{effect="SetWeight",result="error"} 1
weir_effects_total{effect="SetWeight",result="ok"} 1
# HELP weir_oldest_wait_seconds How long the longest wait of a release has lasted, by what it waits for.
# TYPE weir_oldest_wait_seconds gauge
weir_oldest_wait_seconds{waiting_for="Approval"} 60
# HELP weir_release_stages Rollouts by the stage of their release.
# TYPE weir_release_stages gauge
weir_release_stages{stage="Idle"} 1
weir_release_stages{stage="Progressing"} 1
# HELP weir_release_weight_ratio Share of the traffic that a release under way may give to its new version.
# TYPE weir_release_weight_ratio gauge
weir_release_weight_ratio{namespace="shop",rollout="web"} 0.25
# HELP weir_releases_total Releases that ended, by how.
# TYPE weir_releases_total counter
weir_releases_total{namespace="shop",result="Promoted"} 1
# HELP weir_rollouts Rollouts by the reason of their Ready condition.
# TYPE weir_rollouts gauge
weir_rollouts{reason="Stable"} 1
weir_rollouts{reason="WaitingForApproval"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want),
		"weir_analysis_errors_total", "weir_analysis_verdicts_total", "weir_oldest_wait_seconds",
		"weir_release_stages", "weir_release_weight_ratio", "weir_releases_total", "weir_rollouts", "weir_effects_total",
	); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(registry)
	if err != nil || len(problems) > 0 {
		t.Errorf("metrics follow the naming rules of Prometheus: got %v, %v", problems, err)
	}
	if n := testutil.CollectAndCount(weir.passes); n != 1 {
		t.Errorf("a pass is counted under its outcome: got %d series, want 1", n)
	}
}

func TestNewWaitStartsAnew(t *testing.T) {
	now := time.Unix(1000, 0)
	weir, err := New(prometheus.NewRegistry(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	web := types.NamespacedName{Namespace: "shop", Name: "web"}
	weir.Set(web, State{Waiting: "Approval"})
	now = now.Add(time.Hour)
	weir.Set(web, State{Waiting: "Hold"})
	now = now.Add(time.Second)
	want := `
# HELP weir_oldest_wait_seconds How long the longest wait of a release has lasted, by what it waits for.
# TYPE weir_oldest_wait_seconds gauge
weir_oldest_wait_seconds{waiting_for="Hold"} 1
`
	if err := testutil.CollectAndCompare(weir, strings.NewReader(want), "weir_oldest_wait_seconds"); err != nil {
		t.Errorf("a wait for something else is another wait: %v", err)
	}
}
