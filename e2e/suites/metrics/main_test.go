// Package metrics evaluates analysis templates against a real Prometheus that
// scrapes real pods under load, and takes that Prometheus away.
package metrics

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/metrics/prometheus"
)

const (
	// namespace of all pods.
	namespace = "metrics"
	// scrape is how often Prometheus scrapes.
	scrape = time.Second
	// timeout bounds each wait.
	timeout = time.Minute
)

// The sandbox, and what the tests share of it.
var (
	sandbox *harness.Sandbox
	admin   client.WithWatch
)

func TestMain(m *testing.M) {
	os.Exit(harness.Main(m, "metrics", []string{"--nodes=1", "--scrape-interval=" + scrape.String()},
		func(ctx context.Context, s *harness.Sandbox) error {
			sandbox = s
			config, err := s.Config(harness.Admin)
			if err != nil {
				return err
			}
			if admin, err = client.NewWithWatch(config, client.Options{Scheme: stage.Scheme()}); err != nil {
				return err
			}
			return admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
		}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newSource is a client of the sandbox's Prometheus.
func newSource(t *testing.T) *prometheus.Source {
	t.Helper()
	source, err := prometheus.New(v1alpha1.PrometheusSource{
		URL: sandbox.PrometheusURL,
		RequestsByService: &v1alpha1.ServiceRequests{
			Total: "sandbox_gateway_requests_total", ServiceLabel: "service", NamespaceLabel: "namespace",
		},
	}, nil, prometheus.Options{Dial: (&net.Dialer{}).DialContext, Timeout: 2 * time.Second})
	must(t, err)
	t.Cleanup(source.Close)
	return source
}

// newEvaluator evaluates with a client of its own, as a restarted controller
// does.
func newEvaluator(t *testing.T) *evaluate.Evaluator {
	t.Helper()
	source := newSource(t)
	return evaluate.New(func(context.Context, string) (metrics.Source, error) { return source, nil })
}

// runPod runs a shop and waits until it is ready. It gives the pod's address.
func runPod(t *testing.T, name string, env map[string]string) string {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: name, Labels: map[string]string{"app": name},
			Annotations: map[string]string{"prometheus.io/scrape": "true", "prometheus.io/port": "8080"},
		},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "shop", Image: "weir.dev/shop:v1",
			ReadinessProbe: &corev1.Probe{
				ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/healthz", Port: intstr.FromInt32(8080)}},
				PeriodSeconds: 1,
			},
		}}},
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		pod.Spec.Containers[0].Env = append(pod.Spec.Containers[0].Env, corev1.EnvVar{Name: k, Value: env[k]})
	}
	must(t, admin.Create(t.Context(), pod))
	t.Cleanup(func() {
		if err := admin.Delete(context.WithoutCancel(t.Context()), pod); err != nil {
			t.Error(err)
		}
	})
	harness.Eventually(t, timeout, "pod "+name+" is ready", func(ctx context.Context) error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return err
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("pod %s is not ready", name)
	})
	return pod.Status.PodIP
}

// startLoad sends requests until the test ends, and gives their log.
func startLoad(t *testing.T, name, target string, rate int, flags ...string) *load.Log {
	t.Helper()
	binary, err := harness.Binary("sandbox")
	must(t, err)
	path := filepath.Join(sandbox.Dir, "load-"+name+".log")
	command := append([]string{
		"start", "load-" + name, "--", binary, "load", "--target", target, "--rate", fmt.Sprint(rate), "--out", path, "--bind", "10.244.250.1",
	}, flags...)
	_, err = sandbox.Run(t.Context(), command...)
	must(t, err)
	t.Cleanup(func() {
		if _, err := sandbox.Run(context.WithoutCancel(t.Context()), "stop", "load-"+name); err != nil {
			t.Error(err)
		}
	})
	var log *load.Log
	harness.Eventually(t, timeout, "load "+name+" runs", func(context.Context) (err error) {
		log, err = load.Open(path)
		return err
	})
	return log
}

// errorRate is a Ratio of the shop's own counters.
func errorRate(limit string) v1alpha1.Metric {
	return v1alpha1.Metric{Name: "error-rate", Type: v1alpha1.MetricRatio, Ratio: &v1alpha1.RatioMetric{
		Bad: `http_requests_total{code=~"5.."}`, Total: `http_requests_total`, MaxRatio: limit,
	}}
}

// condition is a Condition that looks each second, bad above a limit in 3 of 5.
func condition(query, limit string) v1alpha1.Metric {
	return v1alpha1.Metric{Name: "condition", Type: v1alpha1.MetricCondition, Condition: &v1alpha1.ConditionMetric{
		Query: query, FailWhen: v1alpha1.Limit{Operator: v1alpha1.GreaterThan, Value: limit}, Interval: "1s",
	}}
}

// request is about pods that are exposed from now on.
func request(pods []string, list ...v1alpha1.Metric) metrics.Request {
	now := time.Now()
	return metrics.Request{
		Namespace: namespace, Workload: "shop", Release: 1, CanaryRevision: "w1", CanaryPods: pods, Start: now, StepStart: now,
		Templates: []metrics.Template{{Ref: "AnalysisTemplate/test", Spec: v1alpha1.AnalysisTemplateSpec{Metrics: list}}},
	}
}

// watch looks whenever the verdict says so, until it is as wanted, and gives
// that verdict with the time at which it was there.
func watch(t *testing.T, e *evaluate.Evaluator, r metrics.Request, what string, want func(metrics.Verdict) bool) (metrics.Verdict, time.Time) {
	t.Helper()
	deadline := time.After(timeout)
	var last metrics.Verdict
	for {
		r.Now = time.Now()
		verdict, err := e.Evaluate(t.Context(), r)
		must(t, err)
		if verdict.Value != last.Value || verdict.Step != last.Step || verdict.Reason != last.Reason {
			t.Logf("%s: %s, step %s, %s: %s", time.Since(r.Start).Round(100*time.Millisecond), verdict.Value, verdict.Step, verdict.Reason, verdict.Message)
		}
		if want(verdict) {
			return verdict, time.Now()
		}
		last = verdict
		select {
		case <-time.After(max(time.Until(verdict.NextLook), 100*time.Millisecond)):
		case <-deadline:
			t.Fatalf("%s: not within %s: %+v", what, timeout, verdict)
		}
	}
}

// is wants a value.
func is(value v1alpha1.VerdictValue) func(metrics.Verdict) bool {
	return func(v metrics.Verdict) bool { return v.Value == value }
}
