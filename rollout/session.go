package rollout

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

// sessionAge is how long a session lasts where nothing is said.
const sessionAge = 24 * time.Hour

// session is how users are kept with one version at a weight, nil where they are not.
func session(rollout *v1alpha1.Rollout, weight int32) *providers.Session {
	t := rollout.Spec.Traffic
	if t == nil || t.SessionAffinity == nil {
		return nil
	}
	status := &rollout.Status
	return &providers.Session{
		Cookie:  cmp.Or(t.SessionAffinity.CookieName, "weir-"+rollout.Name),
		MaxAge:  t.SessionAffinity.MaxAge.Or(sessionAge),
		Release: fmt.Sprintf("%s-%d", status.Canary.Revision, status.Release.Number),
		Weight:  weight,
		Before:  decide.WeightBefore(&rollout.Spec, weight),
	}
}
