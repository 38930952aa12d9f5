package evaluate

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// parsePercent reads a percentage such as "0.5%" as a share.
func parsePercent(text string) (float64, error) {
	digits, ok := strings.CutSuffix(text, "%")
	value, err := strconv.ParseFloat(digits, 64)
	if !ok || err != nil || !(value >= 0 && value <= 100) {
		return 0, fmt.Errorf("%q is not a percentage from 0%% to 100%%, such as \"0.5%%\"", text)
	}
	return value / 100, nil
}

// limit of a condition: the values that are bad.
type limit struct {
	operator v1alpha1.Operator
	value    float64
	text     string
}

// parseLimit reads a limit.
func parseLimit(l v1alpha1.Limit) (limit, error) {
	value, err := strconv.ParseFloat(l.Value, 64)
	if err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		return limit{}, fmt.Errorf("value: %q is not a decimal number such as \"0.5\"", l.Value)
	}
	if _, ok := signs[l.Operator]; !ok {
		return limit{}, fmt.Errorf("operator: %q is none of LessThan, LessThanOrEqual, GreaterThan, GreaterThanOrEqual", l.Operator)
	}
	return limit{operator: l.Operator, value: value, text: l.Value}, nil
}

// signs of the operators.
var signs = map[v1alpha1.Operator]string{
	v1alpha1.LessThan: "<", v1alpha1.LessThanOrEqual: "<=",
	v1alpha1.GreaterThan: ">", v1alpha1.GreaterThanOrEqual: ">=",
}

// bad tells whether a value is bad.
func (l limit) bad(value float64) bool {
	switch l.operator {
	case v1alpha1.LessThan:
		return value < l.value
	case v1alpha1.LessThanOrEqual:
		return value <= l.value
	case v1alpha1.GreaterThan:
		return value > l.value
	default:
		return value >= l.value
	}
}

// String is the limit as people write it: "> 0.5".
func (l limit) String() string { return signs[l.operator] + " " + l.text }

// arguments are the values of parameters by the name of their placeholder: what
// was given, or the default.
func arguments(parameters []v1alpha1.Parameter, given map[string]string) (map[string]string, error) {
	values := map[string]string{}
	for _, p := range parameters {
		value, ok := given[p.Name]
		switch {
		case ok:
		case p.Default != nil:
			value = *p.Default
		default:
			return nil, fmt.Errorf("parameter %s needs a value: give it in args, or a default in the template", p.Name)
		}
		values["args."+p.Name] = value
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if _, ok := values["args."+name]; !ok {
			return nil, fmt.Errorf("args has %s, which is no parameter of the template", name)
		}
	}
	return values, nil
}
