package controller

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/metrics/prometheus"
	"github.com/weir-dev/weir/rollout/analysis"
)

const (
	// secretPace is how often a Secret is read again. There is no watch on Secrets:
	// the controller may get those that are named, one at a time.
	secretPace = time.Minute
	// secretRetry is how soon, where it could not be read.
	secretRetry = 10 * time.Second
	// secretTimeout bounds one read.
	secretTimeout = 5 * time.Second
)

// sources makes a client for each MetricSource and keeps it while the source
// stays as it is. It is safe for use by several goroutines. What is read for one
// source keeps nobody waiting who asks for another.
type sources struct {
	cached, live client.Reader
	// namespace that the Secrets are in.
	namespace string
	dial      prometheus.Dial

	mutex sync.Mutex // of the map, never held across a read
	known map[types.UID]*knownSource
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

// client for a MetricSource, a new one if it or its Secret has changed. While
// somebody reads the Secret again, others go on with the client that is known.
func (s *sources) client(ctx context.Context, source *v1alpha1.MetricSource) (*prometheus.Source, error) {
	if source.Spec.Prometheus == nil {
		return nil, fmt.Errorf("MetricSource %q: spec.prometheus is missing", source.Name)
	}
	known := s.entry(source.UID)
	found, fresh := known.get(source)
	if fresh {
		return found, nil
	}
	switch began, err := known.begin(ctx, found == nil); {
	case err != nil:
		return nil, fmt.Errorf("MetricSource %q: cannot wait until its client is made: %w", source.Name, err)
	case !began:
		return found, nil
	}
	defer known.end()
	if found, fresh = known.get(source); fresh {
		return found, nil // Somebody else has made it in the meantime.
	}
	return s.refresh(ctx, known, source, found)
}

// refresh the client of a MetricSource; found is the one that is known, if any. A
// Secret that cannot be read has not changed for that, and the client is as good
// as before. One that is gone or spoiled was taken away by somebody, and its client
// goes, too.
func (s *sources) refresh(ctx context.Context, known *knownSource, source *v1alpha1.MetricSource, found *prometheus.Source) (*prometheus.Source, error) {
	secret, err := s.secret(ctx, source)
	unread := err != nil && !apierrors.IsNotFound(err)
	switch {
	case unread && found == nil:
		return nil, err
	case unread:
		log.FromContext(ctx).Error(err, "Cannot read a Secret again, going on with what it said last")
		known.checkAgain(secretRetry)
		return found, nil
	case err == nil && found != nil && known.madeFrom(secret):
		known.checkAgain(secretPace)
		return found, nil
	}
	var made *prometheus.Source
	if err == nil {
		made, err = s.make(source, secret)
	}
	known.replace(made, source.Generation, secret.ResourceVersion)
	return made, err
}

// entry of a MetricSource, an empty one if it is not known yet.
func (s *sources) entry(uid types.UID) *knownSource {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.known[uid] == nil {
		s.known[uid] = &knownSource{busy: make(chan struct{}, 1)}
	}
	return s.known[uid]
}

// prune drops the clients of MetricSources that are gone.
func (s *sources) prune(ctx context.Context) error {
	list := &v1alpha1.MetricSourceList{}
	if err := s.cached.List(ctx, list); err != nil {
		return fmt.Errorf("cannot list the MetricSources: %w", err)
	}
	s.drop(func(uid types.UID) bool {
		return !slices.ContainsFunc(list.Items, func(m v1alpha1.MetricSource) bool { return m.UID == uid })
	})
	return nil
}

// close drops all clients.
func (s *sources) close() { s.drop(func(types.UID) bool { return true }) }

// drop the clients of some MetricSources.
func (s *sources) drop(which func(types.UID) bool) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for uid, known := range s.known {
		if which(uid) {
			known.replace(nil, 0, "")
			delete(s.known, uid)
		}
	}
}

// secret with the HTTP client configuration of a MetricSource, an empty one where
// it names none.
func (s *sources) secret(ctx context.Context, source *v1alpha1.MetricSource) (*corev1.Secret, error) {
	secret, ref := &corev1.Secret{}, source.Spec.Prometheus.HTTPConfigSecretRef
	if ref == nil {
		return secret, nil
	}
	ctx, cancel := context.WithTimeout(ctx, secretTimeout)
	defer cancel()
	if err := s.live.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: ref.Name}, secret); err != nil {
		return secret, fmt.Errorf("MetricSource %q: cannot read Secret %q in namespace %q: %w", source.Name, ref.Name, s.namespace, err)
	}
	return secret, nil
}

// make a client.
func (s *sources) make(source *v1alpha1.MetricSource, secret *corev1.Secret) (*prometheus.Source, error) {
	config, ok := secret.Data[prometheus.ConfigKey]
	if ref := source.Spec.Prometheus.HTTPConfigSecretRef; ref != nil && !ok {
		return nil, fmt.Errorf("MetricSource %q: Secret %q in namespace %q has no key %s", source.Name, ref.Name, s.namespace, prometheus.ConfigKey)
	}
	made, err := prometheus.New(*source.Spec.Prometheus, config, prometheus.Options{Dial: s.dial})
	if err != nil {
		return nil, fmt.Errorf("MetricSource %q: %w", source.Name, err)
	}
	return made, nil
}

// knownSource is the client of one MetricSource with what it was made from.
type knownSource struct {
	// busy is full while somebody makes the client, or makes sure of it.
	busy chan struct{}

	mutex      sync.Mutex // of what follows, never held across a read
	source     *prometheus.Source
	generation int64
	secret     string // resourceVersion
	// next is when the Secret is to be read again.
	next time.Time
}

// get the client, if it was made from the MetricSource as it is. It is fresh when
// nothing has to be read.
func (k *knownSource) get(source *v1alpha1.MetricSource) (found *prometheus.Source, fresh bool) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.source == nil || k.generation != source.Generation {
		return nil, false
	}
	return k.source, source.Spec.Prometheus.HTTPConfigSecretRef == nil || time.Now().Before(k.next)
}

// begin to make the client or to make sure of it, unless somebody else does; wait
// says to begin after them.
func (k *knownSource) begin(ctx context.Context, wait bool) (bool, error) {
	select {
	case k.busy <- struct{}{}:
		return true, nil
	default:
	}
	if !wait {
		return false, nil
	}
	select {
	case k.busy <- struct{}{}:
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err() // The caller says what was waited for.
	}
}

// end what was begun.
func (k *knownSource) end() { <-k.busy }

// madeFrom tells whether the client was made from a Secret as it is.
func (k *knownSource) madeFrom(secret *corev1.Secret) bool {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return k.secret == secret.ResourceVersion
}

// checkAgain after a time.
func (k *knownSource) checkAgain(after time.Duration) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.next = time.Now().Add(after)
}

// replace the client by another, or by none.
func (k *knownSource) replace(made *prometheus.Source, generation int64, secret string) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if k.source != nil {
		k.source.Close()
	}
	k.source, k.generation, k.secret, k.next = made, generation, secret, time.Now().Add(secretPace)
}
