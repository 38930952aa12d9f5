package prometheus

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/promql"
)

const (
	// DefaultTimeout of a query, and of the wait for its turn.
	DefaultTimeout = 10 * time.Second
	// DefaultConcurrency is how many queries run at a time.
	DefaultConcurrency = 8
	// DefaultMaxBytes of an answer.
	DefaultMaxBytes = 16 << 20

	// namesPerQuery, of pods or Services, and timePerQuery bound one query; more are asked in several.
	namesPerQuery = 100
	timePerQuery  = 2 * time.Hour
	// maxSamples bounds the samples of one question, in all its queries.
	maxSamples = 1_000_000
	// staleAfter is how old the newest sample of a namespace may be at a look.
	staleAfter = 2 * time.Minute

	defaultPodLabel       = "pod"
	defaultNamespaceLabel = "namespace"
)

// Options of a Source.
type Options struct {
	// Dial opens every connection of the source, those to the token server of
	// OAuth2 among them. It must be set: it is where addresses are checked.
	Dial Dial
	// Timeout of a query. Zero means DefaultTimeout.
	Timeout time.Duration
	// Concurrency is how many queries run at a time. Zero means
	// DefaultConcurrency.
	Concurrency int
	// MaxBytes of an answer. Zero means DefaultMaxBytes.
	MaxBytes int64
}

// Source is a server with the query API of Prometheus. It implements
// metrics.Source and is safe for use by several goroutines.
type Source struct {
	spec    v1alpha1.PrometheusSource
	timeout time.Duration
	gate    *gate
	api     promv1.API
	closer  http.RoundTripper
}

var _ metrics.Source = &Source{}

// New makes a Source. httpConfig is the content of the Secret's ConfigKey,
// empty without a Secret. Nothing is asked yet. Errors name the field.
func New(spec v1alpha1.PrometheusSource, httpConfig []byte, options Options) (*Source, error) {
	if options.Dial == nil {
		return nil, errors.New("cannot make a Prometheus source without a dialer that checks addresses")
	}
	if err := checkURL(spec.URL); err != nil {
		return nil, fmt.Errorf("spec.prometheus.url: %w", err)
	}
	if r := spec.RequestsByService; r != nil {
		if _, err := promql.ParseSelector(string(r.Total)); err != nil {
			return nil, fmt.Errorf("spec.prometheus.requestsByService.total: %w", err)
		}
	}
	cfg, err := parseHTTPConfig(httpConfig)
	if err != nil {
		return nil, fmt.Errorf("spec.prometheus.httpConfigSecretRef: %w", err)
	}
	options = withDefaults(options)
	transport, err := newTransport(cfg, options.Dial, options.Timeout, options.MaxBytes)
	if err != nil {
		return nil, fmt.Errorf("spec.prometheus.httpConfigSecretRef: %w", err)
	}
	client, err := api.NewClient(api.Config{Address: spec.URL, RoundTripper: transport})
	if err != nil {
		return nil, fmt.Errorf("spec.prometheus.url: %w", err)
	}
	if spec.PodLabel == "" {
		spec.PodLabel = defaultPodLabel
	}
	if spec.NamespaceLabel == "" {
		spec.NamespaceLabel = defaultNamespaceLabel
	}
	return &Source{
		spec: spec, timeout: options.Timeout,
		gate: newGate(options.Concurrency), api: promv1.NewAPI(client), closer: transport,
	}, nil
}

// withDefaults fills in what is zero.
func withDefaults(o Options) Options {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Concurrency == 0 {
		o.Concurrency = DefaultConcurrency
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	return o
}

// checkURL refuses an address that is not a plain http or https URL.
func checkURL(raw string) error {
	parsed, err := url.Parse(raw)
	switch {
	case err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https":
		return errors.New("it must be an http or https URL such as http://prometheus.monitoring:9090")
	case parsed.User != nil:
		return errors.New("credentials do not belong into the URL: put basic_auth into the Secret of httpConfigSecretRef")
	case parsed.RawQuery != "" || parsed.Fragment != "":
		return errors.New("it may have no query and no fragment")
	}
	return nil
}

// Close closes the idle connections.
func (s *Source) Close() {
	closeIdle(s.closer)
}

// Check asks the server the least that it must know: to compute one.
func (s *Source) Check(ctx context.Context) error {
	value, err := s.instant(ctx, "", "1", time.Time{})
	if err != nil {
		return err
	}
	if scalar, ok := value.(*model.Scalar); !ok || scalar.Value != 1 {
		return &metrics.Error{Failure: metrics.SourceUnavailable, Message: "the source computes something else than 1 for 1"}
	}
	return nil
}

// Values implements metrics.Source.
func (s *Source) Values(ctx context.Context, namespace, query string, looks metrics.Looks) ([]metrics.Value, error) {
	looks.Start = looks.Start.Truncate(time.Millisecond)
	answer, err := s.at(ctx, namespace, query, looks)
	if err != nil {
		return nil, err
	}
	newest, err := s.newest(ctx, namespace, looks)
	if err != nil {
		return nil, err
	}
	values := make([]metrics.Value, looks.Count)
	for i := range values {
		at := looks.Start.Add(time.Duration(i) * looks.Step)
		values[i] = one(answer[at.UnixMilli()])
		values[i].Time = at
		// Without any sample of the namespace nobody can say how old they are.
		if len(newest) > 0 && values[i].Missing == "" && !fresh(newest[at.UnixMilli()], at) {
			values[i] = metrics.Value{Time: at, Missing: metrics.StaleData}
		}
	}
	return values, nil
}

// newest is, at each look, the time of the newest scrape in the namespace. An
// expression carries the last sample along for minutes, which hides that none
// has come since.
func (s *Source) newest(ctx context.Context, namespace string, looks metrics.Looks) (map[int64][]float64, error) {
	up, err := promql.ParseSelector("up")
	if err != nil {
		return nil, badQuery(err)
	}
	query := fmt.Sprintf("max(timestamp(%s))", up.With(s.spec.NamespaceLabel, namespace))
	return s.at(ctx, namespace, query, looks)
}

// fresh tells whether the newest scrape at a look is new enough.
func fresh(newest []float64, at time.Time) bool {
	v := one(newest)
	return v.Missing == "" && float64(at.UnixMilli())/1000-v.Value <= staleAfter.Seconds()
}

// Counters implements metrics.Source.
func (s *Source) Counters(ctx context.Context, selector v1alpha1.Selector, owners metrics.Owners, start, end time.Time) ([]metrics.Series, error) {
	if owners.Label == "" {
		owners.Label, owners.NamespaceLabel = s.spec.PodLabel, s.spec.NamespaceLabel
	}
	parsed, err := promql.ParseSelector(string(selector))
	if err != nil {
		return nil, badQuery(err)
	}
	parsed = parsed.With(owners.NamespaceLabel, owners.Namespace)
	var all []metrics.Series
	budget := maxSamples
	for chunk := range slices.Chunk(owners.Names, namesPerQuery) {
		series, err := s.raw(ctx, owners.Namespace, parsed.With(owners.Label, chunk...), start, end, &budget)
		if err != nil {
			return nil, err
		}
		all = append(all, series...)
	}
	for i := range all {
		all[i].Owner = all[i].Labels[owners.Label]
	}
	return all, nil
}

// RequestsByService implements metrics.Source.
func (s *Source) RequestsByService(ctx context.Context, namespace string, services []string, start, end time.Time) ([]metrics.Series, bool, error) {
	requests := s.spec.RequestsByService
	if requests == nil || len(services) == 0 {
		return nil, false, nil
	}
	series, err := s.Counters(ctx, requests.Total, metrics.Owners{
		Namespace: namespace, Names: services, Label: requests.ServiceLabel, NamespaceLabel: requests.NamespaceLabel,
	}, start, end)
	return series, true, err
}

// raw reads the samples of a selector after start up to end, in several queries
// when that is long, and takes them from the budget.
func (s *Source) raw(ctx context.Context, namespace string, selector promql.Selector, start, end time.Time, budget *int) ([]metrics.Series, error) {
	series := newCollection()
	// The API counts in milliseconds.
	start, end = start.Truncate(time.Millisecond), end.Truncate(time.Millisecond)
	for from := start; from.Before(end); {
		to := end
		if to.Sub(from) > timePerQuery {
			to = from.Add(timePerQuery)
		}
		value, err := s.instant(ctx, namespace, selector.Range(to.Sub(from)), to)
		if err != nil {
			return nil, err
		}
		matrix, ok := value.(model.Matrix)
		if !ok {
			return nil, misunderstood(value)
		}
		if *budget -= series.add(matrix, from, to); *budget < 0 {
			return nil, &metrics.Error{
				Failure: metrics.AnswerTooLarge,
				Message: fmt.Sprintf("%s has more than %d samples: select fewer series", selector, maxSamples),
			}
		}
		from = to
	}
	return series.list, nil
}

// instant asks for the value of a query at a time, now when it is zero.
func (s *Source) instant(ctx context.Context, namespace, query string, at time.Time) (model.Value, error) {
	return s.ask(ctx, namespace, func(ctx context.Context) (model.Value, promv1.Warnings, error) {
		value, warnings, _, err := s.api.Query(ctx, query, at)
		return value, warnings, err //nolint:wrapcheck // ask translates it.
	})
}

// at asks for the values of a query at looks: all values of each, by the time in
// milliseconds.
func (s *Source) at(ctx context.Context, namespace, query string, looks metrics.Looks) (map[int64][]float64, error) {
	end := looks.Start.Add(time.Duration(looks.Count-1) * looks.Step)
	value, err := s.ask(ctx, namespace, func(ctx context.Context) (model.Value, promv1.Warnings, error) {
		value, warnings, _, err := s.api.QueryRange(ctx, query, promv1.Range{Start: looks.Start, End: end, Step: looks.Step})
		return value, warnings, err //nolint:wrapcheck // ask translates it.
	})
	if err != nil {
		return nil, err
	}
	matrix, ok := value.(model.Matrix)
	if !ok {
		return nil, misunderstood(value)
	}
	return byTime(matrix), nil
}

// ask makes a query when its turn has come, in bounded time.
func (s *Source) ask(ctx context.Context, namespace string, query func(context.Context) (model.Value, promv1.Warnings, error)) (model.Value, error) {
	wait, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	if err := s.gate.enter(wait, namespace); err != nil {
		return nil, s.translate(ctx, err)
	}
	defer s.gate.leave()
	run, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	value, warnings, err := query(run)
	if err != nil {
		return nil, s.translate(ctx, err)
	}
	if err := partial(warnings); err != nil {
		return nil, err
	}
	return value, nil
}
