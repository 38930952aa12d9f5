package istio

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/providers/split"
)

// reconciled is the condition in which Istio said how many proxies have an object,
// in versions before 1.23 and only where PILOT_ENABLE_STATUS was set.
const reconciled = "Reconciled"

// errorLevel is that of findings with which an object does not do what it says.
const errorLevel = "ERROR"

// reported is what Istio may say in the status of an object. It writes numbers as
// text, as protocol buffers have large ones in JSON.
type reported struct {
	ObservedGeneration intstr.IntOrString `json:"observedGeneration"`
	Conditions         []struct {
		Type               string             `json:"type"`
		Status             string             `json:"status"`
		Message            string             `json:"message"`
		ObservedGeneration intstr.IntOrString `json:"observedGeneration"`
	} `json:"conditions"`
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
	current := covers(r.ObservedGeneration, generation)
	for _, c := range r.Conditions {
		if c.Type != reconciled {
			continue
		}
		if !current || !covers(c.ObservedGeneration, generation) {
			return fmt.Sprintf("proxies have not got generation %d yet", generation), false
		}
		if c.Status != string(metav1.ConditionTrue) {
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

// covers is true when what was observed is the generation, or no older one, or when
// nothing is said of what was.
func covers(observed intstr.IntOrString, generation int64) bool {
	n := int64(observed.IntValue())
	return n == 0 || n >= generation
}
