package controller

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/workload"
)

// deploymentKind is the kind of the workload.
const deploymentKind = "Deployment"

// lastApplied is kubectl's copy of a whole object in one of its annotations.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// emptyDeployment is unstructured: see workload.StripDeployment.
func emptyDeployment() *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(deploymentKind))
	return u
}

// cacheOptions say what the informers hold: what tells an idle Rollout from one
// with work to do, in as few bytes as that takes. Everything else is read when
// it is needed.
func cacheOptions(namespaces []string) cache.Options {
	labelled := requirement(v1alpha1.RolloutLabel, selection.Exists)
	options := cache.Options{
		DefaultTransform: slim,
		ByObject: map[client.Object]cache.ByObject{
			emptyDeployment():    {Label: labelled, Transform: workload.StripDeployment},
			&appsv1.ReplicaSet{}: {Transform: slimReplicaSet},
			// Only those that take part in a release. EndpointSlices have the
			// labels of their Services.
			&corev1.Service{}:            {Label: labelled},
			&discoveryv1.EndpointSlice{}: {Label: labelled},
		},
	}
	if len(namespaces) > 0 {
		options.DefaultNamespaces = map[string]cache.Config{}
		for _, namespace := range namespaces {
			options.DefaultNamespaces[namespace] = cache.Config{}
		}
	}
	return options
}

// unlabelledOptions are for the watch that sees a Deployment which a Rollout
// waits for, before it has the label: names, and nothing else.
func unlabelledOptions(options cache.Options) cache.Options {
	options.DefaultTransform = nameOnly
	options.ByObject = map[client.Object]cache.ByObject{
		emptyDeployment(): {Label: requirement(v1alpha1.RolloutLabel, selection.DoesNotExist), Transform: nameOnly},
	}
	return options
}

// requirement is a selector of one requirement about the existence of a label.
func requirement(label string, operator selection.Operator) labels.Selector {
	r, err := labels.NewRequirement(label, operator, nil)
	if err != nil {
		panic(err) // A constant is wrong.
	}
	return labels.NewSelector().Add(*r)
}

// slim takes off what no decision rests on.
func slim(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		if !slices.Contains(routeGroups(), o.GetObjectKind().GroupVersionKind().Group) {
			// Of a route they tell who has rewritten its weights.
			o.SetManagedFields(nil)
		}
		if annotations := o.GetAnnotations(); annotations[lastApplied] != "" {
			delete(annotations, lastApplied)
			o.SetAnnotations(annotations)
		}
	}
	return obj, nil
}

// slimReplicaSet keeps of a ReplicaSet without pods no more than its name, not
// even its owner. Such sets are history, and most of the ReplicaSets of a
// cluster; what there is to decide about one is decided on live reads.
func slimReplicaSet(obj any) (any, error) {
	full, ok := obj.(*appsv1.ReplicaSet)
	if !ok {
		return nil, fmt.Errorf("cannot strip a %T: the cache of ReplicaSets must be typed", obj)
	}
	if ptr.Deref(full.Spec.Replicas, 1) != 0 || full.Status.Replicas != 0 {
		kept, err := workload.StripReplicaSet(full)
		if err != nil {
			return nil, fmt.Errorf("cannot strip a ReplicaSet for the cache: %w", err)
		}
		return kept, nil
	}
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{
		Namespace: full.Namespace, Name: full.Name, UID: full.UID, ResourceVersion: full.ResourceVersion,
	}}, nil
}

// nameOnly keeps what names an object and orders its versions.
func nameOnly(obj any) (any, error) {
	full, ok := obj.(*metav1.PartialObjectMetadata)
	if !ok {
		return nil, fmt.Errorf("cannot strip a %T: the cache of unlabelled Deployments must be of metadata", obj)
	}
	return &metav1.PartialObjectMetadata{
		TypeMeta: full.TypeMeta,
		ObjectMeta: metav1.ObjectMeta{
			Namespace: full.Namespace, Name: full.Name, UID: full.UID, ResourceVersion: full.ResourceVersion,
		},
	}, nil
}
