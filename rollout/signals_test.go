package rollout

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

// TestSignals: a signal is asked of what carries the routes, and is refused where that
// counts nothing.
func TestSignals(t *testing.T) {
	of := func(ratio v1alpha1.RatioMetric) []metrics.Template {
		return []metrics.Template{{Ref: "ClusterAnalysisTemplate/golden-signals", Spec: v1alpha1.AnalysisTemplateSpec{
			Metrics: []v1alpha1.Metric{{Name: "errors", Type: v1alpha1.MetricRatio, Ratio: &ratio}},
		}}}
	}
	signal, own := of(v1alpha1.RatioMetric{Signal: v1alpha1.SignalRequestErrors}), of(v1alpha1.RatioMetric{Bad: "bad", Total: "total"})
	counters := &providers.RequestCounters{Total: []v1alpha1.Selector{"total"}, Failed: []v1alpha1.Selector{"total{failed=\"yes\"}"}, ServiceLabel: "s", NamespaceLabel: "n"}
	refused := func(why string) []decide.Problem {
		return []decide.Problem{{Reason: v1alpha1.ReasonInvalidSpec, Field: "spec.analysis.templateRefs", Message: "ClusterAnalysisTemplate/golden-signals: signal RequestErrors of metric \"errors\" is what proxies of Istio or Linkerd count, and " +
			why + ": write bad and total, with counters of the pods' own, instead"}}
	}
	cases := map[string]struct {
		reason    string
		rollout   *v1alpha1.Rollout
		templates []metrics.Template
		seen      providers.Observation
		want      *metrics.RequestCounters
		problems  []decide.Problem
	}{
		"Mesh": {
			reason: "a mesh says what it counts", rollout: newRollout(routed("web")), templates: signal,
			seen: providers.Observation{Requests: counters},
			want: &metrics.RequestCounters{Total: counters.Total, Failed: counters.Failed, ServiceLabel: "s", NamespaceLabel: "n"},
		},
		"NotYet": {reason: "who carries the routes is not known yet", rollout: newRollout(routed("web")), templates: signal},
		"Gateway": {
			reason: "another gateway counts nothing that is known", rollout: newRollout(routed("web")), templates: signal,
			seen: providers.Observation{Uncounted: "HTTPRoute/web is carried by nginx"}, problems: refused("HTTPRoute/web is carried by nginx"),
		},
		"Native":     {reason: "without a route nobody counts", rollout: newRollout(), templates: signal, problems: refused("no route carries the traffic")},
		"OwnCounter": {reason: "the pods' own counters need nobody else", rollout: newRollout(), templates: own},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newShell(t, tc.rollout)
			s.templates = tc.templates
			s.routes = func(providers.Target, bool) (providers.Observation, error) { return tc.seen, nil }
			o, err := s.observe(t.Context(), s.rollout(), false)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.problems, o.input.Problems); diff != "" {
				t.Errorf("%s: problems (-want +got):\n%s", tc.reason, diff)
			}
			if diff := cmp.Diff(tc.want, o.subject().Requests); diff != "" {
				t.Errorf("%s: asked for (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
