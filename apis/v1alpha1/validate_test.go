package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func TestValidateSpec(t *testing.T) {
	weights := func(values ...intstr.IntOrString) *RolloutSpec {
		spec := &RolloutSpec{}
		for i := range values {
			spec.Steps = append(spec.Steps, Step{Weight: &values[i]})
		}
		return spec
	}
	cases := map[string]struct {
		reason string
		spec   *RolloutSpec
		want   []string
	}{
		"Rising": {
			reason: "weights may rise and stay, across both ways to write them",
			spec:   weights(intstr.FromString("0.1%"), intstr.FromString("0.25%"), intstr.FromInt32(1), intstr.FromInt32(1), intstr.FromInt32(100)),
		},
		"FallingBelowOne": {
			reason: "two weights below one percent are beyond the schema's order",
			spec:   weights(intstr.FromString("0.5%"), intstr.FromString("0.25%")),
			want:   []string{"spec.steps[1].weight"},
		},
		"NotAPercentage": {
			reason: "what is no percentage is named",
			spec:   weights(intstr.FromString("half")),
			want:   []string{"spec.steps[0].weight"},
		},
		"Hold": {
			reason: "a hold that is no duration is named by its path",
			spec:   &RolloutSpec{Steps: []Step{{Gates: &Gates{Hold: "soon"}}}},
			want:   []string{"spec.steps[0].gates.hold"},
		},
		"ApprovalTimeout": {
			reason: "as is the timeout of a gate",
			spec:   &RolloutSpec{Steps: []Step{{Gates: &Gates{Approvals: []ApprovalGate{{Name: "a", Timeout: "8"}}}}}},
			want:   []string{"spec.steps[0].gates.approvals[0].timeout"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, err := range ValidateSpec(tc.spec) {
				got = append(got, err.Field)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: fields -want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
