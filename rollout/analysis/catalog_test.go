package analysis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// reader serves objects.
func reader(t *testing.T, objects ...client.Object) client.Reader {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func source(name string, isDefault bool) *v1alpha1.MetricSource {
	s := &v1alpha1.MetricSource{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if isDefault {
		s.Annotations = map[string]string{v1alpha1.DefaultMetricSourceAnnotation: "true"}
	}
	return s
}

func template(name string, spec v1alpha1.AnalysisTemplateSpec) *v1alpha1.AnalysisTemplate {
	return &v1alpha1.AnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: "t-1"}, Spec: spec}
}

// condition is a metric with a query.
func condition(query string) []v1alpha1.Metric {
	return []v1alpha1.Metric{{
		Name: "errors", Type: v1alpha1.MetricCondition,
		Condition: &v1alpha1.ConditionMetric{Query: query, FailWhen: v1alpha1.Limit{Operator: v1alpha1.GreaterThan, Value: "1"}},
	}}
}

func TestResolve(t *testing.T) {
	bad := v1alpha1.AnalysisTemplateSpec{Metrics: condition("bad(")}
	needs := v1alpha1.AnalysisTemplateSpec{Metrics: condition(`up{x="{{args.x}}"}`), Parameters: []v1alpha1.Parameter{{Name: "x"}}}
	plain := v1alpha1.AnalysisTemplateSpec{Metrics: condition("up")}
	cases := map[string]struct {
		reason  string
		objects []client.Object
		refs    []v1alpha1.TemplateReference
		want    []string
		wrong   string
	}{
		"Found": {
			reason:  "a template with a source and its arguments is used",
			objects: []client.Object{source("prom", true), template("a", needs)},
			refs:    []v1alpha1.TemplateReference{{Name: "a", Args: []v1alpha1.Argument{{Name: "x", Value: "1"}}}},
			want:    []string{"AnalysisTemplate/a"},
		},
		"Cluster": {
			reason: "a cluster's template is found by its kind",
			objects: []client.Object{source("prom", false), &v1alpha1.ClusterAnalysisTemplate{
				ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.AnalysisTemplateSpec{Metrics: condition("up"), MetricSourceName: "prom"},
			}},
			refs: []v1alpha1.TemplateReference{{Kind: "ClusterAnalysisTemplate", Name: "a"}},
			want: []string{"ClusterAnalysisTemplate/a"},
		},
		"Missing": {
			reason: "a template that does not exist is named",
			refs:   []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:  `AnalysisTemplate "a" does not exist: create it, or correct the name`,
		},
		"Unparsable": {
			reason:  "a query that cannot be parsed is shown",
			objects: []client.Object{source("prom", true), template("a", bad)},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a" cannot be used: spec.metrics[0].condition.query: Invalid value: "bad(": `,
		},
		"NoArgument": {
			reason:  "a parameter without a default needs a value",
			objects: []client.Object{source("prom", true), template("a", needs)},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a" cannot be used with these args: args: Invalid value: `,
		},
		"StrangeArgument": {
			reason:  "a value without a parameter is a typing error",
			objects: []client.Object{source("prom", true), template("a", plain)},
			refs:    []v1alpha1.TemplateReference{{Name: "a", Args: []v1alpha1.Argument{{Name: "y"}}}},
			wrong:   `AnalysisTemplate "a" cannot be used with these args: args: Invalid value: `,
		},
		"NoSource": {
			reason:  "a source that does not exist is named",
			objects: []client.Object{template("a", v1alpha1.AnalysisTemplateSpec{Metrics: condition("up"), MetricSourceName: "prom"})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": MetricSource "prom" does not exist: create it, or correct metricSourceName`,
		},
		"NoDefault": {
			reason:  "without a name there must be a default",
			objects: []client.Object{source("prom", false), template("a", plain)},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": there is no default MetricSource: name one in metricSourceName, or put annotation metricsource.weir.dev/is-default: "true" on one`,
		},
		"TwoDefaults": {
			reason:  "of two defaults none is",
			objects: []client.Object{source("a", true), source("b", true), template("a", plain)},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": there are 2 default MetricSources: leave annotation metricsource.weir.dev/is-default on one of them`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := NewCatalog(reader(t, tc.objects...))
			rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
			rollout.Spec.Analysis = &v1alpha1.Analysis{TemplateRefs: tc.refs}
			templates, problems, err := c.Resolve(t.Context(), rollout)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			var got []string
			for _, found := range templates {
				got = append(got, found.Ref)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: templates: -want, +got:\n%s", tc.reason, diff)
			}
			if tc.wrong == "" {
				if len(problems) > 0 {
					t.Errorf("%s: got problems %v", tc.reason, problems)
				}
				return
			}
			if len(problems) != 1 || problems[0].Reason != v1alpha1.ReasonInvalidSpec ||
				problems[0].Field != "spec.analysis.templateRefs[0]" || !strings.HasPrefix(problems[0].Message, tc.wrong) {
				t.Errorf("%s: got %v, want %q", tc.reason, problems, tc.wrong)
			}
		})
	}
}

func TestResolveParsesOnce(t *testing.T) {
	obj := template("a", v1alpha1.AnalysisTemplateSpec{Metrics: condition("bad(")})
	c := NewCatalog(reader(t, source("prom", true)))
	obj.Generation = 1
	wrong := c.parsed(obj, &obj.Spec)
	obj.Spec.Metrics = condition("up") // Another spec under the same generation cannot be.
	if again := c.parsed(obj, &obj.Spec); again != wrong || wrong == "" {
		t.Errorf("a template that has not changed is parsed once: got %q, then %q", wrong, again)
	}
	obj.Generation = 2
	if got := c.parsed(obj, &obj.Spec); got != "" {
		t.Errorf("one that has changed is parsed again: got %q", got)
	}
}
