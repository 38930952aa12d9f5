package analysis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// counted is a client whose status writes are counted.
func counted(t *testing.T, writes *int, objects ...client.Object) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(objects...).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceUpdate: func(ctx context.Context, c client.Client, subresource string, obj client.Object, opts ...client.SubResourceUpdateOption) error {
				*writes++
				return c.SubResource(subresource).Update(ctx, obj, opts...)
			},
		}).Build()
}

// summary is what people read of a condition.
func summary(conditions []metav1.Condition) []string {
	var out []string
	for _, c := range conditions {
		out = append(out, string(c.Status)+" "+c.Reason+" "+c.Message)
	}
	return out
}

func TestTemplateStatus(t *testing.T) {
	plain := v1alpha1.AnalysisTemplateSpec{Metrics: condition("up")}
	cases := map[string]struct {
		reason  string
		objects []client.Object
		cluster bool
		want    string
	}{
		"Usable": {
			reason:  "a template that can be used says so",
			objects: []client.Object{source("prom", true), template("a", plain)},
			want:    "True Usable every query can be parsed and the source is there",
		},
		"Cluster": {
			reason:  "so does one of the cluster",
			objects: []client.Object{source("prom", true), &v1alpha1.ClusterAnalysisTemplate{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: plain}},
			cluster: true,
			want:    "True Usable every query can be parsed and the source is there",
		},
		"Invalid": {
			reason:  "a query that cannot be parsed is shown",
			objects: []client.Object{source("prom", true), template("a", v1alpha1.AnalysisTemplateSpec{Metrics: condition("bad(")})},
			want:    `False InvalidQuery spec.metrics[0].condition.query: Invalid value: "bad(": 1:5: parse error: unclosed left parenthesis`,
		},
		"NoSource": {
			reason:  "a source that does not exist is named",
			objects: []client.Object{template("a", v1alpha1.AnalysisTemplateSpec{Metrics: condition("up"), MetricSourceName: "prom"})},
			want:    `False SourceNotFound MetricSource "prom" does not exist: create it, or correct metricSourceName`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			writes := 0
			c := counted(t, &writes, tc.objects...)
			s := &TemplateStatus{Writer: c, Cluster: tc.cluster, Catalog: NewCatalog(c)}
			request := reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "shop", Name: "a"}}
			if tc.cluster {
				request.Namespace = ""
			}
			for range 2 {
				if _, err := s.Reconcile(t.Context(), request); err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
			}
			obj, _, err := s.Catalog.read(t.Context(), "shop", v1alpha1.TemplateReference{Name: "a", Kind: map[bool]string{true: kindClusterTemplate}[tc.cluster]})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{tc.want}, summary(templateStatus(obj).Conditions)); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			if writes != 1 {
				t.Errorf("a status that is as it should be is not written again: got %d writes, want 1", writes)
			}
		})
	}
}

// answer makes a function a Prober.
type answerer func() error

func (a answerer) Probe(context.Context, *v1alpha1.MetricSource) error { return a() }

func TestSourceStatus(t *testing.T) {
	var down error
	writes := 0
	c := counted(t, &writes, source("prom", true))
	s := &SourceStatus{Reader: c, Writer: c, Prober: answerer(func() error { return down })}
	request := reconcile.Request{NamespacedName: types.NamespacedName{Name: "prom"}}
	look := func(reason, want string, wantWrites int, pace time.Duration) {
		t.Helper()
		for range 2 {
			result, err := s.Reconcile(t.Context(), request)
			if err != nil || result.RequeueAfter != pace {
				t.Fatalf("%s: got %v, %v, want to come back after %s", reason, result, err, pace)
			}
		}
		got := &v1alpha1.MetricSource{}
		if err := c.Get(t.Context(), request.NamespacedName, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, summary(got.Status.Conditions)); diff != "" {
			t.Errorf("%s: -want, +got:\n%s", reason, diff)
		}
		if writes != wantWrites {
			t.Errorf("%s: got %d writes, want %d", reason, writes, wantWrites)
		}
	}
	look("a source that answers is ready, and that is written once", "True Answering answers queries", 1, probePace)
	down = errors.New("cannot query http://prometheus:9090: connection refused")
	look("an outage shows, and is looked after more often", "False Unreachable cannot query http://prometheus:9090: connection refused", 2, probeRetryPace)
	down = nil
	look("its end shows too", "True Answering answers queries", 3, probePace)

	if err := c.Delete(t.Context(), source("prom", true)); err != nil {
		t.Fatal(err)
	}
	if result, err := s.Reconcile(t.Context(), request); err != nil || !result.IsZero() {
		t.Errorf("a source that is gone is let go: got %v, %v", result, err)
	}
}
