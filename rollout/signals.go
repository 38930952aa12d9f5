package rollout

import (
	"fmt"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/providers"
)

// counted notes in which series what carries the routes counts requests.
func (o *observation) counted(seen providers.Observation) {
	o.uncounted = seen.Uncounted
	if o.provider == nil {
		o.uncounted = "no route carries the traffic"
	}
	if seen.Requests != nil {
		counters := metrics.RequestCounters(*seen.Requests)
		o.requests = &counters
	}
}

// observeSignals finds metrics that name a signal where nothing is known to count it.
func (o *observation) observeSignals() {
	if o.uncounted == "" {
		return
	}
	for _, template := range o.templates {
		for _, metric := range template.Spec.Metrics {
			if metric.Ratio == nil || metric.Ratio.Signal == "" {
				continue
			}
			o.problem(v1alpha1.ReasonInvalidSpec, "spec.analysis.templateRefs", fmt.Sprintf(
				"%s: signal %s of metric %q is what proxies of Istio or Linkerd count, and %s: write bad and total, with counters of the pods' own, instead",
				template.Ref, metric.Ratio.Signal, metric.Name, o.uncounted))
			return
		}
	}
}
