package controller

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/cmd/weir/egress"
)

// newSource is a MetricSource at an address.
func newSource(url, secret string) *v1alpha1.MetricSource {
	s := &v1alpha1.MetricSource{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus", UID: "s", Generation: 1, Annotations: map[string]string{v1alpha1.DefaultMetricSourceAnnotation: "true"}},
		Spec:       v1alpha1.MetricSourceSpec{Type: "Prometheus", Prometheus: &v1alpha1.PrometheusSource{URL: url}},
	}
	if secret != "" {
		s.Spec.Prometheus.HTTPConfigSecretRef = &v1alpha1.SecretReference{Name: secret}
	}
	return s
}

// newTestSources serves objects to a set of clients.
func newTestSources(t *testing.T, options egress.Options, objects ...client.Object) *sources {
	t.Helper()
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	reader := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return newSources(reader, reader, "weir-system", egress.New(options).DialContext)
}

func TestProbe(t *testing.T) {
	var credentials atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials.Store(r.Header.Get("Authorization"))
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`)); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "weir-system", Name: "token"},
		Data:       map[string][]byte{"config.yaml": []byte("authorization: {type: Bearer, credentials: s3cret}")},
	}
	elsewhere := secret.DeepCopy()
	elsewhere.Namespace = "shop"
	empty := secret.DeepCopy()
	empty.Data = nil
	open := egress.Options{AllowLoopback: true}
	cases := map[string]struct {
		reason      string
		options     egress.Options
		source      *v1alpha1.MetricSource
		objects     []client.Object
		credentials string
		err         string
	}{
		"Answers":       {reason: "a server that answers is well", options: open, source: newSource(server.URL, "")},
		"Credentials":   {reason: "the Secret is used", options: open, source: newSource(server.URL, "token"), objects: []client.Object{secret}, credentials: "Bearer s3cret"},
		"NoSecret":      {reason: "a Secret that is missing is named with its namespace", options: open, source: newSource(server.URL, "token"), err: `cannot read Secret "token" in namespace "weir-system"`},
		"OtherSecret":   {reason: "one of another namespace is none", options: open, source: newSource(server.URL, "token"), objects: []client.Object{elsewhere}, err: `cannot read Secret "token" in namespace "weir-system"`},
		"NoKey":         {reason: "a Secret without the key is named with the key", options: open, source: newSource(server.URL, "token"), objects: []client.Object{empty}, err: `Secret "token" in namespace "weir-system" has no key config.yaml`},
		"GuardedByDial": {reason: "connections are made by the guard", source: newSource(server.URL, ""), err: "is not allowed: it is a loopback address"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			credentials.Store("")
			s := newTestSources(t, tc.options, tc.objects...)
			err := s.Probe(t.Context(), tc.source)
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.err)
			}
			if got := credentials.Load(); got != tc.credentials {
				t.Errorf("%s: credentials are %q, want %q", tc.reason, got, tc.credentials)
			}
		})
	}
}

func TestSourceIsKeptWhileItStaysAsItIs(t *testing.T) {
	source := newSource("http://prometheus.example", "")
	s := newTestSources(t, egress.Options{}, source)
	first, err := s.Source(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Source(t.Context(), "prometheus"); err != nil || again != first {
		t.Errorf("a source by its name and the default one are one client: got %v, %v", again, err)
	}
	changed := source.DeepCopy()
	changed.Generation = 2
	if next, err := s.client(t.Context(), changed); err != nil || next == first {
		t.Errorf("another generation is another client: got %v, %v", next, err)
	}
	if _, err := s.Source(t.Context(), "other"); err == nil || !strings.Contains(err.Error(), `MetricSource "other" does not exist`) {
		t.Errorf("a source that does not exist is named: got %v", err)
	}
}
