package decide

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// impliedHold is how long a step without any gate is held when there is no
// analysis either: an empty step must not be a step that does nothing.
const impliedHold = 5 * time.Minute

// step is one step in effect: as written, of the default ramp, or appended.
type step struct {
	name     string
	weight   int32
	replicas *intstr.IntOrString
	extras   *v1alpha1.Extras
	gates    *v1alpha1.Gates
	// appended says that nobody wrote this step: it is only the way to promotion.
	appended bool
}

// plan is the list of steps in effect. It is computed on demand, since most
// passes need one step of it.
type plan struct {
	steps  []v1alpha1.Step
	routed bool
	// append says that a last step of full exposure has to be added.
	append bool
}

// planOf gives the steps in effect.
func planOf(spec *v1alpha1.RolloutSpec, routed bool) plan {
	p := plan{steps: spec.Steps, routed: routed}
	if n := len(spec.Steps); n > 0 {
		p.append = !p.at(int32(n - 1)).isFull(routed)
	}
	return p
}

// isFull says whether a step is written to bring the canary to all of the
// traffic, or without routes to the full number of pods.
func (s step) isFull(routed bool) bool {
	return s.weight == v1alpha1.FullWeight ||
		!routed && s.replicas != nil && s.replicas.Type == intstr.String && s.replicas.StrVal == "100%"
}

// count is the number of steps in effect, at least one.
func (p plan) count() int32 {
	switch {
	case len(p.steps) == 0:
		return rampLength
	case p.append:
		return int32(len(p.steps)) + 1
	default:
		return int32(len(p.steps))
	}
}

// rampLength is the number of steps of a Rollout that names none.
const rampLength = 5

// rampWeights are the steps of a Rollout that names none.
func rampWeights() [rampLength]int32 {
	return [rampLength]int32{100, 500, 2500, 5000, v1alpha1.FullWeight}
}

// at gives step i. An index beyond the end is the last step: steps may have
// been taken away by an edit.
func (p plan) at(i int32) step {
	if len(p.steps) == 0 {
		ramp := rampWeights()
		return step{weight: ramp[min(max(i, 0), rampLength-1)]}
	}
	i = min(max(i, 0), p.count()-1)
	if int(i) == len(p.steps) {
		full := intstr.FromString("100%")
		return step{weight: v1alpha1.FullWeight, replicas: &full, appended: true}
	}
	s := &p.steps[i]
	w, _ := v1alpha1.ParseWeight(s.Weight)
	return step{name: s.Name, weight: w, replicas: s.Replicas, extras: &s.Extras, gates: s.Gates}
}

// WeightBefore is the highest weight below another one in the steps in effect, 0 where
// there is none.
func WeightBefore(spec *v1alpha1.RolloutSpec, weight int32) int32 {
	p, before := planOf(spec, true), int32(0)
	for i := range p.count() {
		if w := p.at(i).weight; w < weight {
			before = max(before, w)
		}
	}
	return before
}

// floor is the least size that a step asks for, out of n.
func (s step) floor(n int32) int32 {
	if s.replicas == nil {
		return 0
	}
	if s.replicas.Type == intstr.Int {
		return min(max(s.replicas.IntVal, 0), n)
	}
	percent, err := strconv.Atoi(strings.TrimSuffix(s.replicas.StrVal, "%"))
	if err != nil {
		return 0
	}
	return min(ceilDiv(int64(percent)*int64(n), 100), n)
}

// exposure is the weight that a step allows. Without routes the share of the
// traffic is the share of the pods, so a number of pods is a weight as well; a
// full number of pods is the full weight.
func (s step) exposure(n int32, routed bool) int32 {
	if routed {
		return s.weight
	}
	floor := s.floor(n)
	if n > 0 && floor >= n {
		return v1alpha1.FullWeight
	}
	return max(s.weight, ceilDiv(int64(floor)*int64(v1alpha1.FullWeight), int64(n)+int64(floor)))
}

// exposes says whether a step lets the canary meet any request.
func (s step) exposes(n int32, routed bool) bool {
	return s.exposure(n, routed) > 0 || s.extras.ID() != ""
}

// sizeFor is the size that a weight needs out of n replicas: with routes that
// share of them, without routes as many as make that share of all pods.
func sizeFor(weight, n int32, routed bool) int32 {
	full := v1alpha1.FullWeight
	switch {
	case weight <= 0 || n <= 0:
		return 0
	case routed:
		return ceilDiv(int64(weight)*int64(n), int64(full))
	case 2*weight >= full:
		return n
	default:
		return max(1, int32(int64(weight)*int64(n)/int64(full-weight)))
	}
}

// extrasSize is the size that the step's extras need out of n replicas: with a
// mirror its share, with matches, whose share nobody knows, one pod at least.
func (s step) extrasSize(n int32) int32 {
	switch {
	case s.extras == nil || n <= 0:
		return 0
	case s.extras.Mirror != nil:
		return max(1, sizeFor(s.extras.Mirror.Weight*v1alpha1.FullWeight/100, n, true))
	case len(s.extras.Matches) > 0:
		return 1
	default:
		return 0
	}
}

// size is the size of the canary in a step, of which weight is allowed.
func (s step) size(weight, n int32, routed bool) int32 {
	if routed {
		return max(sizeFor(weight, n, true), s.floor(n), s.extrasSize(n))
	}
	wanted := max(sizeFor(s.weight, n, false), s.floor(n))
	return min(wanted, sizeFor(weight, n, false))
}

// ceilDiv divides a, which is not negative, by b and rounds up. By nothing it
// is nothing.
func ceilDiv(a, b int64) int32 {
	if b <= 0 {
		return 0
	}
	return int32(min((a+b-1)/b, math.MaxInt32))
}

// locate finds the step at which a release goes on after its steps were edited.
// Its place is the step of the same name; else the one at the same exposure, the
// same index first; else the same index. Where that exposes more than is allowed
// now, it goes on at the first step that does, so that none is left out. It
// never depends on what the old steps were.
func (p plan) locate(name string, index, weight, n int32) int32 {
	index = min(max(index, 0), p.count()-1)
	place := p.same(name, index, weight)
	if p.at(place).exposure(n, p.routed) <= weight {
		return place
	}
	first := int32(0)
	if !p.routed {
		// Without routes a number of pods exposes more when the workload shrinks:
		// that is no reason to go back.
		first = min(index, place)
	}
	for i := first; i < place; i++ {
		if p.at(i).exposure(n, p.routed) > weight {
			return i
		}
	}
	return place
}

// same finds the step that is most likely the one that the release was at.
func (p plan) same(name string, index, weight int32) int32 {
	for i := range p.count() {
		if name != "" && p.at(i).name == name {
			return i
		}
	}
	if !p.routed || p.at(index).weight == weight {
		return index
	}
	for i := range p.count() {
		if p.at(i).weight == weight {
			return i
		}
	}
	return index
}

// check finds what the schema cannot: steps whose exposure goes down.
func (p plan) check() (Problem, bool) {
	for i := 1; i < len(p.steps); i++ {
		before, s := p.at(int32(i-1)), p.at(int32(i))
		if s.weight < before.weight {
			return Problem{
				Reason: v1alpha1.ReasonInvalidSpec,
				Field:  fmt.Sprintf("spec.steps[%d].weight", i),
				Message: fmt.Sprintf("spec.steps[%d].weight is %s after %s: weights may not go down, so repeat the weight that you want to keep",
					i, v1alpha1.FormatWeight(s.weight), v1alpha1.FormatWeight(before.weight)),
			}, true
		}
		if !p.routed && comparable(before.replicas, s.replicas) && s.floor(100) < before.floor(100) {
			return Problem{
				Reason: v1alpha1.ReasonInvalidSpec,
				Field:  fmt.Sprintf("spec.steps[%d].replicas", i),
				Message: fmt.Sprintf("spec.steps[%d].replicas is %s after %s: without routes the number of pods is the exposure, which may not go down",
					i, s.replicas.String(), before.replicas.String()),
			}, true
		}
	}
	return Problem{}, false
}

// comparable says whether two sizes are of one unit.
func comparable(a, b *intstr.IntOrString) bool {
	return a != nil && b != nil && a.Type == b.Type
}
