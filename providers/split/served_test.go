package split

import (
	"context"
	"errors"
	"slices"
	"testing"

	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/providers"
)

// TestServed: of the versions that a cluster serves the one that is preferred.
func TestServed(t *testing.T) {
	kind := Kind{GroupVersionKind: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Route"}, Older: []string{"v1beta1", "v1alpha2"}}
	cases := map[string]struct {
		reason   string
		versions []string // that the cluster serves
		want     string   // empty for none
	}{
		"Both":   {"the newest", []string{"v1beta1", "v1"}, "v1"},
		"Older":  {"there is no other", []string{"v1alpha2"}, "v1alpha2"},
		"Newer":  {"what Weir does not know counts for nothing", []string{"v2", "v1beta1"}, "v1beta1"},
		"Others": {"nor is there anything else", []string{"v2"}, ""},
		"None":   {"the cluster does not have the kind", nil, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var mapper meta.MultiRESTMapper
			for _, v := range tc.versions {
				served := schema.GroupVersion{Group: kind.Group, Version: v}
				one := meta.NewDefaultRESTMapper([]schema.GroupVersion{served})
				one.Add(served.WithKind(kind.Kind), meta.RESTScopeNamespace)
				mapper = append(mapper, one)
			}
			got, err := kind.Served(mapper)
			if got.Version != tc.want || meta.IsNoMatchError(err) != (tc.want == "") {
				t.Errorf("%s: got %q and error %v, want %q", tc.reason, got.Version, err, tc.want)
			}
		})
	}
	broken := errors.New("no route to host")
	if _, err := kind.Served(faulty{err: broken}); !errors.Is(err, broken) {
		t.Errorf("not to know is not to be without: error is %v", err)
	}
}

// TestNoLongerServed: a version that is not served any more says nothing of the route,
// which is there in another one.
func TestNoLongerServed(t *testing.T) {
	gone := map[string]bool{"v1": true}
	asked := []string{}
	p := New(mapped{mapper: faulty{err: &meta.NoKindMatchError{}}}, nil)
	kind := Kind{GroupVersionKind: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Route"}, Older: []string{"v1beta1"}}
	read := func(gvk schema.GroupVersionKind) error {
		asked = append(asked, gvk.Version)
		if gone[gvk.Version] {
			return apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{}, "web", "404 page not found", 0, true)
		}
		return nil
	}
	if err := p.inServed(kindOnly{kind: kind}, read); err != nil || !slices.Equal(asked, []string{"v1", "v1beta1"}) {
		t.Errorf("asked in %v, error %v: want the route in v1beta1", asked, err)
	}
	gone["v1beta1"] = true
	if err := p.inServed(kindOnly{kind: kind}, read); !apierrors.IsNotFound(err) {
		t.Errorf("without any version there is no route: error %v", err)
	}
	missing := apierrors.NewNotFound(schema.GroupResource{}, "web")
	asked = nil
	err := p.inServed(kindOnly{kind: kind}, func(gvk schema.GroupVersionKind) error {
		asked = append(asked, gvk.Version)
		return missing
	})
	if !errors.Is(err, missing) || len(asked) != 1 {
		t.Errorf("of a route that is not there the first word counts: asked in %v, error %v", asked, err)
	}
}

// kindOnly is a dialect of which the kind alone is asked.
type kindOnly struct {
	Dialect
	kind Kind
}

func (k kindOnly) Kind() Kind { return k.kind }

// mapped is a client of which the mapper alone is asked.
type mapped struct {
	client.Client
	mapper meta.RESTMapper
}

func (m mapped) RESTMapper() meta.RESTMapper { return m.mapper }

// faulty is a mapper that cannot ask the cluster.
type faulty struct {
	meta.RESTMapper
	err error
}

func (f faulty) RESTMappings(schema.GroupKind, ...string) ([]*meta.RESTMapping, error) {
	return nil, f.err
}

// TestUnknownField: what the API server's schema does not know is refused, and said to
// be no conflict. The conformance suite has a real API server say it.
func TestUnknownField(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[:1]
	refusal := apierrors.NewInvalid(schema.GroupKind{}, "", field.ErrorList{
		field.Invalid(field.NewPath("patch"), "{...}", `strict decoding error: unknown field "spec.rules[1].name"`),
	})
	patches := 0
	c := interceptor.NewClient(newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger")).WithWatch, interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			patches++
			return refusal
		},
	})
	err := newSplitter(c, c).Raise(t.Context(), target, 500, 1, nil)
	var unsupported *providers.UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Field != "spec.rules[1].name" || patches != 1 {
		t.Errorf("after %d patches the error is %v", patches, err)
	}
}

// TestValidation: only what adds an entry waits for the API server to know its fields.
func TestValidation(t *testing.T) {
	entry := map[string]any{"name": "web"}
	cases := map[string]struct {
		op   jsonpatch.Operation
		want client.FieldValidation
	}{
		"Add":     {jsonpatch.NewOperation("add", "/spec/rules/-", entry), "Strict"},
		"Replace": {jsonpatch.NewOperation("replace", "/spec/rules/0", entry), "Strict"},
		"Test":    {jsonpatch.NewOperation("test", "/spec/rules/0/filters/0", entry), "Warn"},
		"Weight":  {jsonpatch.NewOperation("add", "/spec/rules/0/backendRefs/0/weight", int64(5)), "Warn"},
		"Remove":  {jsonpatch.NewOperation("remove", "/spec/rules/0", nil), "Warn"},
	}
	for name, tc := range cases {
		if got := validation([]jsonpatch.Operation{tc.op}); got != tc.want {
			t.Errorf("%s: got %s, want %s", name, got, tc.want)
		}
	}
}
