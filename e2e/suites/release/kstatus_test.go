package release

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// kstatusOf is what kstatus's library makes of a Rollout.
func kstatusOf(t *testing.T, r *v1alpha1.Rollout) kstatus.Status {
	t.Helper()
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(r)
	must(t, err)
	u := &unstructured.Unstructured{Object: object}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
	result, err := kstatus.Compute(u)
	must(t, err)
	return result.Status
}
