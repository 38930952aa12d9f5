package workload

import (
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestCheckExposure(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	stable, canary := owned(stableHash, "v1", 4), canarySet(2)
	pods := append(podsOf(stable, 4), podsOf(canary, 2)...)
	world := func(objs ...client.Object) []client.Object {
		return append(append([]client.Object{deployment()}, pods...), objs...)
	}
	pinnedWeb, seenWeb := service(pinned(stableHash)), slice("web", stableHash)
	ready := slice("web-canary", v2, podsOf(canary, 2)...)
	cases := map[string]struct {
		reason string
		edit   func(*v1alpha1.Rollout)
		objs   []client.Object
		size   int32
		err    error
	}{
		"Ready": {
			reason: "Enough pods, each Service narrowed, and the twin has endpoints.",
			objs:   world(stable, canary, pinnedWeb, seenWeb, twin(), ready), size: 2,
		},
		"StableDown": {
			reason: "A version may be released because stable is broken.",
			objs: append([]client.Object{deployment(), canary, pinnedWeb, seenWeb, twin(), ready,
				owned(stableHash, "v1", 4, func(rs *appsv1.ReplicaSet) { rs.Status.AvailableReplicas = 0 })}, podsOf(canary, 2)...),
			size: 2,
		},
		"TooFewPods": {
			reason: "The weight needs more pods than are available.",
			objs:   world(stable, canary, pinnedWeb, seenWeb, twin(), ready), size: 3, err: ErrPrecondition,
		},
		"NoPods": {
			reason: "No weight goes to a canary without any pod, whatever it needs.",
			objs:   world(stable, canarySet(0), pinnedWeb, seenWeb, twin(), ready), size: 0, err: ErrPrecondition,
		},
		"NoEndpoints": {
			reason: "The twin has no endpoint yet: requests would fail.",
			objs:   world(stable, canary, pinnedWeb, seenWeb, twin(), slice("web-canary", v2)), size: 2, err: ErrPrecondition,
		},
		"NoTwin": {
			reason: "The twin is not there.",
			objs:   world(stable, canary, pinnedWeb, seenWeb), size: 2, err: ErrPrecondition,
		},
		"NotPinned": {
			reason: "A wide Service has the canary's pods already.",
			objs:   world(stable, canary, service(), slice("web", ""), twin(), ready), size: 2, err: ErrPrecondition,
		},
		"ServiceGone": {
			reason: "The user's Service was deleted.",
			objs:   world(stable, canary, twin(), ready), size: 2, err: ErrPrecondition,
		},
		"NoCanary": {
			reason: "The canary was deleted.",
			objs:   world(stable, pinnedWeb, seenWeb, twin(), ready), size: 2, err: ErrPrecondition,
		},
		"EarlierTerm": {
			reason: "This controller has not stamped the canary yet.",
			edit:   func(r *v1alpha1.Rollout) { r.Status.Record.TermSeq = 9 },
			objs:   world(stable, canary, pinnedWeb, seenWeb, twin(), ready), size: 2, err: ErrPrecondition,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := rollout()
			if tc.edit != nil {
				tc.edit(r)
			}
			c, _ := newTestClient(t, append(tc.objs, r)...)
			pass := Pass{Rollout: r, Services: []string{"web"}, Routes: routesAre(split)}
			err := c.CheckExposure(t.Context(), pass, decide.Effect{Kind: decide.EffectSetWeight, Size: tc.size, Weight: 500, Raise: true})
			if !errors.Is(err, tc.err) {
				t.Errorf("%s\nerror = %v, want %v", tc.reason, err, tc.err)
			}
		})
	}
}
