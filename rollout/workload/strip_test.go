package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestStripDeployment(t *testing.T) {
	full := deployment(func(d *appsv1.Deployment) {
		d.Labels = map[string]string{v1alpha1.RolloutLabel: "web", "team": "a"}
		d.Annotations = map[string]string{v1alpha1.HandoverAnnotation: "w1", "note": "long"}
	})
	before := raw(t, full)
	got, err := StripDeployment(before.DeepCopy())
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := templateOf(before)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := tmpl.digest()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"apiVersion": "apps/v1", "kind": "Deployment",
		"metadata": map[string]any{
			"name": "web", "namespace": namespace, "uid": "target-uid", "generation": int64(3),
			"labels":      map[string]any{v1alpha1.RolloutLabel: "web"},
			"annotations": map[string]any{v1alpha1.HandoverAnnotation: "w1", digestAnnotation: digest},
		},
		"spec": map[string]any{
			"paused": true, "replicas": int64(4), "strategy": map[string]any{},
			"selector": map[string]any{"matchLabels": map[string]any{"app": "web"}},
		},
		"status": map[string]any{"observedGeneration": int64(3)},
	}
	if diff := cmp.Diff(want, got.(interface{ UnstructuredContent() map[string]any }).UnstructuredContent()); diff != "" {
		t.Errorf("a cached copy has what decisions need, and a digest for the template (-want +got):\n%s", diff)
	}
	again, err := StripDeployment(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("stripping twice must change nothing (-want +got):\n%s", diff)
	}
	if _, err := StripDeployment(full); err == nil {
		t.Error("a typed object has lost fields already, and must be refused")
	}
}

func TestStripReplicaSet(t *testing.T) {
	full := canarySet(2, func(rs *appsv1.ReplicaSet) {
		rs.Annotations["note"] = "long"
		rs.Labels["team"] = "a"
	})
	tmpl, err := templateOf(raw(t, full))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := tmpl.digest()
	if err != nil {
		t.Fatal(err)
	}
	want := canarySet(2)
	want.TypeMeta = metav1.TypeMeta{}
	want.Annotations[digestAnnotation] = digest
	want.Spec = appsv1.ReplicaSetSpec{Replicas: want.Spec.Replicas}
	want.Status.ReadyReplicas = 0
	got, err := StripReplicaSet(full)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("a cached copy has what decisions need, and a digest for the template (-want +got):\n%s", diff)
	}
	again, err := StripReplicaSet(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(got, again); diff != "" {
		t.Errorf("stripping twice must change nothing (-want +got):\n%s", diff)
	}
}
