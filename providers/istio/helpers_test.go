package istio

import (
	"context"
	"encoding/json"
	"testing"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// targetOf a workload on VirtualService shop, with one Service of the same name.
func targetOf(workload string, rules ...string) providers.Target {
	return providers.Target{
		Namespace: "shop", Owner: workload,
		Routes: []v1alpha1.RouteReference{{Kind: "VirtualService", Name: "shop", RuleNames: rules}},
		Pairs:  []providers.Pair{{Stable: workload, Canary: workload + "-canary"}},
	}
}

// cluster is a fake API server that notes every patch.
type cluster struct {
	client.WithWatch
	patches [][]jsonpatch.Operation
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
			body, err := p.Data(o)
			if err != nil {
				return err
			}
			var ops []jsonpatch.Operation
			if err := json.Unmarshal(body, &ops); err != nil {
				return err
			}
			c.patches = append(c.patches, ops)
			return inner.Patch(ctx, o, p, opts...)
		},
	})
	return c
}

// shop is VirtualService shop as it is.
func (c *cluster) shop(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(dialect{}.Kind().GroupVersionKind)
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "shop"}, u); err != nil {
		t.Fatal(err)
	}
	return u
}

// edited is the VirtualService of testdata/shop.yaml after an edit of its spec.
func edited(t *testing.T, edit func(spec map[string]any)) *unstructured.Unstructured {
	t.Helper()
	u := routetest.Object(t, "shop")
	spec, ok := u.Object["spec"].(map[string]any)
	if !ok {
		t.Fatal("no spec")
	}
	edit(spec)
	return u
}
