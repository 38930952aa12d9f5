package workload

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// HashLabel is the label by which pods of one revision are told from those of
// another. Its value is the revision.
const HashLabel = appsv1.DefaultDeploymentUniqueLabelKey

// revisionLength is the length of a revision of Weir's making: the prefix and
// nine hex digits, 36 bits, which only have to differ within one workload.
const revisionLength = 10

// revisionPrefix sets Weir's revisions apart: the Deployment controller spells
// its hashes with the letters bcdf and the digits 4 to 9 only. Were the two
// alike, the controller would take the canary's name for a collision and make a
// second ReplicaSet.
const revisionPrefix = "w"

// template is a pod template as the API server wrote it. It stays unstructured
// from end to end: a field that this client library does not know yet must
// reach the canary's pods like any other, and a canary whose template lacks one
// would be rolled over by the Deployment after the handover.
type template map[string]any

// templateOf gives the pod template of a Deployment or ReplicaSet.
func templateOf(obj *unstructured.Unstructured) (template, error) {
	t, ok, err := unstructured.NestedMap(obj.Object, "spec", "template")
	if err != nil || !ok {
		return nil, fmt.Errorf("cannot read spec.template of %s %q", obj.GetKind(), obj.GetName())
	}
	return t, nil
}

// digest is equal for two templates exactly if they are equal to the Deployment
// controller: in everything but the hash label. That controller compares
// semantically, where an absent list is an empty one; the API server leaves
// both out in most places, and digest in all. An empty object stays: a
// container's securityContext {} is not the same as none.
func (t template) digest() (string, error) {
	canonical, _ := normalize(map[string]any(t)).(map[string]any)
	if meta, ok := canonical["metadata"].(map[string]any); ok {
		if labels, ok := meta["labels"].(map[string]any); ok {
			delete(labels, HashLabel)
		}
	}
	raw, err := json.Marshal(canonical) // keys are sorted
	if err != nil {
		return "", fmt.Errorf("cannot hash a pod template: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:16]), nil
}

// withHash is a copy of the template whose pods carry the revision.
func (t template) withHash(revision string) template {
	out := template((&unstructured.Unstructured{Object: t}).DeepCopy().Object)
	_ = unstructured.SetNestedField(out, revision, "metadata", "labels", HashLabel)
	return out
}

// withoutHash is a copy of the template without the hash label, as a Deployment
// has it.
func (t template) withoutHash() template {
	out := template((&unstructured.Unstructured{Object: t}).DeepCopy().Object)
	unstructured.RemoveNestedField(out, "metadata", "labels", HashLabel)
	return out
}

// equalAsKnown compares two templates in all fields that this client library
// knows, but for the hash label.
func equalAsKnown(a, b *corev1.PodTemplateSpec) bool {
	left, right := *a, *b
	left.Labels, right.Labels = without(a.Labels, HashLabel), without(b.Labels, HashLabel)
	return equality.Semantic.DeepEqual(left, right)
}

// normalize copies a JSON value without nulls and empty lists.
func normalize(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, value := range v {
			if n := normalize(value); n != nil {
				out[key] = n
			}
		}
		return out
	case []any:
		if len(v) == 0 {
			return nil
		}
		out := make([]any, len(v))
		for i, value := range v {
			out[i] = normalize(value)
		}
		return out
	default:
		return v
	}
}

// revisionOfDigest is the revision that Weir gives to a template.
func revisionOfDigest(digest string) string {
	return revisionPrefix + digest[:revisionLength-len(revisionPrefix)]
}
