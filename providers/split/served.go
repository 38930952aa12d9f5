package split

import (
	"context"
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
)

// Served is the kind in that version of those which Weir knows that a cluster serves:
// the kind's own, or else the first of the older ones. A cluster that serves none gives
// an error for which meta.IsNoMatchError is true.
func (k Kind) Served(mapper meta.RESTMapper) (schema.GroupVersionKind, error) {
	mappings, err := mapper.RESTMappings(k.GroupKind())
	if err != nil && !meta.IsNoMatchError(err) {
		return schema.GroupVersionKind{}, fmt.Errorf("cannot tell whether the cluster serves %s: %w", k.Kind, err)
	}
	for _, version := range k.versions() {
		for _, m := range mappings {
			if m.GroupVersionKind.Version == version {
				return m.GroupVersionKind, nil
			}
		}
	}
	return schema.GroupVersionKind{}, &meta.NoKindMatchError{GroupKind: k.GroupKind(), SearchedVersions: k.versions()}
}

// versions in which the kind is known, the one that is preferred first.
func (k Kind) versions() []string { return append([]string{k.Version}, k.Older...) }

// served is a dialect's kind in the version that the cluster serves. Where it serves
// none it is the dialect's own: whoever asks for that is told.
func (p *Splitter) served(d Dialect) (schema.GroupVersionKind, error) {
	kind := d.Kind()
	if len(kind.Older) == 0 {
		return kind.GroupVersionKind, nil
	}
	gvk, err := kind.Served(p.cached.RESTMapper())
	if meta.IsNoMatchError(err) {
		return kind.GroupVersionKind, nil
	}
	return gvk, err
}

// inServed reads a dialect's kind in the version that the cluster serves. A mapper
// remembers versions that were served once, so that the others are tried where that
// one turns out not to be.
func (p *Splitter) inServed(d Dialect, read func(schema.GroupVersionKind) error) error {
	first, err := p.served(d)
	if err != nil {
		return err
	}
	err = read(first)
	for _, version := range d.Kind().versions() {
		if !unserved(err) {
			break
		}
		if version == first.Version {
			continue
		}
		if other := read(first.GroupKind().WithVersion(version)); !meta.IsNoMatchError(other) {
			err = other
		}
	}
	return err
}

// unserved tells of a "not found" that it is about the version of the kind and not
// about the object, which may be there: the API server has no answer of its own for a
// path that it does not serve.
func unserved(err error) bool {
	return apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse)
}

// Policies of a kind in a namespace, in the first of the versions that the cluster
// serves: those of another version are the same objects. Clusters without the kind
// have none; without the right to list it, none is known.
func Policies(ctx context.Context, live client.Reader, namespace string, kind schema.GroupKind, versions ...string) ([]unstructured.Unstructured, error) {
	for _, version := range versions {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(kind.WithVersion(version).GroupVersion().WithKind(kind.Kind + "List"))
		err := live.List(ctx, list, client.InNamespace(namespace))
		switch {
		case meta.IsNoMatchError(err), apierrors.IsNotFound(err):
			continue
		case apierrors.IsForbidden(err):
			return nil, nil
		case err != nil:
			return nil, fmt.Errorf("cannot list the kind: %w", err)
		}
		return list.Items, nil
	}
	return nil, nil
}

// validation has the API server refuse fields that its schema does not know, rather
// than drop them: a rule without the name by which Weir knows it would stay for good,
// and a mirror without its share would mirror everything. What adds nothing, as every
// lowering, is not to wait for that.
func validation(ops []jsonpatch.Operation) client.FieldValidation {
	for _, op := range ops {
		if _, entry := op.Value.(map[string]any); entry && op.Operation != "test" {
			return "Strict"
		}
	}
	return "Warn"
}

// unknownField makes the error about a field that the API server's schema does not
// know, nil when err is about something else.
func (r *route) unknownField(err error) error {
	if err == nil {
		return nil
	}
	_, rest, found := strings.Cut(err.Error(), `strict decoding error: unknown field "`)
	if !found {
		return nil
	}
	field, _, _ := strings.Cut(rest, `"`)
	kind := r.object.GroupVersionKind()
	return &providers.UnsupportedError{
		Object: r.String(), Field: field,
		Problem: fmt.Sprintf("is no field of %s as this cluster has it in version %s", kind.Kind, kind.Version),
		Remedy:  "take the matches and mirrors that need it out of the steps, or give the cluster newer CRDs",
	}
}
