// Package lint checks manifests of Weir's kinds without a cluster, by the
// schemas and CEL rules of the CRDs themselves: what passes here is what an API
// server admits.
package lint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics/evaluate"
)

// Finding is one thing that is wrong with one object.
type Finding struct {
	// Object as Kind/name.
	Object string `json:"object"`
	// Field in the object, and what is wrong with it.
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Linter checks objects. It is safe for concurrent use.
type Linter struct {
	kinds map[runtimeschema.GroupVersionKind]*kind
}

// kind is what the checks of one kind need.
type kind struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

// New reads the CRDs in the folder of crds.
func New(crds fs.FS) (*Linter, error) {
	files, err := fs.Glob(crds, "*.yaml")
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("cannot find CRDs: %w", errors.Join(err, fs.ErrNotExist))
	}
	l := &Linter{kinds: map[runtimeschema.GroupVersionKind]*kind{}}
	for _, name := range files {
		if err := l.add(crds, name); err != nil {
			return nil, fmt.Errorf("cannot use CRD %s: %w", name, err)
		}
	}
	return l, nil
}

// add reads one CRD with its versions.
func (l *Linter) add(crds fs.FS, name string) error {
	text, err := fs.ReadFile(crds, name)
	if err != nil {
		return err
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &crd); err != nil {
		return err
	}
	for i := range crd.Spec.Versions {
		version := &crd.Spec.Versions[i]
		var props apiextensions.JSONSchemaProps
		if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, &props, nil); err != nil {
			return err
		}
		structural, err := schema.NewStructural(&props)
		if err != nil {
			return err
		}
		schemaValidator, _, err := validation.NewSchemaValidator(&props)
		if err != nil {
			return err
		}
		gvk := runtimeschema.GroupVersionKind{Group: crd.Spec.Group, Version: version.Name, Kind: crd.Spec.Names.Kind}
		l.kinds[gvk] = &kind{
			structural: structural,
			schema:     schemaValidator,
			rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
		}
	}
	return nil
}

// Documents checks every object of Weir's group in a stream of YAML or JSON
// documents, and passes over all others. The error is about the stream.
func (l *Linter) Documents(ctx context.Context, r io.Reader) (findings []Finding, checked int, err error) {
	const bufferSize = 4096
	decoder := utilyaml.NewYAMLOrJSONDecoder(r, bufferSize)
	for {
		var (
			raw    runtime.RawExtension
			object unstructured.Unstructured
		)
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return findings, checked, nil
		}
		if err == nil && len(raw.Raw) > 0 {
			// This decoder keeps whole numbers whole, as the API server does.
			err = json.Unmarshal(raw.Raw, &object.Object)
		}
		if err != nil {
			return findings, checked, fmt.Errorf("cannot read document %d: %w", checked+1, err)
		}
		if object.Object == nil || object.GroupVersionKind().Group != v1alpha1.GroupVersion.Group {
			continue
		}
		checked++
		findings = append(findings, l.object(ctx, &object)...)
	}
}

// object checks one object of Weir's group.
func (l *Linter) object(ctx context.Context, object *unstructured.Unstructured) []Finding {
	name := object.GetKind() + "/" + object.GetName()
	k, ok := l.kinds[object.GroupVersionKind()]
	if !ok {
		return []Finding{{Object: name, Field: "kind", Message: fmt.Sprintf("%q is not a kind of %s: use one of %s",
			object.GetKind(), object.GetAPIVersion(), strings.Join(l.kindsOf(object.GetAPIVersion()), ", "))}}
	}
	var findings []Finding
	unknown := pruning.PruneWithOptions(object.Object, k.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	for _, path := range unknown {
		findings = append(findings, Finding{Object: name, Field: path, Message: "there is no such field: 'kubectl explain " + explained(object, path) + "' lists those that there are"})
	}
	defaulting.Default(object.Object, k.structural)
	errs := validation.ValidateCustomResource(nil, object.Object, k.schema)
	if len(errs) == 0 { // the rules take a valid shape for granted
		ruleErrs, _ := k.rules.Validate(ctx, nil, k.structural, object.Object, nil, math.MaxInt64)
		errs = append(errs, ruleErrs...)
	}
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, k.structural, object.Object)...)
	for _, e := range beyondSchema(object) {
		// A rule of the schema may have said the same about the field, or its list.
		if !slices.ContainsFunc(errs, func(said *field.Error) bool { return strings.HasPrefix(e.Field, said.Field) }) {
			errs = append(errs, e)
		}
	}
	for _, e := range errs {
		findings = append(findings, Finding{Object: name, Field: e.Field, Message: e.ErrorBody()})
	}
	return findings
}

// kindsOf are the kinds of a version, or of all versions when it has none.
func (l *Linter) kindsOf(apiVersion string) []string {
	var names, all []string
	for gvk := range l.kinds {
		if gvk.GroupVersion().String() == apiVersion {
			names = append(names, gvk.Kind)
		}
		all = append(all, gvk.Kind+" of "+gvk.GroupVersion().String())
	}
	if len(names) == 0 {
		names = all
	}
	slices.Sort(names)
	return names
}

// explained is the parent of a field, as kubectl explain wants it.
func explained(object *unstructured.Unstructured, path string) string {
	path = regexp.MustCompile(`\[[^]]*\]`).ReplaceAllString(path, "")
	parent := strings.ToLower(object.GetKind())
	if i := strings.LastIndexByte(path, '.'); i >= 0 {
		parent += "." + path[:i]
	}
	return parent + " --api-version=" + object.GetAPIVersion()
}

// beyondSchema checks what a schema cannot say, as the controller does. What does not
// have the shape of its kind is left out: the schema has said so already.
func beyondSchema(object *unstructured.Unstructured) field.ErrorList {
	read := runtime.DefaultUnstructuredConverter.FromUnstructured
	switch object.GetKind() {
	case "Rollout":
		var r v1alpha1.Rollout
		if read(object.Object, &r) == nil {
			return v1alpha1.ValidateSpec(&r.Spec)
		}
	case "AnalysisTemplate", "ClusterAnalysisTemplate":
		var t v1alpha1.AnalysisTemplate // The other kind has the same spec.
		if read(object.Object, &t) == nil {
			return evaluate.Validate(t.Spec, field.NewPath("spec"))
		}
	}
	return nil
}
