package analysis

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
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

func TestResolve(t *testing.T) {
	query := []v1alpha1.Metric{{Name: "errors", Condition: &v1alpha1.ConditionMetric{Query: "bad("}}}
	cases := map[string]struct {
		reason  string
		objects []client.Object
		refs    []v1alpha1.TemplateReference
		want    []string
		wrong   string
	}{
		"Found": {
			reason:  "a template with a source and its arguments is used",
			objects: []client.Object{source("prom", true), template("a", v1alpha1.AnalysisTemplateSpec{Parameters: []v1alpha1.Parameter{{Name: "x"}}})},
			refs:    []v1alpha1.TemplateReference{{Name: "a", Args: []v1alpha1.Argument{{Name: "x", Value: "1"}}}},
			want:    []string{"AnalysisTemplate/a"},
		},
		"Cluster": {
			reason: "a cluster's template is found by its kind",
			objects: []client.Object{source("prom", false), &v1alpha1.ClusterAnalysisTemplate{
				ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: v1alpha1.AnalysisTemplateSpec{MetricSourceName: "prom"},
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
			objects: []client.Object{source("prom", true), template("a", v1alpha1.AnalysisTemplateSpec{Metrics: query})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a" cannot be used: metric "errors": unclosed parenthesis`,
		},
		"NoArgument": {
			reason:  "a parameter without a default needs a value",
			objects: []client.Object{source("prom", true), template("a", v1alpha1.AnalysisTemplateSpec{Parameters: []v1alpha1.Parameter{{Name: "x"}}})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a" needs a value for its parameter "x": give it in args`,
		},
		"StrangeArgument": {
			reason:  "a value without a parameter is a typing error",
			objects: []client.Object{source("prom", true), template("a", v1alpha1.AnalysisTemplateSpec{})},
			refs:    []v1alpha1.TemplateReference{{Name: "a", Args: []v1alpha1.Argument{{Name: "y"}}}},
			wrong:   `AnalysisTemplate "a" has no parameter "y": take it out of args`,
		},
		"NoSource": {
			reason:  "a source that does not exist is named",
			objects: []client.Object{template("a", v1alpha1.AnalysisTemplateSpec{MetricSourceName: "prom"})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": MetricSource "prom" does not exist: create it, or correct metricSourceName`,
		},
		"NoDefault": {
			reason:  "without a name there must be a default",
			objects: []client.Object{source("prom", false), template("a", v1alpha1.AnalysisTemplateSpec{})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": there is no default MetricSource: name one in metricSourceName, or put annotation metricsource.weir.dev/is-default: "true" on one`,
		},
		"TwoDefaults": {
			reason:  "of two defaults none is",
			objects: []client.Object{source("a", true), source("b", true), template("a", v1alpha1.AnalysisTemplateSpec{})},
			refs:    []v1alpha1.TemplateReference{{Name: "a"}},
			wrong:   `AnalysisTemplate "a": there are 2 default MetricSources: leave annotation metricsource.weir.dev/is-default on one of them`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := NewCatalog(reader(t, tc.objects...), func(spec v1alpha1.AnalysisTemplateSpec) error {
				if len(spec.Metrics) > 0 {
					return errors.New(`metric "errors": unclosed parenthesis`)
				}
				return nil
			})
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
			var want []decide.Problem
			if tc.wrong != "" {
				want = []decide.Problem{{Reason: v1alpha1.ReasonInvalidSpec, Field: "spec.analysis.templateRefs[0]", Message: tc.wrong}}
			}
			if diff := cmp.Diff(want, problems); diff != "" {
				t.Errorf("%s: problems: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestResolveParsesOnce(t *testing.T) {
	obj := template("a", v1alpha1.AnalysisTemplateSpec{})
	calls := 0
	c := NewCatalog(reader(t, source("prom", true), obj), func(v1alpha1.AnalysisTemplateSpec) error { calls++; return nil })
	rollout := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop"}}
	rollout.Spec.Analysis = &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{{Name: "a"}}}
	for range 3 {
		if _, _, err := c.Resolve(t.Context(), rollout); err != nil {
			t.Fatal(err)
		}
	}
	if calls != 1 {
		t.Errorf("a template that has not changed is parsed once: got %d times", calls)
	}
}
