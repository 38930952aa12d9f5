package chart

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// The policies whose effect can be seen in a dry run without any other object.
const (
	vetoPolicy = "weir-veto"
	pinPolicy  = "weir-pin"
)

// rank puts bindings behind everything, and those of vetoPolicy and pinPolicy
// behind all others.
func rank(object *unstructured.Unstructured) int {
	switch object.GetKind() {
	case "MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding":
	default:
		return 0
	}
	switch object.GetName() {
	case vetoPolicy, pinPolicy:
		return 2
	default:
		return 1
	}
}

// awaitPolicies returns when the policies among the objects are in force: the
// API server takes up to a second to notice them.
func awaitPolicies(ctx context.Context, c client.Client, objects []*unstructured.Unstructured) error {
	err := poll(ctx, "the validating policies to be in force", func(ctx context.Context) (bool, error) {
		return vetoInForce(ctx, c)
	})
	if err != nil || !renders(objects, "MutatingAdmissionPolicy") {
		return err
	}
	return poll(ctx, "the mutating policies to be in force", func(ctx context.Context) (bool, error) {
		return pinInForce(ctx, c)
	})
}

func renders(objects []*unstructured.Unstructured, kind string) bool {
	for _, object := range objects {
		if object.GetKind() == kind {
			return true
		}
	}
	return false
}

// vetoInForce asks whether a ReplicaSet in a handover is refused.
func vetoInForce(ctx context.Context, c client.Client) (bool, error) {
	labels := map[string]string{"app": "probe"}
	probe := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:   metav1.NamespaceDefault,
			Name:        "weir-probe",
			Annotations: map[string]string{v1alpha1.HandoverAnnotation: "probe"},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32),
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
			},
		},
	}
	err := c.Create(ctx, probe, client.DryRunAll)
	if apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("cannot try a ReplicaSet: %w", err)
	}
	return false, nil
}

// pinInForce asks whether a pin that Weir did not set is taken out.
func pinInForce(ctx context.Context, c client.Client) (bool, error) {
	probe := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: metav1.NamespaceDefault,
			Name:      "weir-probe",
			Labels:    map[string]string{v1alpha1.PinLabel: "probe"},
		},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "probe"},
			Ports:    []corev1.ServicePort{{Port: 80}},
		},
	}
	if err := c.Create(ctx, probe, client.DryRunAll); err != nil {
		return false, fmt.Errorf("cannot try a Service: %w", err)
	}
	_, pinned := probe.Labels[v1alpha1.PinLabel]
	return !pinned, nil
}
