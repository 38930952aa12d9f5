package gatewayapi

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// coreGroup is how some implementations write the empty group in status.
const coreGroup = "core"

// report is what the parents of a route say of it.
type report struct {
	object *unstructured.Unstructured
	spec   gatewayv1.CommonRouteSpec
	status gatewayv1.RouteStatus
	// gone are the parents that are known not to exist.
	gone []parentKey
	// inCharge are the controllers of those parents of which it was looked for.
	inCharge map[parentKey]gatewayv1.GatewayController
}

// newReport reads what an object's parents say. Where that cannot be read, the
// report is empty.
func newReport(object *unstructured.Unstructured) (*report, error) {
	r := &report{object: object}
	var route struct {
		Spec   gatewayv1.CommonRouteSpec `json:"spec"`
		Status gatewayv1.RouteStatus     `json:"status"`
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &route); err != nil {
		return r, fmt.Errorf("its status cannot be read: %w", err)
	}
	r.spec, r.status = route.Spec, route.Status
	return r, nil
}

// String is Kind/name of the route.
func (r *report) String() string { return r.object.GetKind() + "/" + r.object.GetName() }

// accepted tells whether every parent has taken the route as it is now, and if
// not, which has not and why.
func (r *report) accepted() (bool, string) {
	for _, parent := range r.spec.ParentRefs {
		if slices.Contains(r.gone, r.parentKey(parent)) {
			return false, fmt.Sprintf("%s: %s: does not exist", r, r.parentName(parent))
		}
		if problem := r.parentAccepted(parent); problem != "" {
			return false, fmt.Sprintf("%s: %s: %s", r, r.parentName(parent), problem)
		}
	}
	if len(r.spec.ParentRefs) == 0 {
		return false, fmt.Sprintf("%s: has no parentRefs", r)
	}
	return true, ""
}

// processed tells whether every parent has reported on the route as it is now,
// whatever it says, or does not exist.
func (r *report) processed() bool {
	for _, parent := range r.spec.ParentRefs {
		if !r.parentProcessed(parent) && !slices.Contains(r.gone, r.parentKey(parent)) {
			return false
		}
	}
	return true
}

// answersOf are the reports on one parent. Several controllers may answer for
// it, as two meshes for a Service. Where it is known whose the parent is, only
// theirs counts, even where all agree: what is left of a former controller may be
// on this generation.
//
// A report on an older generation beside another controller's on this one is
// either what a controller that is gone has left, or that of one that is slow. The
// two look the same, so nothing is concluded from that: to take the slow one for
// gone would delete a canary that it still sends requests to. Without the
// knowledge all must agree, and the message names who does not.
func (r *report) answersOf(parent gatewayv1.ParentReference) []gatewayv1.RouteParentStatus {
	key := r.parentKey(parent)
	inCharge, known := r.inCharge[key]
	var out []gatewayv1.RouteParentStatus
	for _, s := range r.status.Parents {
		if r.parentKey(s.ParentRef) == key && (!known || s.ControllerName == inCharge) {
			out = append(out, s)
		}
	}
	return out
}

// carriers are the controllers of all parents, sorted; none while a parent has not
// reported, nor while it is known not to exist.
func (r *report) carriers() []string {
	names := map[string]bool{}
	for _, parent := range r.spec.ParentRefs {
		answers := r.answersOf(parent)
		if len(answers) == 0 {
			return nil
		}
		for _, a := range answers {
			names[string(a.ControllerName)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// several tells whether reports are of more than one controller.
func several(answers []gatewayv1.RouteParentStatus) bool {
	return slices.ContainsFunc(answers, func(s gatewayv1.RouteParentStatus) bool {
		return s.ControllerName != answers[0].ControllerName
	})
}

// awaited are the conditions in which a parent answers.
func awaited() []string {
	return []string{string(gatewayv1.RouteConditionAccepted), string(gatewayv1.RouteConditionResolvedRefs)}
}

// parentProcessed tells whether one parent has reported on the route as it is
// now.
func (r *report) parentProcessed(parent gatewayv1.ParentReference) bool {
	answers := r.answersOf(parent)
	for _, s := range answers {
		for _, kind := range awaited() {
			if c := meta.FindStatusCondition(s.Conditions, kind); c == nil || !r.current(c) {
				return false
			}
		}
	}
	return len(answers) > 0
}

// parentAccepted says what keeps one parent from carrying the route as it is
// now; nothing if nothing does. All who answer for it must agree. Of several the
// one that does not is named: if it is gone, nobody else takes its report away.
func (r *report) parentAccepted(parent gatewayv1.ParentReference) string {
	answers := r.answersOf(parent)
	for _, s := range answers {
		problem := r.answerAccepted(s)
		if problem != "" && several(answers) {
			return fmt.Sprintf("%s: %s (others answer for it, too: if this controller is gone, take its entry out of status.parents)", s.ControllerName, problem)
		}
		if problem != "" {
			return problem
		}
	}
	if len(answers) == 0 {
		return "has not reported on the route yet"
	}
	return ""
}

// answerAccepted says what is missing in one report on a parent.
func (r *report) answerAccepted(s gatewayv1.RouteParentStatus) string {
	for _, kind := range awaited() {
		if problem := r.holds(s.Conditions, kind); problem != "" {
			return problem
		}
	}
	partly := meta.FindStatusCondition(s.Conditions, string(gatewayv1.RouteConditionPartiallyInvalid))
	if partly != nil && partly.Status == metav1.ConditionTrue && r.current(partly) {
		return fmt.Sprintf("serves the route in part only: %s: %s", partly.Reason, partly.Message)
	}
	return ""
}

// holds says what keeps a condition from being true of the route as it is now.
func (r *report) holds(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	switch {
	case c == nil:
		return "has not reported " + kind + " yet"
	case !r.current(c):
		return fmt.Sprintf("has reported on generation %d, not yet on %d", c.ObservedGeneration, r.object.GetGeneration())
	case c.Status != metav1.ConditionTrue:
		return fmt.Sprintf("%s is %s: %s: %s", kind, c.Status, c.Reason, c.Message)
	}
	return ""
}

// current is true when the condition is about the route as it is now. The API
// demands observedGeneration, yet some implementations never set it; of theirs
// no more can be known than what they say.
func (r *report) current(c *metav1.Condition) bool {
	return c.ObservedGeneration == 0 || c.ObservedGeneration >= r.object.GetGeneration()
}

// parentKey identifies a parent after the API's defaults.
type parentKey struct {
	group, kind, namespace, name, section string
	port                                  int32
}

// parentKey of a reference in this route.
func (r *report) parentKey(p gatewayv1.ParentReference) parentKey {
	k := parentKey{
		group:     gatewayv1.GroupName,
		kind:      "Gateway",
		namespace: r.object.GetNamespace(),
		name:      string(p.Name),
	}
	if p.Group != nil {
		k.group = string(*p.Group)
	}
	if k.group == coreGroup {
		k.group = ""
	}
	if p.Kind != nil {
		k.kind = string(*p.Kind)
	}
	if p.Namespace != nil {
		k.namespace = cmp.Or(string(*p.Namespace), k.namespace)
	}
	if p.SectionName != nil {
		k.section = string(*p.SectionName)
	}
	if p.Port != nil {
		k.port = *p.Port
	}
	return k
}

// parentName for messages: Kind/name, with its namespace where that differs.
func (r *report) parentName(p gatewayv1.ParentReference) string {
	k := r.parentKey(p)
	if k.namespace != r.object.GetNamespace() {
		return fmt.Sprintf("%s/%s in namespace %s", k.kind, k.name, k.namespace)
	}
	return k.kind + "/" + k.name
}
