package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/metrics/prometheus"
	"github.com/weir-dev/weir/rollout/analysis"
)

// secretPace is how often a Secret is read again. There is no watch on Secrets:
// the controller may get those that are named, one at a time.
const secretPace = time.Minute

// sources makes a client for each MetricSource and keeps it while the source
// stays as it is. It is safe for use by several goroutines.
type sources struct {
	cached, live client.Reader
	// namespace that the Secrets are in.
	namespace string
	dial      prometheus.Dial

	mutex sync.Mutex
	known map[types.UID]*knownSource
}

// knownSource is a client with what it was made from.
type knownSource struct {
	generation int64
	secret     string // resourceVersion
	checkedAt  time.Time
	source     *prometheus.Source
}

// newSources makes a set of clients whose connections are made by dial.
func newSources(cached, live client.Reader, namespace string, dial prometheus.Dial) *sources {
	return &sources{cached: cached, live: live, namespace: namespace, dial: dial, known: map[types.UID]*knownSource{}}
}

// Source is the client for the MetricSource of a name, the default one for the
// empty name.
func (s *sources) Source(ctx context.Context, name string) (metrics.Source, error) {
	found, wrong, err := analysis.FindSource(ctx, s.cached, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot find the MetricSource: %w", err)
	case wrong != "":
		return nil, &metrics.Error{Failure: metrics.SourceUnavailable, Message: wrong}
	}
	return s.client(ctx, found)
}

// Probe asks a MetricSource for something that it can always answer.
func (s *sources) Probe(ctx context.Context, source *v1alpha1.MetricSource) error {
	c, err := s.client(ctx, source)
	if err != nil {
		return err
	}
	if err := c.Check(ctx); err != nil {
		return fmt.Errorf("the source does not answer: %w", err)
	}
	return nil
}

// measure counts the requests that the Services of each version served.
func (s *sources) measure(ctx context.Context, source, namespace string, stable, canary []string, start, end time.Time) (evaluate.Share, bool, error) {
	found, err := s.Source(ctx, source)
	if err != nil {
		return evaluate.Share{}, false, err
	}
	share, ok, err := evaluate.MeasureShare(ctx, found, namespace, stable, canary, start, end)
	if err != nil {
		return evaluate.Share{}, ok, fmt.Errorf("cannot measure the share of the traffic: %w", err)
	}
	return share, ok, nil
}

// client for a MetricSource, a new one if it or its Secret has changed.
func (s *sources) client(ctx context.Context, source *v1alpha1.MetricSource) (*prometheus.Source, error) {
	if source.Spec.Prometheus == nil {
		return nil, fmt.Errorf("MetricSource %q: spec.prometheus is missing", source.Name)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	known := s.known[source.UID]
	if known != nil && known.generation != source.Generation {
		known = nil
	}
	ref := source.Spec.Prometheus.HTTPConfigSecretRef
	if known != nil && (ref == nil || time.Since(known.checkedAt) < secretPace) {
		return known.source, nil
	}
	config, version, err := s.httpConfig(ctx, source.Name, ref)
	if err != nil {
		return nil, err
	}
	if known != nil && known.secret == version {
		known.checkedAt = time.Now()
		return known.source, nil
	}
	return s.make(source, config, version)
}

// make a client and keep it. The caller holds the mutex.
func (s *sources) make(source *v1alpha1.MetricSource, config []byte, version string) (*prometheus.Source, error) {
	made, err := prometheus.New(*source.Spec.Prometheus, config, prometheus.Options{Dial: s.dial})
	if err != nil {
		return nil, fmt.Errorf("MetricSource %q: %w", source.Name, err)
	}
	if old := s.known[source.UID]; old != nil {
		old.source.Close()
	}
	s.known[source.UID] = &knownSource{generation: source.Generation, secret: version, checkedAt: time.Now(), source: made}
	return made, nil
}

// httpConfig reads the HTTP client configuration of a MetricSource.
func (s *sources) httpConfig(ctx context.Context, source string, ref *v1alpha1.SecretReference) (config []byte, version string, err error) {
	if ref == nil {
		return nil, "", nil
	}
	secret := &corev1.Secret{}
	if err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: ref.Name}, secret); err != nil {
		return nil, "", fmt.Errorf("MetricSource %q: cannot read Secret %q in namespace %q: %w", source, ref.Name, s.namespace, err)
	}
	config, ok := secret.Data[prometheus.ConfigKey]
	if !ok {
		return nil, "", fmt.Errorf("MetricSource %q: Secret %q in namespace %q has no key %s", source, ref.Name, s.namespace, prometheus.ConfigKey)
	}
	return config, secret.ResourceVersion, nil
}
