package evaluate

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics/promql"
)

// builtin are the placeholders that every template has.
var builtin = []string{"namespace", "workload", "canaryPods", "stablePods"}

// Validate finds what is wrong with a template and can be known without a
// server: queries and selectors that do not parse, placeholders that do not
// exist, numbers that are none. Each error names its field below path.
func Validate(spec v1alpha1.AnalysisTemplateSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	parameters := map[string]bool{}
	for i, p := range spec.Parameters {
		if parameters[p.Name] {
			errs = append(errs, field.Duplicate(path.Child("parameters").Index(i).Child("name"), p.Name))
		}
		parameters[p.Name] = true
	}
	if len(spec.Metrics) == 0 {
		errs = append(errs, field.Required(path.Child("metrics"), "name at least one metric"))
	}
	names := map[string]bool{}
	for i, m := range spec.Metrics {
		at := path.Child("metrics").Index(i)
		if names[m.Name] {
			errs = append(errs, field.Duplicate(at.Child("name"), m.Name))
		}
		names[m.Name] = true
		errs = append(errs, validateMetric(m, spec.Parameters, at)...)
	}
	return errs
}

// ValidateArgs finds what is wrong with the arguments that a Rollout gives to a
// template: missing, unknown, or such that a query no longer parses.
func ValidateArgs(spec v1alpha1.AnalysisTemplateSpec, args map[string]string, path *field.Path) field.ErrorList {
	values, err := arguments(spec.Parameters, args)
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, err.Error())}
	}
	var errs field.ErrorList
	for _, m := range spec.Metrics {
		if m.Condition == nil {
			continue
		}
		if _, err := promql.Expand(m.Condition.Query, withBuiltin(values)); err != nil {
			errs = append(errs, field.Invalid(path, field.OmitValueType{}, fmt.Sprintf("metric %s: %v", m.Name, err)))
		}
	}
	return errs
}

// withBuiltin adds values for the placeholders of every template, as they look
// in a real one.
func withBuiltin(values map[string]string) map[string]string {
	for _, name := range builtin {
		values[name] = "web-1"
	}
	return values
}

// validateMetric checks one metric.
func validateMetric(m v1alpha1.Metric, parameters []v1alpha1.Parameter, at *field.Path) field.ErrorList {
	switch {
	case m.Type == v1alpha1.MetricRatio && m.Ratio != nil && m.Condition == nil:
		return validateRatio(*m.Ratio, at.Child("ratio"))
	case m.Type == v1alpha1.MetricCondition && m.Condition != nil && m.Ratio == nil:
		return validateCondition(*m.Condition, parameters, at.Child("condition"))
	case m.Type != v1alpha1.MetricRatio && m.Type != v1alpha1.MetricCondition:
		return field.ErrorList{field.NotSupported(at.Child("type"), m.Type, []v1alpha1.MetricType{v1alpha1.MetricRatio, v1alpha1.MetricCondition})}
	}
	return field.ErrorList{field.Invalid(at.Child("type"), m.Type, "the metric must have the field of its type, ratio or condition, and not the other")}
}

func validateRatio(m v1alpha1.RatioMetric, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	counted := []struct {
		name string
		text v1alpha1.Selector
	}{{"bad", m.Bad}, {"total", m.Total}}
	switch {
	case m.Signal == "":
	case m.Signal != v1alpha1.SignalRequestErrors:
		errs = append(errs, field.NotSupported(at.Child("signal"), m.Signal, []v1alpha1.Signal{v1alpha1.SignalRequestErrors}))
		counted = nil
	case m.Bad != "" || m.Total != "":
		errs = append(errs, field.Invalid(at.Child("signal"), m.Signal, "it stands for bad and total: give either signal, or bad and total"))
	default:
		counted = nil
	}
	for _, s := range counted {
		if _, err := promql.ParseSelector(string(s.text)); err != nil {
			errs = append(errs, field.Invalid(at.Child(s.name), s.text, err.Error()))
		}
	}
	if _, err := parsePercent(m.MaxRatio); err != nil {
		errs = append(errs, field.Invalid(at.Child("maxRatio"), m.MaxRatio, err.Error()))
	}
	return errs
}

func validateCondition(m v1alpha1.ConditionMetric, parameters []v1alpha1.Parameter, at *field.Path) field.ErrorList {
	errs := validateQuery(m.Query, parameters, at.Child("query"))
	if _, err := parseLimit(m.FailWhen); err != nil {
		errs = append(errs, field.Invalid(at.Child("failWhen"), m.FailWhen.Value, err.Error()))
	}
	if m.Interval != "" {
		if d, err := m.Interval.Parse(); err != nil {
			errs = append(errs, field.Invalid(at.Child("interval"), m.Interval, err.Error()))
		} else if d < minInterval {
			errs = append(errs, field.Invalid(at.Child("interval"), m.Interval, "it must be at least 1s"))
		}
	}
	failAfter, outOf := m.FailAfter, m.OutOf
	if failAfter == 0 {
		failAfter = defaultFailAfter
	}
	if outOf == 0 {
		outOf = defaultOutOf
	}
	if failAfter < 0 || outOf < 0 || failAfter > outOf {
		errs = append(errs, field.Invalid(at.Child("failAfter"), m.FailAfter,
			fmt.Sprintf("it may not be greater than outOf (%d): such a metric could never fail", outOf)))
	}
	return errs
}

// validateQuery checks a query with its placeholders.
func validateQuery(query string, parameters []v1alpha1.Parameter, at *field.Path) field.ErrorList {
	if err := promql.Check(query); err != nil {
		return field.ErrorList{field.Invalid(at, query, err.Error())}
	}
	values := withBuiltin(map[string]string{})
	for _, p := range parameters {
		// Any value will do, but for one that stands in a pattern.
		values["args."+p.Name] = "value"
		if p.Default != nil {
			values["args."+p.Name] = *p.Default
		}
	}
	for _, name := range promql.Placeholders(query) {
		if _, ok := values[name]; ok {
			continue
		}
		remedy := "declare it in parameters"
		if !strings.HasPrefix(name, "args.") {
			remedy = "write {{args.NAME}} for parameters; built in are " + strings.Join(slices.Sorted(slices.Values(builtin)), ", ")
		}
		return field.ErrorList{field.Invalid(at, query, fmt.Sprintf("there is no {{%s}}: %s", name, remedy))}
	}
	if _, err := promql.Expand(query, values); err != nil {
		return field.ErrorList{field.Invalid(at, query, err.Error())}
	}
	return nil
}
