package controller

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// replicaSet of a Deployment, with the given sizes.
func replicaSet(wanted, found int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-1", UID: "rs", ResourceVersion: "7",
			Labels:          map[string]string{"app": "web", "pod-template-hash": "1"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "d"}},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: &wanted,
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}},
		},
		Status: appsv1.ReplicaSetStatus{Replicas: found},
	}
}

func TestSlimReplicaSet(t *testing.T) {
	cases := map[string]struct {
		reason        string
		wanted, found int32
		owned         bool
	}{
		"History": {reason: "an empty set is a name and no more"},
		"Active":  {reason: "one with pods keeps its owner", wanted: 2, found: 2, owned: true},
		"Blocked": {reason: "so does one whose pods cannot be made", wanted: 2, owned: true},
		"Leaving": {reason: "and one whose pods are still there", found: 1, owned: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := slimReplicaSet(replicaSet(tc.wanted, tc.found))
			if err != nil {
				t.Fatal(err)
			}
			got, ok := out.(*appsv1.ReplicaSet)
			if !ok {
				t.Fatalf("got a %T", out)
			}
			if owned := len(got.GetOwnerReferences()) > 0; owned != tc.owned {
				t.Errorf("%s: has an owner: %t, want %t", tc.reason, owned, tc.owned)
			}
			if got.GetName() != "web-1" || got.GetResourceVersion() != "7" || got.GetUID() != "rs" {
				t.Errorf("%s: it keeps its identity: got %v", tc.reason, got.ObjectMeta)
			}
			if len(got.Spec.Template.Spec.Containers) > 0 {
				t.Errorf("%s: the template is most of it and goes", tc.reason)
			}
		})
	}
	if _, err := slimReplicaSet(&corev1.Pod{}); err == nil {
		t.Error("what is no ReplicaSet is an error")
	}
}

func TestSlim(t *testing.T) {
	out, err := slim(&corev1.Service{ObjectMeta: metav1.ObjectMeta{
		Name:          "web",
		ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		Annotations:   map[string]string{lastApplied: "{}", "a": "b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "web", Annotations: map[string]string{"a": "b"}}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("what no decision rests on goes: -want, +got:\n%s", diff)
	}
	for _, kind := range routerOf(nil, nil, nil, nil).Kinds() {
		route := &unstructured.Unstructured{}
		route.SetGroupVersionKind(kind.GroupVersionKind)
		route.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "argocd"}})
		if out, err := slim(route); err != nil || len(out.(client.Object).GetManagedFields()) != 1 {
			t.Errorf("of a route it stays who wrote it: got %v, %v", out, err)
		}
	}
	if out, err := slim("tombstone"); err != nil || out != "tombstone" {
		t.Errorf("what is no object is left alone: got %v, %v", out, err)
	}
}

func TestNameOnly(t *testing.T) {
	out, err := nameOnly(&metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web", UID: "d", ResourceVersion: "7", Labels: map[string]string{"app": "web"}, Annotations: map[string]string{"a": "b"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "d", ResourceVersion: "7"}}
	if diff := cmp.Diff(want, out); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
	if _, err := nameOnly(&corev1.Pod{}); err == nil {
		t.Error("what is not metadata is an error")
	}
}

// selectorOf is the label selector for a kind in cache options.
func selectorOf(t *testing.T, objects map[client.Object]labels.Selector, kind string) labels.Selector {
	t.Helper()
	for obj, selector := range objects {
		if obj.GetObjectKind().GroupVersionKind().Kind == kind {
			return selector
		}
	}
	t.Fatalf("no selector for %s", kind)
	return nil
}

func TestTwoCachesOfDeployments(t *testing.T) {
	options := cacheOptions([]string{"a", "b"})
	if len(options.DefaultNamespaces) != 2 {
		t.Errorf("only the namespaces that were named are watched: got %v", options.DefaultNamespaces)
	}
	labelled, unlabelled := map[client.Object]labels.Selector{}, map[client.Object]labels.Selector{}
	for obj, by := range options.ByObject {
		labelled[obj] = by.Label
	}
	for obj, by := range unlabelledOptions(cacheOptions(nil)).ByObject {
		unlabelled[obj] = by.Label
	}
	for _, set := range []labels.Set{{}, {"weir.dev/rollout": "web"}} {
		a, b := selectorOf(t, labelled, "Deployment").Matches(set), selectorOf(t, unlabelled, "Deployment").Matches(set)
		if a == b {
			t.Errorf("a Deployment with labels %v is in one of the two caches: got %t and %t", set, a, b)
		}
	}
}
