package istio

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weir-dev/weir/providers/split"
)

// reconciled is the condition in which Istio said how many proxies have an object,
// in versions before 1.23 and only where PILOT_ENABLE_STATUS was set.
const reconciled = "Reconciled"

// errorLevel is that of findings with which an object does not do what it says.
const errorLevel = "Error"

// reported is what Istio may say in the status of an object.
type reported struct {
	ObservedGeneration int64              `json:"observedGeneration"`
	Conditions         []metav1.Condition `json:"conditions"`
	ValidationMessages []struct {
		Type struct {
			Name string `json:"name"`
			Code string `json:"code"`
		} `json:"type"`
		Level string `json:"level"`
	} `json:"validationMessages"`
}

// statusOf reads what Istio says of an object. Nothing is all it says by default,
// and means nothing.
func statusOf(object *unstructured.Unstructured) split.Status {
	status, _ := object.Object["status"].(map[string]any)
	var r reported
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(status, &r); err != nil {
		return split.Status{Message: fmt.Sprintf("VirtualService/%s: its status cannot be read: %v", object.GetName(), err)}
	}
	problem, processed := r.problem(object.GetGeneration())
	if problem == "" {
		return split.Status{Accepted: true, Processed: true}
	}
	return split.Status{Processed: processed, Message: fmt.Sprintf("VirtualService/%s: %s", object.GetName(), problem)}
}

// problem says what Istio has against the object, empty for nothing, and whether
// proxies have it nevertheless.
func (r reported) problem(generation int64) (problem string, processed bool) {
	current := r.ObservedGeneration == 0 || r.ObservedGeneration >= generation
	for _, c := range r.Conditions {
		if c.Type != reconciled {
			continue
		}
		if !current || c.ObservedGeneration != 0 && c.ObservedGeneration < generation {
			return fmt.Sprintf("proxies have not got generation %d yet", generation), false
		}
		if c.Status != metav1.ConditionTrue {
			return fmt.Sprintf("not all proxies have it: %s", c.Message), false
		}
	}
	for _, m := range r.ValidationMessages {
		if current && m.Level == errorLevel {
			return fmt.Sprintf("Istio found %s (%s): see istioctl analyze", m.Type.Name, m.Type.Code), true
		}
	}
	return "", true
}
