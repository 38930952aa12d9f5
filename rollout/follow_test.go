package rollout

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestGone(t *testing.T) {
	deployment := func(name, label string) *appsv1.Deployment {
		return &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{v1alpha1.RolloutLabel: label, "app": name}},
			Spec:       appsv1.DeploymentSpec{Paused: true},
		}
	}
	s := newShell(t, deployment("web", "web"), deployment("api", "api"))
	s.going = true
	if result, err := s.reconcile(); err != nil || result.RequeueAfter != goneInterval {
		t.Errorf("what takes its time is looked at again: got %+v, %v", result, err)
	}
	want := []string{"watch no pods", "look no more", "count no more", "patch web", "remove what is left of shop/web"}
	if diff := cmp.Diff(want, s.log); diff != "" {
		t.Errorf("what is gone is let go: -want, +got:\n%s", diff)
	}
	s.log, s.going = nil, false
	if result, err := s.reconcile(); err != nil || result.RequeueAfter != 0 {
		t.Errorf("what has gone is not looked at again: got %+v, %v", result, err)
	}
	s.log, s.splits = nil, true
	if result, err := s.reconcile(); err != nil || result.RequeueAfter != 0 {
		t.Errorf("the end of a split is an event: got %+v, %v", result, err)
	}
	if diff := cmp.Diff(want[:3], s.log); diff != "" {
		t.Errorf("nothing is taken from under a route that is split: -want, +got:\n%s", diff)
	}
	got := &appsv1.Deployment{}
	if err := s.Live.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"app": "web"}, got.Labels); diff != "" || !got.Spec.Paused {
		t.Errorf("only the label goes, and nothing is unpaused: paused %t, -want, +got:\n%s", got.Spec.Paused, diff)
	}
}

// TestGoneWithWhatAdmissionWrote: the cache, as it is here, does not have the
// annotation of who was refused.
func TestGoneWithWhatAdmissionWrote(t *testing.T) {
	s := newShell(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", Labels: map[string]string{v1alpha1.RolloutLabel: "web"},
		Annotations: map[string]string{v1alpha1.ChangedByAnnotation: "flux", v1alpha1.ResumeRefusedAnnotation: "ann", "a": "b"},
	}})
	s.Cached = interceptor.NewClient(s.Writer.(client.WithWatch), interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			err := c.List(ctx, list, opts...)
			if deployments, ok := list.(*unstructured.UnstructuredList); ok {
				for i := range deployments.Items {
					unstructured.RemoveNestedField(deployments.Items[i].Object, "metadata", "annotations", v1alpha1.ResumeRefusedAnnotation)
				}
			}
			return err
		},
	})
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	got := &appsv1.Deployment{}
	if err := s.Live.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "b"}, got.Annotations); diff != "" || len(got.Labels) > 0 {
		t.Errorf("what the policy has written goes with the label: labels %v, annotations (-want, +got):\n%s", got.Labels, diff)
	}
}

// TestGoneInHandover: nobody would take the veto away any more, and only the veto
// may be what holds a template.
func TestGoneInHandover(t *testing.T) {
	s := newShell(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", Labels: map[string]string{v1alpha1.RolloutLabel: "web"},
		Annotations: map[string]string{v1alpha1.HandoverAnnotation: "w1", "a": "b"},
	}})
	if _, err := s.reconcile(); err != nil {
		t.Fatal(err)
	}
	got := &appsv1.Deployment{}
	if err := s.Live.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "web"}, got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"a": "b"}, got.Annotations); diff != "" || !got.Spec.Paused {
		t.Errorf("the veto goes, and the workload is paused: paused %t, -want, +got:\n%s", got.Spec.Paused, diff)
	}
}
