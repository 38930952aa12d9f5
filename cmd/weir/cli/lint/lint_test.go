package lint_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/charts"
	"github.com/weir-dev/weir/cmd/weir/cli/lint"
)

func newLinter(t *testing.T) *lint.Linter {
	t.Helper()
	crds, err := fs.Sub(charts.FS, charts.CRDDir)
	if err != nil {
		t.Fatal(err)
	}
	l, err := lint.New(crds)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestExamples: every example in the docs passes.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../../../docs/examples/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	l := newLinter(t)
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			file, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = file.Close() })
			findings, checked, err := l.Documents(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			if checked == 0 {
				t.Error("the example has no object of Weir")
			}
			for _, f := range findings {
				t.Errorf("%s: %s: %s", f.Object, f.Field, f.Message)
			}
		})
	}
}

func TestFindings(t *testing.T) {
	const head = "apiVersion: weir.dev/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec:\n  workloadRef: {kind: Deployment, name: web}\n"
	cases := map[string]struct {
		reason, document, field, message string
	}{
		"UnknownField":    {"a field that does not exist is a typing error", head + "  step: []\n", "spec.step", "'kubectl explain rollout.spec --api-version=weir.dev/v1alpha1'"},
		"UnknownKind":     {"a kind that this version does not have", "apiVersion: weir.dev/v1alpha1\nkind: Rollut\nmetadata: {name: web}\n", "kind", "use one of AnalysisTemplate, Approval"},
		"UnknownDeep":     {"deep in a list, too", head + "  steps: [{weight: 5, gates: {holt: 5m, hold: 5m}}]\n", "spec.steps[0].gates.holt", "explain rollout.spec.steps.gates "},
		"UnknownVersion":  {"or a version that it does not have", "apiVersion: weir.dev/v9\nkind: Rollout\nmetadata: {name: web}\n", "kind", "Rollout of weir.dev/v1alpha1"},
		"WeightsGoDown":   {"a CEL rule of the schema", head + "  steps: [{weight: 10}, {weight: 5}]\n", "spec.steps", "may not go down"},
		"BelowOnePercent": {"an order that the schema cannot check", head + "  steps: [{weight: 0.5%}, {weight: 0.25%}]\n", "spec.steps[1].weight", "may not go down"},
		"Enum":            {"a stock check of the schema", head + "  onFailure: Explode\n", "spec.onFailure", "Unsupported value"},
		"Query": {
			"a query that does not parse",
			"apiVersion: weir.dev/v1alpha1\nkind: ClusterAnalysisTemplate\nmetadata: {name: lag}\nspec:\n  metrics:\n" +
				"  - {name: lag, type: Condition, condition: {query: 'max(', failWhen: {operator: GreaterThan, value: \"1\"}}}\n",
			"spec.metrics[0].condition.query", "unclosed left parenthesis",
		},
		"DuplicateRoute": {
			"a list whose keys are unique",
			head + "  traffic: {routeRefs: [{kind: HTTPRoute, name: a}, {kind: HTTPRoute, name: a}]}\n", "spec.traffic.routeRefs[1]", "Duplicate",
		},
	}
	l := newLinter(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			findings, checked, err := l.Documents(t.Context(), strings.NewReader(tc.document))
			if err != nil || checked != 1 {
				t.Fatalf("checked %d: %v", checked, err)
			}
			// One mistake is one finding.
			if len(findings) != 1 || findings[0].Field != tc.field || !strings.Contains(findings[0].Message, tc.message) {
				t.Errorf("%s: want one finding, at %s with %q, got %+v", tc.reason, tc.field, tc.message, findings)
			}
		})
	}
}

func TestForeignDocuments(t *testing.T) {
	l := newLinter(t)
	findings, checked, err := l.Documents(t.Context(), strings.NewReader("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n---\nkind: x\n"))
	if err != nil || checked != 0 || len(findings) != 0 {
		t.Errorf("documents of other groups are passed over: checked %d, findings %v, %v", checked, findings, err)
	}
	if _, _, err := l.Documents(t.Context(), strings.NewReader("a: [")); err == nil {
		t.Error("a document that is no YAML is an error")
	}
}
