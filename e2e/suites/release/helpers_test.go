package release

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// withBody is the body of a subresource's update.
func withBody(body client.Object) client.SubResourceUpdateOption {
	return client.WithSubResourceBody(body)
}

// key names an object of the shop's namespace.
func (s *scene) key(name string) client.ObjectKey {
	return client.ObjectKey{Namespace: s.Namespace, Name: name}
}

// readiness is what the Ready condition says.
func readiness(r *v1alpha1.Rollout) (reason, message string) {
	if ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason, ready.Message
	}
	return "", ""
}

// errorUnless is nil when ok, else what was seen instead.
func errorUnless(ok bool, text string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf(text, args...)
}

// errorOf joins what was seen and why it could not be.
func errorOf(seen string, err error) error {
	return errors.Join(errors.New(seen), err)
}
