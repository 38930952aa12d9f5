package workload

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/lru"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// digestAnnotation, on the cached copy of an object and nowhere else, stands
// for its pod template.
const digestAnnotation = "weir.dev/template-digest"

// OwnerIndex is the name of the cache index of ReplicaSets by the UID of each
// owner. Register it with IndexOwners for ReplicaSets.
const OwnerIndex = "metadata.ownerReferences.uid"

// IndexOwners gives the UIDs of an object's owners.
func IndexOwners(obj client.Object) []string {
	owners := obj.GetOwnerReferences()
	uids := make([]string, 0, len(owners))
	for _, owner := range owners {
		uids = append(uids, string(owner.UID))
	}
	return uids
}

// kept are the fields of spec and status of a Deployment that the cache holds.
var kept = map[string][]string{
	"spec":   {"paused", "replicas", "selector", "strategy", "revisionHistoryLimit", "minReadySeconds"},
	"status": {"observedGeneration", "replicas"},
}

// StripDeployment is the cache transform for Deployments. It keeps what decisions
// on cached reads need, a tenth of the object, and puts a digest in the place of
// the pod template.
//
// The informer must be of unstructured objects. Decoding into the typed structs
// first would lose fields that are younger than this client library, and a new
// template that differs from the old one in such a field alone would look the
// same.
func StripDeployment(obj any) (any, error) {
	full, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("cannot strip a %T: the cache of Deployments must be unstructured", obj)
	}
	if _, done := full.GetAnnotations()[digestAnnotation]; done {
		return full, nil
	}
	t, err := templateOf(full)
	if err != nil {
		return nil, err
	}
	digest, err := t.digest()
	if err != nil {
		return nil, err
	}
	slim := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": full.GetAPIVersion(),
		"kind":       full.GetKind(),
	}}
	stripMetadata(slim, full, digest)
	for part, fields := range kept {
		for _, field := range fields {
			if v, ok, _ := unstructured.NestedFieldNoCopy(full.Object, part, field); ok {
				if err := unstructured.SetNestedField(slim.Object, v, part, field); err != nil {
					return nil, fmt.Errorf("cannot strip %s.%s of %s %q: %w", part, field, full.GetKind(), full.GetName(), err)
				}
			}
		}
	}
	return slim, nil
}

// StripReplicaSet is the cache transform for ReplicaSets that have pods. These
// change with every pod, so they are typed, which the API server can send in its
// compact encoding. The digest is of the template as far as this client library
// knows it: see digestOf for what that is good for.
func StripReplicaSet(rs *appsv1.ReplicaSet) (*appsv1.ReplicaSet, error) {
	if _, done := rs.Annotations[digestAnnotation]; done {
		return rs, nil
	}
	digest, err := knownDigest(rs)
	if err != nil {
		return nil, err
	}
	slim := &appsv1.ReplicaSet{
		Spec: appsv1.ReplicaSetSpec{Replicas: rs.Spec.Replicas},
		Status: appsv1.ReplicaSetStatus{
			ObservedGeneration: rs.Status.ObservedGeneration,
			Replicas:           rs.Status.Replicas,
			AvailableReplicas:  rs.Status.AvailableReplicas,
		},
	}
	stripMetadata(slim, rs, digest)
	return slim, nil
}

// knownDigests remembers what knownDigest has found: a ReplicaSet comes with
// every change of its pods, and its template does not change with them.
var knownDigests = lru.New(maxDigests)

// knownDigest is the digest of the template of a ReplicaSet as far as this client
// library knows it.
func knownDigest(rs *appsv1.ReplicaSet) (string, error) {
	key := digestKey{rs.UID, rs.Generation}
	if v, ok := knownDigests.Get(key); ok {
		return v.(string), nil
	}
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&rs.Spec.Template)
	if err != nil {
		return "", fmt.Errorf("cannot render spec.template of ReplicaSet %q: %w", rs.Name, err)
	}
	digest, err := template(raw).digest()
	if err == nil {
		knownDigests.Add(key, digest)
	}
	return digest, err
}

// stripMetadata copies identity, ownership and Weir's own marks.
func stripMetadata(slim, full client.Object, digest string) {
	slim.SetName(full.GetName())
	slim.SetNamespace(full.GetNamespace())
	slim.SetUID(full.GetUID())
	slim.SetResourceVersion(full.GetResourceVersion())
	slim.SetGeneration(full.GetGeneration())
	slim.SetCreationTimestamp(full.GetCreationTimestamp())
	slim.SetDeletionTimestamp(full.GetDeletionTimestamp())
	slim.SetOwnerReferences(full.GetOwnerReferences())
	slim.SetLabels(pick(full.GetLabels(), v1alpha1.RolloutLabel, v1alpha1.ManagedLabel, HashLabel))
	annotations := pick(full.GetAnnotations(), v1alpha1.SeqAnnotation, v1alpha1.HandoverAnnotation,
		v1alpha1.ChangeAuthorAnnotation, v1alpha1.ChangedByAnnotation, v1alpha1.ChangeRefAnnotation, revisionAnnotation)
	annotations[digestAnnotation] = digest
	slim.SetAnnotations(annotations)
}

// pick copies the entries of the given keys.
func pick(from map[string]string, keys ...string) map[string]string {
	out := make(map[string]string, len(keys))
	for _, key := range keys {
		if v, ok := from[key]; ok {
			out[key] = v
		}
	}
	return out
}
