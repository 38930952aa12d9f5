package controller

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	ctrlcontroller "sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics/telemetry"
	"github.com/weir-dev/weir/providers/split"
	"github.com/weir-dev/weir/rollout"
	"github.com/weir-dev/weir/rollout/analysis"
	"github.com/weir-dev/weir/rollout/decide"
	"github.com/weir-dev/weir/rollout/pods"
	"github.com/weir-dev/weir/rollout/workload"
)

const (
	// name of the controller: in its lease, its events and its user agent.
	name = "weir"
	// passTimeout bounds one pass, so that an API server that does not answer
	// keeps no worker for ever.
	passTimeout = time.Minute
	// Back-off of passes that failed. The longest is what a Rollout waits for at
	// most when the API server is back.
	minBackoff, maxBackoff = 50 * time.Millisecond, 15 * time.Second
	// Pauses before the controller starts over, and how long it must have run for
	// the next one to be short again.
	minRestart, maxRestart = 500 * time.Millisecond, 5 * time.Second
	settledAfter           = time.Minute
	// routeKindPace is how often is looked for kinds of routes that the cluster
	// did not know at the start.
	routeKindPace = 30 * time.Second
)

// Run runs the controller until the context ends.
//
// A controller that has lost its lease, or cannot reach the API server, starts
// over in the same process. To exit instead would leave the time of its return
// to the back-off of whoever restarts it, which is long after a long outage.
// What is left of its former life is cancelled; and were it not, its writes are
// fenced by the term of the new one.
func Run(ctx context.Context, options Options) error {
	logger := logr.FromSlogHandler(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: options.LogLevel}))
	log.SetLogger(logger)
	klog.SetLogger(logger)
	ctx = log.IntoContext(ctx, logger)

	config, err := restConfig(options)
	if err != nil {
		return err
	}
	ready := &readiness{}
	stop, err := serve(ctx, ready, options)
	if err != nil {
		return err
	}
	defer stop()
	counts, err := telemetry.New(ctrlmetrics.Registry, time.Now)
	if err != nil {
		return fmt.Errorf("cannot register metrics: %w", err)
	}
	process, pause := identity(), minRestart
	for life := 1; ; life++ {
		began := time.Now()
		err := live(ctx, config, counts, ready, process, life, options)
		if ctx.Err() != nil || apierrors.IsForbidden(err) {
			return err // No time brings rights.
		}
		if time.Since(began) > settledAfter {
			pause = minRestart
		}
		logger.Error(err, "The controller stopped and starts over", "after", pause.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(2*pause, maxRestart)
	}
}

// identity of this process. The holder of the lease has it through all its
// lives, so that a life does not wait for the lease of the one before to run out.
func identity() string {
	host, err := os.Hostname()
	if err != nil {
		host = name
	}
	return host + "_" + uuid.NewString()
}

// live is one life of the controller: from its caches to the loss of its lease
// or the end of the context. Each life is a term of its own.
func live(ctx context.Context, config *rest.Config, counts *telemetry.Telemetry, ready *readiness, process string, life int, options Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// First of all, so that an API server that does not answer costs nothing.
	reader, err := client.New(config, client.Options{})
	if err != nil {
		return fmt.Errorf("cannot make a client: %w", err)
	}
	hold, err := holdMode(ctx, reader, options.Hold)
	if err != nil {
		return err
	}
	held, err := newLease(config, process, options)
	if err != nil {
		return err
	}
	mgr, unlabelled, err := newManager(ctx, config, held, options)
	if err != nil {
		return err
	}
	term := fmt.Sprintf("%s.%d", process, life)
	log.FromContext(ctx).Info("Starting", "hold", hold, "term", term, "namespaces", options.Namespaces)
	if err := setUp(ctx, mgr, unlabelled, counts, lifeFacts{term: term, hold: hold, lease: held}, options); err != nil {
		return err
	}
	defer ready.begin(synced(mgr.GetCache()))()
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("the controller stopped: %w", err)
	}
	return nil
}

// restConfig says how to reach the API server.
func restConfig(options Options) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = options.Kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("cannot find the cluster (set --kubeconfig, or run in one): %w", err)
	}
	config.QPS, config.Burst = options.QPS, options.Burst
	config.UserAgent = name
	// Watches would be compressed too, each with buffers of its own. The API
	// server is near, and most of what comes is small or in a compact encoding.
	config.DisableCompression = true
	return config, nil
}

// newScheme has the kinds that are read or written typed.
func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("cannot register kinds: %w", err)
		}
	}
	return scheme, nil
}

// newManager makes the manager, which listens to nothing before it starts, so that
// it can be dropped until then, and beside its cache the one of the Deployments
// without the label: one cache has one selector for each kind.
func newManager(ctx context.Context, config *rest.Config, held *lease, options Options) (manager.Manager, cache.Cache, error) {
	scheme, err := newScheme()
	if err != nil {
		return nil, nil, err
	}
	renew, retry := renewDeadline(options), options.LeaseDuration/7
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                              scheme,
		Logger:                              log.FromContext(ctx),
		Cache:                               cacheOptions(options.Namespaces),
		Client:                              client.Options{Cache: &client.CacheOptions{Unstructured: true}},
		LeaderElection:                      options.LeaderElection,
		LeaderElectionResourceLockInterface: held,
		LeaderElectionReleaseOnCancel:       true, // The process ends right after.
		LeaseDuration:                       &options.LeaseDuration,
		RenewDeadline:                       &renew,
		RetryPeriod:                         &retry,
		Metrics:                             metricsserver.Options{BindAddress: options.MetricsAddress},
		BaseContext:                         func() context.Context { return ctx },
		// The names are taken by the controller's former life, if it had one.
		Controller: ctrlconfig.Controller{SkipNameValidation: ptr.To(true)},
	})
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the manager: %w", err)
	}
	unlabelledOpts := unlabelledOptions(cacheOptions(options.Namespaces))
	unlabelledOpts.Scheme, unlabelledOpts.Mapper, unlabelledOpts.HTTPClient = scheme, mgr.GetRESTMapper(), mgr.GetHTTPClient()
	unlabelled, err := cache.New(config, unlabelledOpts)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make the cache of unlabelled Deployments: %w", err)
	}
	if err := mgr.Add(unlabelled); err != nil {
		return nil, nil, fmt.Errorf("cannot add the cache of unlabelled Deployments: %w", err)
	}
	return mgr, unlabelled, nil
}

// lifeFacts are what one life of the controller knows about itself.
type lifeFacts struct {
	term  string
	hold  v1alpha1.HoldMode
	lease *lease
}

// setUp adds everything that runs to the manager.
func setUp(ctx context.Context, mgr manager.Manager, unlabelled cache.Cache, counts *telemetry.Telemetry, self lifeFacts, options Options) error {
	indexes := mgr.GetFieldIndexer()
	if err := errors.Join(
		indexes.IndexField(ctx, &v1alpha1.Rollout{}, rollout.ReferenceIndex, rollout.IndexReferences),
		indexes.IndexField(ctx, &appsv1.ReplicaSet{}, workload.OwnerIndex, workload.IndexOwners),
	); err != nil {
		return fmt.Errorf("cannot index the caches: %w", err)
	}
	direct, err := client.NewWithWatch(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return fmt.Errorf("cannot make the client for pods: %w", err)
	}

	call := &trigger{}
	evidence := newEvidence(ctx, mgr, options.Namespace)
	watcher := pods.New(direct, call.call)
	runner := analysis.New(evidence.evaluator, evidence.sources.measure, watcher, counts, call.call)
	deployments := workload.New(mgr.GetCache(), mgr.GetAPIReader(), mgr.GetClient())
	routes, err := newRouter(mgr, options)
	if err != nil {
		return err
	}
	reconciler := &rollout.Reconciler{
		Decide:    decide.Decide,
		Cached:    mgr.GetCache(),
		Live:      mgr.GetAPIReader(),
		Writer:    mgr.GetClient(),
		Workload:  deployments,
		Warner:    deployments,
		Cleaner:   deployments,
		Routes:    routes,
		Splits:    routes,
		Templates: evidence.catalog,
		Analyses:  runner,
		Pods:      watcher,
		Events:    mgr.GetEventRecorder(name),
		Telemetry: counts,
		Hold:      self.hold,
		Term:      self.term,
		Now:       time.Now,
	}
	passes := reconcile.Reconciler(reconciler)
	if options.LeaderElection {
		passes = whileHeld(self.lease, reconciler)
	}
	if err := addRollouts(ctx, mgr, unlabelled, call, passes, routes.Kinds(), options); err != nil {
		return err
	}
	return errors.Join(mgr.Add(watcher), mgr.Add(runner), evidence.addStatuses(mgr))
}

// addRollouts adds the controller of Rollouts.
func addRollouts(ctx context.Context, mgr manager.Manager, unlabelled cache.Cache, call *trigger, reconciler reconcile.Reconciler, routes []split.Kind, options Options) error {
	c, err := ctrlcontroller.New("rollout", mgr, ctrlcontroller.Options{
		Reconciler:              reconciler,
		MaxConcurrentReconciles: options.Concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](minBackoff, maxBackoff),
		ReconciliationTimeout:   passTimeout,
		EnableWarmup:            ptr.To(true),
	})
	if err != nil {
		return fmt.Errorf("cannot make the controller: %w", err)
	}
	w := watches{cached: mgr.GetCache()}
	for _, s := range append(w.sources(mgr.GetCache(), unlabelled), call) {
		if err := c.Watch(s); err != nil {
			return fmt.Errorf("cannot watch: %w", err)
		}
	}
	waiting, err := w.watchRoutes(ctx, mgr, c, routes)
	if err != nil || len(waiting) == 0 {
		return err
	}
	log.FromContext(ctx).Info("The cluster does not know all kinds of routes yet, looking for them again", "every", routeKindPace.String())
	err = mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		w.watchRoutesLater(ctx, mgr, c, waiting)
		return nil
	}))
	if err != nil {
		return fmt.Errorf("cannot look for kinds of routes: %w", err)
	}
	return nil
}

// watchRoutesLater watches kinds of routes when the cluster comes to know them.
func (w watches) watchRoutesLater(ctx context.Context, mgr manager.Manager, c ctrlcontroller.Controller, waiting []split.Kind) {
	ticker := time.NewTicker(routeKindPace)
	defer ticker.Stop()
	for len(waiting) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		left, err := w.watchRoutes(ctx, mgr, c, waiting)
		if err != nil {
			log.FromContext(ctx).Error(err, "Cannot look for kinds of routes, trying again")
			continue
		}
		waiting = left
	}
}

// watchRoutes watches those kinds of routes that the cluster knows, in the version in
// which they are read, and gives the others.
func (w watches) watchRoutes(ctx context.Context, mgr manager.Manager, c ctrlcontroller.Controller, kinds []split.Kind) ([]split.Kind, error) {
	var unknown []split.Kind
	for _, kind := range kinds {
		gvk, err := kind.Served(mgr.GetRESTMapper())
		switch {
		case meta.IsNoMatchError(err):
			unknown = append(unknown, kind)
			continue
		case err != nil:
			return nil, err
		}
		route := &unstructured.Unstructured{}
		route.SetGroupVersionKind(gvk)
		if err := c.Watch(source.Kind[client.Object](mgr.GetCache(), route, handler.EnqueueRequestsFromMapFunc(w.byRoute(gvk.Kind)))); err != nil {
			return nil, fmt.Errorf("cannot watch %s: %w", gvk.Kind, err)
		}
		log.FromContext(ctx).V(1).Info("Watching routes", "kind", gvk.Kind, "version", gvk.Version)
	}
	return unknown, nil
}
