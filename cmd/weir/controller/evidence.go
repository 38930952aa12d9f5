package controller

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/cmd/weir/egress"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/rollout/analysis"
)

// evidence is everything about metrics: where they are, what asks for them, and
// what says of templates and sources whether they can be used.
type evidence struct {
	sources   *sources
	catalog   *analysis.Catalog
	evaluator *evaluate.Evaluator
}

// newEvidence makes it for as long as the context lives. Metrics servers are mostly Services of the cluster, or
// run beside the controller, so private and loopback addresses are allowed:
// MetricSources belong to the administrators.
func newEvidence(ctx context.Context, mgr manager.Manager, namespace string) evidence {
	guard := egress.New(egress.Options{AllowPrivate: true, AllowLoopback: true})
	s := newSources(mgr.GetCache(), mgr.GetAPIReader(), namespace, guard.DialContext)
	context.AfterFunc(ctx, s.close)
	return evidence{
		sources:   s,
		catalog:   analysis.NewCatalog(mgr.GetCache()),
		evaluator: evaluate.New(s.Source),
	}
}

// addStatuses adds the controllers of the status of templates and sources.
func (e evidence) addStatuses(mgr manager.Manager) error {
	templates := analysis.TemplateStatus{Catalog: e.catalog, Writer: mgr.GetClient()}
	clusterTemplates := templates
	clusterTemplates.Cluster = true
	w := watches{cached: mgr.GetCache()}
	err := builder.ControllerManagedBy(mgr).Named("analysistemplate").
		For(&v1alpha1.AnalysisTemplate{}, builder.WithPredicates(specChanged())).
		Watches(&v1alpha1.MetricSource{}, handler.EnqueueRequestsFromMapFunc(w.templates(&v1alpha1.AnalysisTemplateList{})), builder.WithPredicates(specChanged())).
		Complete(&templates)
	if err == nil {
		err = builder.ControllerManagedBy(mgr).Named("clusteranalysistemplate").
			For(&v1alpha1.ClusterAnalysisTemplate{}, builder.WithPredicates(specChanged())).
			Watches(&v1alpha1.MetricSource{}, handler.EnqueueRequestsFromMapFunc(w.templates(&v1alpha1.ClusterAnalysisTemplateList{})), builder.WithPredicates(specChanged())).
			Complete(&clusterTemplates)
	}
	if err == nil {
		err = builder.ControllerManagedBy(mgr).Named("metricsource").
			For(&v1alpha1.MetricSource{}, builder.WithPredicates(specChanged())).
			Complete(e.sources.pruned(&analysis.SourceStatus{Reader: mgr.GetCache(), Writer: mgr.GetClient(), Prober: e.sources}))
	}
	if err != nil {
		return fmt.Errorf("cannot make the controllers of templates and sources: %w", err)
	}
	return nil
}

// pruned drops the clients of sources that are gone before each pass over one: a
// deletion brings a pass, too.
func (s *sources) pruned(next reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		if err := s.prune(ctx); err != nil {
			return reconcile.Result{}, err
		}
		return next.Reconcile(ctx, request)
	})
}
