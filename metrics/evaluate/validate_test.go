package evaluate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestValidate(t *testing.T) {
	with := func(change func(*v1alpha1.AnalysisTemplateSpec)) v1alpha1.AnalysisTemplateSpec {
		spec := v1alpha1.AnalysisTemplateSpec{
			Parameters: []v1alpha1.Parameter{{Name: "route"}},
			Metrics:    []v1alpha1.Metric{errorRate("1%"), latency()},
		}
		change(&spec)
		return spec
	}
	query := func(q string) v1alpha1.AnalysisTemplateSpec {
		return with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.Query = q })
	}
	pattern := "("
	cases := map[string]struct {
		reason string
		spec   v1alpha1.AnalysisTemplateSpec
		// want are pairs of a field and a part of its error.
		want []string
	}{
		"Good":         {reason: "a good template", spec: with(func(*v1alpha1.AnalysisTemplateSpec) {})},
		"Placeholders": {reason: "all placeholders that there are", spec: query(`x{a="{{namespace}}",b="{{workload}}",c=~"{{canaryPods}}",d=~"{{stablePods}}",e=~"/{{ args.route }}/.*"}`)},
		"NoMetrics":    {reason: "nothing to look at", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics = nil }), want: []string{"spec.metrics", "at least one"}},
		"SameName":     {reason: "names are unique", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Name = "error-rate" }), want: []string{"spec.metrics[1].name", "Duplicate"}},
		"SameParam":    {reason: "those of parameters too", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Parameters = append(s.Parameters, s.Parameters[0]) }), want: []string{"spec.parameters[1].name", "Duplicate"}},
		"Query":        {reason: "the place in the query is named", spec: query(`rate(x[5m)`), want: []string{"spec.metrics[1].condition.query", `1:10: parse error: unexpected ")"`}},
		"RangeVector":  {reason: "raw samples are no number", spec: query(`x[5m]`), want: []string{"spec.metrics[1].condition.query", "a range vector, not a number"}},
		"Outside":      {reason: "placeholders stand in literals", spec: query(`x{a={{namespace}}}`), want: []string{"spec.metrics[1].condition.query", "inside string literals"}},
		"NoParameter":  {reason: "a parameter must be declared", spec: query(`x{a="{{args.rote}}"}`), want: []string{"spec.metrics[1].condition.query", "there is no {{args.rote}}: declare it in parameters"}},
		"NoArgs":       {reason: "a parameter is written with args", spec: query(`x{a="{{route}}"}`), want: []string{"spec.metrics[1].condition.query", "there is no {{route}}: write {{args.NAME}}"}},
		"BadDefault": {reason: "a default that breaks its pattern", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) {
			s.Parameters[0].Default = &pattern
			s.Metrics[1].Condition.Query = `x{a=~"{{args.route}}"}`
		}), want: []string{"spec.metrics[1].condition.query", "error parsing regexp"}},
		"Selectors": {reason: "every field is checked", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) {
			s.Metrics[0].Ratio = &v1alpha1.RatioMetric{Bad: `rate(x[1m])`, Total: `{a="1"}`, MaxRatio: "150%"}
		}), want: []string{"spec.metrics[0].ratio.bad", "not of the form", "spec.metrics[0].ratio.total", "must begin with the name", "spec.metrics[0].ratio.maxRatio", "not a percentage"}},
		"Signal": {reason: "a signal needs no selectors", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) {
			s.Metrics[0].Ratio = &v1alpha1.RatioMetric{Signal: v1alpha1.SignalRequestErrors, MaxRatio: "1%"}
		})},
		"SignalAndMore": {reason: "and has none", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) {
			s.Metrics[0].Ratio.Signal = v1alpha1.SignalRequestErrors
		}), want: []string{"spec.metrics[0].ratio.signal", "give either signal, or bad and total"}},
		"OtherSignal": {reason: "signals are those there are", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) {
			s.Metrics[0].Ratio = &v1alpha1.RatioMetric{Signal: "Saturation", MaxRatio: "1%"}
		}), want: []string{"spec.metrics[0].ratio.signal", `Unsupported value: "Saturation"`}},
		"Limit":    {reason: "numbers are numbers", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.FailWhen.Value = "NaN" }), want: []string{"spec.metrics[1].condition.failWhen", "not a decimal number"}},
		"Operator": {reason: "operators are those there are", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.FailWhen.Operator = "Equal" }), want: []string{"spec.metrics[1].condition.failWhen", "none of LessThan"}},
		"Interval": {reason: "an interval is a duration", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.Interval = "often" }), want: []string{"spec.metrics[1].condition.interval", "not of the form 90s"}},
		"TooOften": {reason: "of at least a second", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.Interval = "0s" }), want: []string{"spec.metrics[1].condition.interval", "at least 1s"}},
		"Never":    {reason: "a metric that cannot fail", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[1].Condition.FailAfter = 6 }), want: []string{"spec.metrics[1].condition.failAfter", "outOf (5): such a metric could never fail"}},
		"Type":     {reason: "a type that is not known", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[0].Type = "Latency" }), want: []string{"spec.metrics[0].type", "Unsupported value"}},
		"Mixed":    {reason: "a type without its field", spec: with(func(s *v1alpha1.AnalysisTemplateSpec) { s.Metrics[0].Type = v1alpha1.MetricCondition }), want: []string{"spec.metrics[0].type", "the field of its type"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			errs := Validate(tc.spec, field.NewPath("spec"))
			if len(errs) != len(tc.want)/2 {
				t.Fatalf("%s: got %v, want %d errors", tc.reason, errs, len(tc.want)/2)
			}
			for i, err := range errs {
				if err.Field != tc.want[2*i] || !strings.Contains(err.Error(), tc.want[2*i+1]) {
					t.Errorf("%s: got %v, want %s with %q", tc.reason, err, tc.want[2*i], tc.want[2*i+1])
				}
			}
		})
	}
}

func TestValidateArgs(t *testing.T) {
	m := latency()
	m.Condition.Query = `x{a=~"{{args.route}}"}`
	spec := v1alpha1.AnalysisTemplateSpec{Parameters: []v1alpha1.Parameter{{Name: "route"}}, Metrics: []v1alpha1.Metric{errorRate("1%"), m}}
	cases := map[string]struct {
		reason string
		args   map[string]string
		want   string
	}{
		"Good":    {reason: "what is needed is given", args: map[string]string{"route": "checkout|cart"}},
		"Missing": {reason: "what is needed is missing", want: "parameter route needs a value"},
		"Unknown": {reason: "what is given is not known", args: map[string]string{"route": "a", "zone": "b"}, want: "args has zone"},
		"Breaks":  {reason: "what is given breaks the query", args: map[string]string{"route": "("}, want: "metric latency: 1:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			errs := ValidateArgs(spec, tc.args, field.NewPath("spec", "analysis", "templateRefs").Index(0).Child("args"))
			var got string
			if len(errs) > 0 {
				got = errs[0].Detail
				if diff := cmp.Diff("spec.analysis.templateRefs[0].args", errs[0].Field); diff != "" {
					t.Errorf("-want, +got:\n%s", diff)
				}
			}
			if (tc.want == "") != (len(errs) == 0) || !strings.Contains(got, tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, errs, tc.want)
			}
		})
	}
}

// FuzzParsePercent: a share is from 0 to 1 or an error.
func FuzzParsePercent(f *testing.F) {
	for _, s := range []string{"0%", "100%", "0.5%", "1e2%", "NaN%", "-0%", "0x1p-2%", "%", "5"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if share, err := parsePercent(text); err == nil && !(share >= 0 && share <= 1) {
			t.Errorf("%q is %v", text, share)
		}
	})
}

// FuzzParseLimit: a limit is a finite number or an error.
func FuzzParseLimit(f *testing.F) {
	for _, s := range []string{"0", "-1.5", "1e400", "NaN", "Inf", "0x10", "1_000", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, err := parseLimit(v1alpha1.Limit{Operator: v1alpha1.LessThan, Value: text})
		if err == nil && l.bad(l.value) || err == nil && l.value-l.value != 0 {
			t.Errorf("%q is %v", text, l.value)
		}
	})
}
