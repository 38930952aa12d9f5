package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/metrics/prometheus"
)

// evidenceTime is the time of the scrape whose counters first sufficed for a
// failure: what a judge would have known who had each scrape at once. It is
// found afterwards, by judging the release anew as of each scrape.
func evidenceTime(ctx context.Context, world *stage.World, shop *stage.Shop, bad *recording) (time.Time, error) {
	source, err := prometheus.New(v1alpha1.PrometheusSource{URL: world.PrometheusURL, PodLabel: "pod", NamespaceLabel: "namespace"},
		nil, prometheus.Options{Dial: (&net.Dialer{}).DialContext})
	if err != nil {
		return time.Time{}, fmt.Errorf("cannot ask Prometheus: %w", err)
	}
	defer source.Close()
	var template v1alpha1.AnalysisTemplate
	if err := shop.Admin.Get(ctx, client.ObjectKey{Namespace: shop.Namespace, Name: "errors"}, &template); err != nil {
		return time.Time{}, fmt.Errorf("cannot read the AnalysisTemplate: %w", err)
	}
	scrapes, err := scrapeTimes(ctx, source, shop.Namespace, template.Spec.Metrics[0].Ratio.Total, bad)
	if err != nil {
		return time.Time{}, err
	}
	judge := evaluate.New(func(context.Context, string) (metrics.Source, error) { return source, nil })
	for _, at := range scrapes {
		verdict, err := judge.Evaluate(ctx, metrics.Request{
			Namespace: shop.Namespace, Workload: stage.Name, Release: 1, CanaryRevision: bad.revision,
			CanaryPods: names(bad.seen), Start: bad.started, Now: at,
			Templates: []metrics.Template{{Ref: "AnalysisTemplate/errors", Spec: template.Spec}},
		})
		if err != nil {
			return time.Time{}, fmt.Errorf("cannot judge the release as of %s: %w", at, err)
		}
		if verdict.Value == v1alpha1.VerdictFail {
			return at, nil
		}
	}
	return time.Time{}, errors.New("the counters that Prometheus stored never sufficed for a failure, and yet the release was rolled back")
}

// scrapeTimes are the times at which a pod of the bad version was scraped.
func scrapeTimes(ctx context.Context, source metrics.Source, namespace string, total v1alpha1.Selector, bad *recording) ([]time.Time, error) {
	series, err := source.Counters(ctx, total, metrics.Owners{Namespace: namespace, Names: names(bad.seen)}, bad.started, bad.zero.Add(scrapesAllowed*scrapeInterval))
	if err != nil {
		return nil, fmt.Errorf("cannot read the counters of the bad version: %w", err)
	}
	var times []time.Time
	for _, s := range series {
		for _, sample := range s.Samples {
			times = append(times, sample.Time)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return slices.CompactFunc(times, time.Time.Equal), nil
}

func names(pods map[string]corev1.Pod) []string {
	list := make([]string, 0, len(pods))
	for name := range pods {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}
