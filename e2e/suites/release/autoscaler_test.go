package release

import (
	"context"
	"errors"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// TestAutoscalerMidRelease: a HorizontalPodAutoscaler scales the Deployment while a
// release is under way. Stable follows it, the canary keeps its share of the size,
// and the promotion keeps what it asked for.
func TestAutoscalerMidRelease(t *testing.T) {
	t.Parallel()
	s := open(t, "autoscaler", stage.ShopOptions{}, v1alpha1.RolloutSpec{Steps: waiting(50)})
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: stage.Name},
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: stage.Name},
			MinReplicas:    ptr.To[int32](4), MaxReplicas: 10,
			// Nobody serves this metric here, so that the bounds alone decide.
			Metrics: []autoscalingv2.MetricSpec{{
				Type: autoscalingv2.ResourceMetricSourceType,
				Resource: &autoscalingv2.ResourceMetricSource{
					Name:   corev1.ResourceCPU,
					Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr.To[int32](50)},
				},
			}},
		},
	}
	must(t, s.Admin.Create(t.Context(), hpa))
	s.release("v2", nil)
	r := s.await("the first step", stage.AtStep(0))
	stable, canary := r.Status.Stable.Revision, r.Status.Canary.Revision

	must(t, harness.Edit(t.Context(), s.Admin, hpa, func(h *autoscalingv2.HorizontalPodAutoscaler) { h.Spec.MinReplicas = ptr.To[int32](8) }))
	must(t, s.AwaitDeployment(t.Context(), "the autoscaler to ask for eight pods", func(d *appsv1.Deployment) bool {
		return *d.Spec.Replicas == 8 && d.Spec.Paused
	}))
	harness.Eventually(t, timeout, "eight stable pods and half as many of the canary", func(ctx context.Context) error {
		r, err := s.Rollout(ctx)
		if err != nil {
			return err
		}
		old, fresh := r.Status.Stable, r.Status.Canary
		seen := fmt.Errorf("stable has %d pods available, the canary %d of %d", old.AvailableReplicas, fresh.AvailableReplicas, fresh.Replicas)
		pods, err := s.Pods(ctx, stable)
		if err != nil || len(pods) != 8 {
			return errors.Join(err, seen)
		}
		pods, err = s.Pods(ctx, canary)
		if err != nil || len(pods) != 4 {
			return errors.Join(err, seen)
		}
		return nil
	})
	r = s.await("the weight of the step", stage.AtStep(0))
	if r.Status.Exposure.Accepted != "50%" {
		t.Errorf("the canary has %s of the traffic after the autoscaler acted, not 50%%", r.Status.Exposure.Accepted)
	}

	s.cli(0, harness.Admin, "promote", stage.Name)
	r = s.await("the promotion", stage.Promoted(1))
	if got := len(s.pods(r.Status.Stable.Revision)); got != 8 || r.Status.Stable.Revision != canary {
		t.Errorf("revision %s has %d pods after the promotion, not the canary's eight", r.Status.Stable.Revision, got)
	}
	s.atRest()
	s.noneFailed()
}
