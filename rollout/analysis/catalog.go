package analysis

import (
	"context"
	"fmt"
	"slices"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/evaluate"
	"github.com/weir-dev/weir/rollout/decide"
)

// Kinds of analysis templates.
const (
	kindTemplate        = "AnalysisTemplate"
	kindClusterTemplate = "ClusterAnalysisTemplate"
)

// Catalog finds the analysis templates of Rollouts, and what is wrong with
// them. It reads from a cache and remembers which templates can be parsed, so
// that a pass over an idle Rollout costs next to nothing. Its methods may be
// called from several goroutines.
type Catalog struct {
	reader client.Reader

	mutex   sync.Mutex
	checked map[types.UID]*checked
}

// checked is what is known of one generation of a template.
type checked struct {
	generation int64
	// wrong with the template itself, and with each set of arguments for it.
	wrong string
	args  map[string]string
}

// maxArgs bounds the sets of arguments that are remembered for a template.
const maxArgs = 256

// NewCatalog makes a Catalog that reads from a cache.
func NewCatalog(reader client.Reader) *Catalog {
	return &Catalog{reader: reader, checked: map[types.UID]*checked{}}
}

// Resolve gives the templates that a Rollout refers to, in its order. What is
// wrong with one is a Problem, and then it is left out.
func (c *Catalog) Resolve(ctx context.Context, rollout *v1alpha1.Rollout) ([]metrics.Template, []decide.Problem, error) {
	if rollout.Spec.Analysis == nil {
		return nil, nil, nil
	}
	var templates []metrics.Template
	var problems []decide.Problem
	for i, ref := range rollout.Spec.Analysis.TemplateRefs {
		template, wrong, err := c.template(ctx, rollout.Namespace, ref)
		switch {
		case err != nil:
			return nil, nil, err
		case wrong != "":
			problems = append(problems, decide.Problem{
				Reason: v1alpha1.ReasonInvalidSpec, Field: fmt.Sprintf("spec.analysis.templateRefs[%d]", i), Message: wrong,
			})
		default:
			templates = append(templates, template)
		}
	}
	return templates, problems, nil
}

// template reads one template and says what is wrong with it, if anything is.
func (c *Catalog) template(ctx context.Context, namespace string, ref v1alpha1.TemplateReference) (template metrics.Template, wrong string, err error) {
	obj, spec, err := c.read(ctx, namespace, ref)
	name := fmt.Sprintf("%s %q", kind(ref), ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return template, name + " does not exist: create it, or correct the name", nil
	case err != nil:
		return template, "", err
	}
	template = metrics.Template{Ref: kind(ref) + "/" + ref.Name, Spec: *spec, Args: map[string]string{}}
	for _, arg := range ref.Args {
		template.Args[arg.Name] = arg.Value
	}
	if wrong := c.parsed(obj, spec); wrong != "" {
		return template, fmt.Sprintf("%s cannot be used: %s", name, wrong), nil
	}
	if wrong := c.fits(obj, spec, template.Args); wrong != "" {
		return template, fmt.Sprintf("%s cannot be used with these args: %s", name, wrong), nil
	}
	source, err := c.SourceProblem(ctx, spec.MetricSourceName)
	if source != "" {
		wrong = name + ": " + source
	}
	return template, wrong, err
}

// read gives a template of either kind.
func (c *Catalog) read(ctx context.Context, namespace string, ref v1alpha1.TemplateReference) (client.Object, *v1alpha1.AnalysisTemplateSpec, error) {
	key := client.ObjectKey{Namespace: namespace, Name: ref.Name}
	obj, spec := client.Object(nil), (*v1alpha1.AnalysisTemplateSpec)(nil)
	if kind(ref) == kindClusterTemplate {
		t := &v1alpha1.ClusterAnalysisTemplate{}
		obj, spec, key.Namespace = t, &t.Spec, ""
	} else {
		t := &v1alpha1.AnalysisTemplate{}
		obj, spec = t, &t.Spec
	}
	if err := c.reader.Get(ctx, key, obj); err != nil {
		return nil, nil, fmt.Errorf("cannot read %s %q: %w", kind(ref), ref.Name, err)
	}
	return obj, spec, nil
}

// known is what is known of a template as it is now. The caller holds the mutex.
func (c *Catalog) known(obj client.Object, spec *v1alpha1.AnalysisTemplateSpec) *checked {
	if known, ok := c.checked[obj.GetUID()]; ok && known.generation == obj.GetGeneration() {
		return known
	}
	known := &checked{
		generation: obj.GetGeneration(),
		wrong:      words(evaluate.Validate(*spec, field.NewPath("spec"))),
		args:       map[string]string{},
	}
	c.checked[obj.GetUID()] = known
	return known
}

// parsed says what is wrong with a template by itself. Each generation of it is
// parsed once.
func (c *Catalog) parsed(obj client.Object, spec *v1alpha1.AnalysisTemplateSpec) string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.known(obj, spec).wrong
}

// fits says what is wrong with the arguments for a template.
func (c *Catalog) fits(obj client.Object, spec *v1alpha1.AnalysisTemplateSpec, args map[string]string) string {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	known := c.known(obj, spec)
	set := fmt.Sprint(args) // Maps are printed in the order of their keys.
	wrong, ok := known.args[set]
	if !ok {
		wrong = words(evaluate.ValidateArgs(*spec, args, field.NewPath("args")))
		if len(known.args) < maxArgs {
			known.args[set] = wrong
		}
	}
	return wrong
}

// words are the errors in one sentence each.
func words(errs field.ErrorList) string {
	if len(errs) == 0 {
		return ""
	}
	return errs.ToAggregate().Error()
}

// SourceProblem says what is wrong with the name of a MetricSource, empty for the
// default one. It is empty when there is such a source.
func (c *Catalog) SourceProblem(ctx context.Context, name string) (string, error) {
	_, wrong, err := FindSource(ctx, c.reader, name)
	return wrong, err
}

// FindSource gives the MetricSource of a name, or for the empty name the default
// one. Where there is none, or several defaults, it says so and what to do.
func FindSource(ctx context.Context, reader client.Reader, name string) (source *v1alpha1.MetricSource, wrong string, err error) {
	if name != "" {
		source = &v1alpha1.MetricSource{}
		err := reader.Get(ctx, client.ObjectKey{Name: name}, source)
		if apierrors.IsNotFound(err) {
			return nil, fmt.Sprintf("MetricSource %q does not exist: create it, or correct metricSourceName", name), nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("cannot read MetricSource %q: %w", name, err)
		}
		return source, "", nil
	}
	list := &v1alpha1.MetricSourceList{}
	if err := reader.List(ctx, list); err != nil {
		return nil, "", fmt.Errorf("cannot list MetricSources: %w", err)
	}
	defaults := slices.DeleteFunc(list.Items, func(s v1alpha1.MetricSource) bool {
		return s.Annotations[v1alpha1.DefaultMetricSourceAnnotation] != "true"
	})
	switch len(defaults) {
	case 1:
		return &defaults[0], "", nil
	case 0:
		return nil, fmt.Sprintf("there is no default MetricSource: name one in metricSourceName, or put annotation %s: \"true\" on one",
			v1alpha1.DefaultMetricSourceAnnotation), nil
	default:
		return nil, fmt.Sprintf("there are %d default MetricSources: leave annotation %s on one of them",
			len(defaults), v1alpha1.DefaultMetricSourceAnnotation), nil
	}
}

// kind of a reference; admission fills it in, but an object may be older.
func kind(ref v1alpha1.TemplateReference) string {
	if ref.Kind == "" {
		return kindTemplate
	}
	return ref.Kind
}
