package rollout

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestSession(t *testing.T) {
	five, fifty := intstr.FromInt32(5), intstr.FromInt32(50)
	sticky := func(affinity *v1alpha1.SessionAffinity, weight int32, lowered bool) *v1alpha1.Rollout {
		r := newRollout(routed("web"))
		r.Spec.Traffic.SessionAffinity = affinity
		r.Spec.Steps = []v1alpha1.Step{{Weight: &five}, {Weight: &fifty}}
		r.Status.Canary.Revision, r.Status.Release.Number = "5d8f", 3
		r.Status.Record.DesiredWeight, r.Status.Record.Lowered = weight, lowered
		return r
	}
	defaults := providers.Session{Cookie: "weir-web", MaxAge: 24 * time.Hour, Release: "5d8f-3", Weight: 5000, Before: 500}
	none := defaults
	none.Weight, none.Before = 0, 0
	for name, tc := range map[string]struct {
		reason  string
		rollout *v1alpha1.Rollout
		want    *providers.Session
	}{
		"Native":   {"without routes there are no sessions", newRollout(), nil},
		"Absent":   {"nobody asks for them", newRollout(routed("web")), nil},
		"Defaults": {"what is left away has a default", sticky(&v1alpha1.SessionAffinity{}, 5000, false), &defaults},
		"Lowered":  {"while the exposure is taken away nobody has a session", sticky(&v1alpha1.SessionAffinity{}, 5000, true), &none},
		"Named": {
			"what is written counts", sticky(&v1alpha1.SessionAffinity{CookieName: "shop", MaxAge: "1h30m"}, 500, false),
			&providers.Session{Cookie: "shop", MaxAge: 90 * time.Minute, Release: "5d8f-3", Weight: 500},
		},
	} {
		if diff := cmp.Diff(tc.want, session(tc.rollout, decide.AllowedWeight(&tc.rollout.Status))); diff != "" {
			t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
		}
	}
}

// TestSessionOfRetry: another release of the same revision knows nobody of the one
// before, whose users may be far more than its first step's canary is sized for.
func TestSessionOfRetry(t *testing.T) {
	r := newRollout(routed("web"))
	r.Spec.Traffic.SessionAffinity = &v1alpha1.SessionAffinity{}
	r.Status.Canary.Revision = "5d8f"
	seen := map[string]int64{}
	for number := int64(1); number <= 12; number++ {
		r.Status.Release.Number = number
		s := session(r, 100)
		for _, value := range []string{s.Canary(), s.Stable(100), s.Stable(1000)} {
			if other, there := seen[value]; there {
				t.Errorf("releases %d and %d have the cookie %s", other, number, value)
			}
			seen[value] = number
		}
	}
}
