package controller

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

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

// secretReader answers each read of a Secret by a function.
type secretReader struct {
	client.Reader
	get func(ctx context.Context, name string) error
}

func (r secretReader) Get(ctx context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	secret, ok := obj.(*corev1.Secret)
	if !ok {
		return errors.New("only Secrets are read live")
	}
	secret.ResourceVersion, secret.Data = "1", map[string][]byte{"config.yaml": []byte("{}")}
	return r.get(ctx, key.Name)
}

// TestSourceWhoseSecretIsReadAgain: what is known holds until the Secret is known
// to be another, or to be gone.
func TestSourceWhoseSecretIsReadAgain(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, "token")
	cases := map[string]struct {
		reason string
		err    error
		kept   bool
		// next is the least time until the Secret is read again.
		next time.Duration
	}{
		"Same":      {reason: "a Secret that is the same makes no other client", kept: true, next: secretPace - time.Second},
		"Timeout":   {reason: "a read that came to nothing has changed nothing", err: context.DeadlineExceeded, kept: true},
		"Forbidden": {reason: "nor has a right that is missing for now", err: apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "token", errors.New("no right")), kept: true},
		"Gone":      {reason: "who deletes a Secret takes it away", err: gone},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s, answer := newTestSources(t, egress.Options{}), error(nil)
			s.live = secretReader{get: func(context.Context, string) error { return answer }}
			source := newSource("http://prometheus.example", "token")
			first, err := s.client(t.Context(), source)
			if err != nil {
				t.Fatal(err)
			}
			answer = tc.err
			s.entry(source.UID).checkAgain(-time.Second)
			again, err := s.client(t.Context(), source)
			if kept := err == nil && again == first; kept != tc.kept || !tc.kept && !errors.Is(err, tc.err) {
				t.Errorf("%s: kept %t, error is %v", tc.reason, kept, err)
			}
			if next := time.Until(s.entry(source.UID).next); tc.kept && next < max(tc.next, secretRetry-time.Second) {
				t.Errorf("%s: it is read again in %v", tc.reason, next)
			}
		})
	}
}

// TestSlowSecret: a read that does not come back keeps nobody waiting but who has
// no client yet, and these no longer than they want to wait.
func TestSlowSecret(t *testing.T) {
	s := newTestSources(t, egress.Options{})
	var slow atomic.Bool
	began, answered := make(chan struct{}, 1), make(chan struct{})
	s.live = secretReader{get: func(ctx context.Context, name string) error {
		if name != "slow" || !slow.Load() {
			return nil
		}
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	source, other := newSource("http://prometheus.example", "slow"), newSource("http://prometheus.example", "token")
	other.UID = "other"
	first, err := s.client(t.Context(), source)
	if err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	s.entry(source.UID).checkAgain(-time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(answered)
		if again, err := s.client(ctx, source); err != nil || again != first {
			t.Errorf("who has read in vain goes on with the client that is known: got %v, %v", again, err)
		}
	}()
	<-began
	if again, err := s.client(t.Context(), source); err != nil || again != first {
		t.Errorf("others go on meanwhile: got %v, %v", again, err)
	}
	if _, err := s.client(t.Context(), other); err != nil {
		t.Errorf("another source is none of its business: got %v", err)
	}
	changed, short := source.DeepCopy(), time.Millisecond
	changed.Generation = 2
	hurried, stop := context.WithTimeout(t.Context(), short)
	defer stop()
	if _, err := s.client(hurried, changed); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who has no client waits as long as they want: got %v", err)
	}
	cancel()
	<-answered
}

// TestSourcesThatAreDropped: the connections of a client that is dropped are
// closed.
func TestSourcesThatAreDropped(t *testing.T) {
	closed := make(chan struct{}, 9)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if _, err := w.Write([]byte(`{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}`)); err != nil {
			t.Error(err)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	stays, goes := newSource(server.URL, ""), newSource(server.URL, "")
	stays.UID = "stays"
	s := newTestSources(t, egress.Options{AllowLoopback: true}, stays)
	for _, source := range []*v1alpha1.MetricSource{stays, goes} {
		if err := s.Probe(t.Context(), source); err != nil {
			t.Fatal(err)
		}
	}
	drops := func(reason string, left int, drop func()) {
		t.Helper()
		drop()
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: its connection is still open", reason)
		}
		if len(s.known) != left {
			t.Errorf("%s: %d clients are left, want %d", reason, len(s.known), left)
		}
	}
	drops("a source that is gone", 1, func() {
		pass := s.pruned(reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) { return reconcile.Result{}, nil }))
		if _, err := pass.Reconcile(t.Context(), reconcile.Request{}); err != nil {
			t.Error(err)
		}
	})
	drops("the end of a life", 0, s.close)
}
