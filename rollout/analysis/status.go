package analysis

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Reasons of the Ready condition of templates and sources.
const (
	reasonUsable      = "Usable"
	reasonInvalid     = "InvalidQuery"
	reasonNoSource    = "SourceNotFound"
	reasonAnswering   = "Answering"
	reasonUnreachable = "Unreachable"
)

// Paces of probes of a MetricSource. An outage ends sooner than it begins to
// matter.
const (
	probePace      = time.Minute
	probeRetryPace = 15 * time.Second
	maxMessage     = 512
)

// Prober asks a MetricSource for something that it can always answer.
type Prober interface {
	Probe(ctx context.Context, source *v1alpha1.MetricSource) error
}

// TemplateStatus keeps the status of AnalysisTemplates, or with Cluster of
// ClusterAnalysisTemplates: whether they can be used.
type TemplateStatus struct {
	Catalog *Catalog
	Writer  client.Client
	Cluster bool
}

// Reconcile writes the status of one template if it is not what it should be.
func (s *TemplateStatus) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	ref := v1alpha1.TemplateReference{Kind: kindTemplate, Name: request.Name}
	if s.Cluster {
		ref.Kind = kindClusterTemplate
	}
	obj, spec, err := s.Catalog.read(ctx, request.Namespace, ref)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	ready := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, ObservedGeneration: obj.GetGeneration()}
	wrong, err := s.Catalog.SourceProblem(ctx, spec.MetricSourceName)
	switch unparsed := s.Catalog.parsed(obj, spec); {
	case err != nil:
		return reconcile.Result{}, err
	case unparsed != "":
		ready.Reason, ready.Message = reasonInvalid, unparsed
	case wrong != "":
		ready.Reason, ready.Message = reasonNoSource, wrong
	default:
		ready.Status, ready.Reason, ready.Message = metav1.ConditionTrue, reasonUsable, "every query can be parsed and the source is there"
	}
	changed, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return reconcile.Result{}, fmt.Errorf("cannot copy a %T", obj)
	}
	set(templateStatus(changed), ready)
	if equality.Semantic.DeepEqual(templateStatus(obj), templateStatus(changed)) {
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, writeStatus(ctx, s.Writer, changed)
}

// templateStatus is the status of a template of either kind.
func templateStatus(obj client.Object) *v1alpha1.AnalysisTemplateStatus {
	if t, ok := obj.(*v1alpha1.ClusterAnalysisTemplate); ok {
		return &t.Status
	}
	if t, ok := obj.(*v1alpha1.AnalysisTemplate); ok {
		return &t.Status
	}
	return &v1alpha1.AnalysisTemplateStatus{}
}

// set puts a condition into the status of a template.
func set(status *v1alpha1.AnalysisTemplateStatus, ready metav1.Condition) {
	status.ObservedGeneration = ready.ObservedGeneration
	ready.Message = clip(ready.Message)
	meta.SetStatusCondition(&status.Conditions, ready)
}

// SourceStatus keeps the status of MetricSources: whether they answer.
type SourceStatus struct {
	Reader client.Reader
	Writer client.Client
	Prober Prober
}

// Reconcile asks one source and writes its status if it has changed. It comes
// back by itself, so that an outage shows without a release to suffer from it.
func (s *SourceStatus) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	source := &v1alpha1.MetricSource{}
	switch err := s.Reader.Get(ctx, request.NamespacedName, source); {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, nil
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("cannot read MetricSource %q: %w", request.Name, err)
	}
	ready := metav1.Condition{
		Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: reasonAnswering,
		Message: "answers queries", ObservedGeneration: source.Generation,
	}
	pace := probePace
	if err := s.Prober.Probe(ctx, source); err != nil {
		ready.Status, ready.Reason, ready.Message = metav1.ConditionFalse, reasonUnreachable, clip(err.Error())
		pace = probeRetryPace
	}
	changed := source.DeepCopy()
	changed.Status.ObservedGeneration = source.Generation
	meta.SetStatusCondition(&changed.Status.Conditions, ready)
	if !equality.Semantic.DeepEqual(source.Status, changed.Status) {
		if err := writeStatus(ctx, s.Writer, changed); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{RequeueAfter: pace}, nil
}

// writeStatus by compare-and-swap. Who comes second finds the object changed and
// is called again for it.
func writeStatus(ctx context.Context, writer client.Client, obj client.Object) error {
	if err := writer.Status().Update(ctx, obj); err != nil {
		return fmt.Errorf("cannot write the status of %q: %w", obj.GetName(), err)
	}
	return nil
}

// clip bounds a message.
func clip(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	return message[:maxMessage-3] + "..."
}
