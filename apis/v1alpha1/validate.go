package v1alpha1

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// ValidateSpec finds what is wrong with the spec of a Rollout and cannot be said
// in its schema. It is what the controller reports as InvalidSpec and what
// `weir lint` says offline. Everything that depends on other objects is the
// controller's alone.
func ValidateSpec(spec *RolloutSpec) field.ErrorList {
	path := field.NewPath("spec", "steps")
	var (
		errs  field.ErrorList
		above int32
	)
	for i := range spec.Steps {
		step := &spec.Steps[i]
		weight, err := ParseWeight(step.Weight)
		if err != nil {
			errs = append(errs, field.Invalid(path.Index(i).Child("weight"), step.Weight.String(), err.Error()))
			continue
		}
		// CEL orders whole percents; two weights below one percent are ordered here.
		if weight < above {
			errs = append(errs, field.Invalid(path.Index(i).Child("weight"), FormatWeight(weight),
				"weights may not go down: the step before has "+FormatWeight(above)))
		}
		above = weight
		errs = append(errs, validateGates(step.Gates, path.Index(i).Child("gates"))...)
	}
	return errs
}

// validateGates finds durations that the grammar admits and that mean nothing.
func validateGates(gates *Gates, path *field.Path) field.ErrorList {
	if gates == nil {
		return nil
	}
	var errs field.ErrorList
	check := func(d Duration, path *field.Path) {
		if d == "" {
			return
		}
		if _, err := d.Parse(); err != nil {
			errs = append(errs, field.Invalid(path, string(d), err.Error()))
		}
	}
	check(gates.Hold, path.Child("hold"))
	if gates.Analysis != nil {
		check(gates.Analysis.Timeout, path.Child("analysis", "timeout"))
	}
	for i := range gates.Approvals {
		check(gates.Approvals[i].Timeout, path.Child("approvals").Index(i).Child("timeout"))
	}
	return errs
}
