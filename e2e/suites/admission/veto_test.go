package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
)

// Un-paused under the veto, the Deployment's controller may adopt but not roll:
// that is what the handover rests on.
func TestVetoKeepsTheDeploymentFromRolling(t *testing.T) {
	c := newDeployment(t)
	c.hold(t)
	weir := c.client(t, harness.Weir)
	patch := func(annotation string) {
		t.Helper()
		body := fmt.Sprintf(`{"metadata":{"annotations":{"weir.dev/handover":%s}},"spec":{"paused":false}}`, annotation)
		must(t, weir.Patch(t.Context(), c.deployment(t), client.RawPatch(types.MergePatchType, []byte(body))))
	}

	patch(`"web"`)
	harness.Eventually(t, patience, "the Deployment's controller to be refused", func(context.Context) error {
		d := c.deployment(t)
		for _, condition := range d.Status.Conditions {
			if condition.Type == appsv1.DeploymentProgressing && condition.Reason == "ReplicaSetCreateError" {
				if !strings.Contains(condition.Message, "weir.dev/handover") {
					t.Errorf("the message does not name the way out: %s", condition.Message)
				}
				return nil
			}
		}
		return fmt.Errorf("its conditions are %v", d.Status.Conditions)
	})
	if c.hasSetOf(t, c.deployment(t)) {
		t.Error("the Deployment's controller made a ReplicaSet during the handover")
	}

	patch("null")
	c.awaitRolled(t)
}

// Everybody else's ReplicaSets, Weir's canary among them, are none of its
// business.
func TestVetoIsNarrow(t *testing.T) {
	c := newDeployment(t)
	d := c.deployment(t)
	set := &appsv1.ReplicaSet{}
	set.Namespace, set.GenerateName = c.namespace, "web-"
	set.Annotations = map[string]string{"team": "shop"}
	set.Spec = appsv1.ReplicaSetSpec{Replicas: new(int32), Selector: d.Spec.Selector, Template: d.Spec.Template}
	set.Spec.Template.Spec.Containers = []corev1.Container{{Name: "app", Image: "example/other"}}
	must(t, c.client(t, harness.Weir).Create(t.Context(), set))

	set = &appsv1.ReplicaSet{ObjectMeta: set.ObjectMeta, Spec: set.Spec}
	set.Name, set.ResourceVersion, set.UID = "", "", ""
	set.Annotations = map[string]string{"weir.dev/handover": ""}
	if err := c.client(t, harness.Admin).Create(t.Context(), set); err == nil || !strings.Contains(err.Error(), "weir-veto") {
		t.Errorf("a ReplicaSet with the annotation: want it refused by weir-veto whatever its value, got %v", err)
	}
}
