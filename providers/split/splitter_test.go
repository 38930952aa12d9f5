package split

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// ledger is a target over two routes, as in a service with HTTP and gRPC.
func ledger() providers.Target {
	return providers.Target{
		Namespace: "shop", Owner: "ledger",
		Routes: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "ledger-http"}, {Kind: "GRPCRoute", Name: "ledger-grpc"}},
		Pairs:  []providers.Pair{{Stable: "ledger", Canary: "ledger-canary"}},
	}
}

// simpleRoute with one rule to the Service.
func simpleRoute(kind, name, service string) *unstructured.Unstructured {
	u := object(plain(kind))
	u.SetName(name)
	u.SetNamespace("shop")
	u.SetGeneration(1)
	u.SetResourceVersion("1")
	u.Object["spec"] = map[string]any{
		"parentRefs": []any{map[string]any{"name": "edge"}},
		"rules": []any{map[string]any{"backendRefs": []any{
			map[string]any{"group": "", "kind": "Service", "name": service, "port": int64(80), "weight": int64(1)},
		}}},
	}
	return u
}

// cluster is a fake API server that notes every patch as "Kind/name weights".
type cluster struct {
	client.WithWatch
	writes []string
	// before runs ahead of each patch, to stand for other writers.
	before func(c client.Client, name string)
}

func newCluster(t *testing.T, objects ...*unstructured.Unstructured) *cluster {
	t.Helper()
	b := fake.NewClientBuilder()
	for _, o := range objects {
		b.WithObjects(o)
	}
	c := &cluster{}
	c.WithWatch = interceptor.NewClient(b.Build(), interceptor.Funcs{
		Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if c.before != nil {
				c.before(inner, o.GetName())
			}
			if err := inner.Patch(ctx, o, p, opts...); err != nil {
				return err
			}
			c.writes = append(c.writes, fmt.Sprintf("%s %s", o.GetName(), weights(o.(*unstructured.Unstructured))))
			return nil
		},
	})
	return c
}

// weights of the first rule, as text.
func weights(u *unstructured.Unstructured) string {
	var out []string
	for _, b := range plain(u.GetKind()).Rules(u)[0].Backends {
		out = append(out, fmt.Sprint(b.Weight))
	}
	return strings.Join(out, "/")
}

func TestRaiseLowersFirst(t *testing.T) {
	target := ledger()
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
	p := newSplitter(c, c)
	grpc := target
	grpc.Routes = target.Routes[1:]
	if err := p.Raise(t.Context(), grpc, 5000, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Raise(t.Context(), target, 2500, 2, nil); err != nil {
		t.Fatal(err)
	}
	if err := p.Lower(t.Context(), target, 100, 3); err != nil {
		t.Fatal(err)
	}
	if err := p.Restore(t.Context(), target, 4, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"ledger-grpc 50/50", "ledger-grpc 75/25", "ledger-http 75/25", "ledger-http 99/1", "ledger-grpc 99/1", "ledger-http 1", "ledger-grpc 1"}
	if diff := cmp.Diff(want, c.writes); diff != "" {
		t.Errorf("all are lowered before any is raised (-want +got):\n%s", diff)
	}
}

func TestFenced(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[:1]
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"))
	p := newSplitter(c, c)
	if err := p.Raise(t.Context(), target, 500, 9, nil); err != nil {
		t.Fatal(err)
	}
	calls := map[string]func() error{
		"Lower":   func() error { return p.Lower(t.Context(), target, 0, 8) },
		"Raise":   func() error { return p.Raise(t.Context(), target, 5000, 8, nil) },
		"Restore": func() error { return p.Restore(t.Context(), target, 8, nil) },
	}
	for name, call := range calls {
		if err := call(); !errors.Is(err, providers.ErrFenced) {
			t.Errorf("%s with an older stamp: error is %v, want ErrFenced", name, err)
		}
	}
	other := target
	other.Owner, other.Pairs = "someone", []providers.Pair{{Stable: "else", Canary: "else-canary"}}
	if err := p.Lower(t.Context(), other, 0, 1); err != nil {
		t.Errorf("stamps are each owner's own: %v", err)
	}
	if diff := cmp.Diff([]string{"ledger-http 95/5", "ledger-http 95/5"}, c.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

// TestConflicts: a write that loses to another is decided anew, on what is there.
func TestConflicts(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[:1]
	rewrite := func(c client.Client) {
		u := object(plain("HTTPRoute"))
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "ledger-http"}, u); err != nil {
			t.Error(err)
		}
		u.SetLabels(map[string]string{"version": u.GetResourceVersion()})
		if err := c.Update(t.Context(), u); err != nil {
			t.Error(err)
		}
	}
	cases := map[string]struct {
		reason string
		times  int
		writes []string
		fails  bool
	}{
		"Once":   {"the second try succeeds", 1, []string{"ledger-http 95/5"}, false},
		"Always": {"in the end the caller is told", maxConflicts, nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"))
			n := 0
			c.before = func(c client.Client, _ string) {
				if n++; n <= tc.times {
					rewrite(c)
				}
			}
			err := newSplitter(c, c).Raise(t.Context(), target, 500, 1, nil)
			if apierrors.IsConflict(err) != tc.fails || !tc.fails && err != nil {
				t.Errorf("\n%s\nerror is %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.writes, c.writes); diff != "" {
				t.Errorf("\n%s\nwrites (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestUndone: a write that something undoes at once does not go on for ever.
func TestUndone(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[:1]
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"))
	undo := interceptor.NewClient(c.WithWatch, interceptor.Funcs{
		Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, _ client.Patch, _ ...client.PatchOption) error {
			return inner.Get(ctx, client.ObjectKeyFromObject(o), o)
		},
	})
	if err := newSplitter(undo, c).Raise(t.Context(), target, 500, 1, nil); err == nil {
		t.Error("no write ever took, and nobody was told")
	}
}

// TestLowerGoesOn: one route that cannot be written keeps no other exposed.
func TestLowerGoesOn(t *testing.T) {
	target := ledger()
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
	p := newSplitter(c, c)
	if err := p.Raise(t.Context(), target, 5000, 1, nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), simpleRoute("HTTPRoute", "ledger-http", "ledger")); err != nil {
		t.Fatal(err)
	}
	c.writes = nil
	err := p.Lower(t.Context(), target, 0, 2)
	var missing *providers.NotFoundError
	if !errors.As(err, &missing) {
		t.Errorf("error is %v, want a *NotFoundError", err)
	}
	if diff := cmp.Diff([]string{"ledger-grpc 1/0"}, c.writes); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
	if err := p.Restore(t.Context(), target, 3, nil); err != nil {
		t.Errorf("a route that is gone needs no restoring: %v", err)
	}
}

// TestPatchIsFieldsOnly: a patch names single fields, never a whole rule.
func TestPatchIsFieldsOnly(t *testing.T) {
	patches, _ := run(t, shop(t), cart, raising(500, 1))
	for _, ops := range patches {
		for _, op := range ops {
			if strings.HasPrefix(op.Path, "/spec") && strings.Count(op.Path, "/") < 4 {
				t.Errorf("%s replaces more than an entry", text(t, op))
			}
		}
	}
}

func text(t *testing.T, op jsonpatch.Operation) string {
	t.Helper()
	b, err := json.Marshal(&op)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestErrors: what the API server answers becomes what the contract says.
func TestErrors(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[:1]
	unknown := ledger()
	unknown.Routes = []v1alpha1.RouteReference{{Kind: "TLSRoute", Name: "ledger"}}
	broken := errors.New("no route to host")
	cases := map[string]struct {
		reason string
		target providers.Target
		get    error
		patch  error
		is     func(error) bool
	}{
		"NoKind": {
			reason: "a cluster without the CRDs is told apart from a missing route",
			target: target, get: &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: gatewayv1.GroupName, Kind: "HTTPRoute"}},
			is: func(err error) bool { var u *providers.UnsupportedError; return errors.As(err, &u) },
		},
		"UnknownKind": {
			reason: "a kind that the provider does not split is refused",
			target: unknown,
			is:     func(err error) bool { var u *providers.UnsupportedError; return errors.As(err, &u) },
		},
		"Unreachable": {
			reason: "an API server that cannot be asked says nothing of the route",
			target: target, get: broken,
			is: func(err error) bool { return errors.Is(err, broken) && !isAbout(err) },
		},
		"Invalid": {
			reason: "a write that the API server finds invalid is no conflict, and is not repeated",
			target: target, patch: apierrors.NewInvalid(schema.GroupKind{Kind: "HTTPRoute"}, "ledger-http", nil),
			is: func(err error) bool { return apierrors.IsInvalid(err) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"))
			faulty := interceptor.NewClient(c.WithWatch, interceptor.Funcs{
				Get: func(ctx context.Context, inner client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if tc.get != nil {
						return tc.get
					}
					return inner.Get(ctx, key, o, opts...)
				},
				Patch: func(ctx context.Context, inner client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
					if tc.patch != nil {
						return tc.patch
					}
					return inner.Patch(ctx, o, p, opts...)
				},
			})
			if err := newSplitter(faulty, faulty).Raise(t.Context(), tc.target, 500, 1, nil); !tc.is(err) {
				t.Errorf("\n%s\nerror is %v", tc.reason, err)
			}
		})
	}
}
