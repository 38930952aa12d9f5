package workload

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/rollout/workload"
)

// TestCache: stripped copies in informers give the same revisions as live
// reads, for every set and at every stage.
func TestCache(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sandbox, 2)
	config, err := w.Config(harness.Weir)
	must(t, err)
	strip := func(obj any) (any, error) { return workload.StripReplicaSet(obj.(*appsv1.ReplicaSet)) }
	informers, err := cache.New(config, cache.Options{
		Scheme: scheme,
		ByObject: map[client.Object]cache.ByObject{
			kind("Deployment"):   {Transform: workload.StripDeployment},
			&appsv1.ReplicaSet{}: {Transform: strip},
		},
		DefaultNamespaces: map[string]cache.Config{w.namespace: {}},
	})
	must(t, err)
	must(t, informers.IndexField(t.Context(), &appsv1.ReplicaSet{}, workload.OwnerIndex, workload.IndexOwners))
	go func() {
		if err := informers.Start(t.Context()); err != nil {
			t.Errorf("informers: %v", err)
		}
	}()
	if !informers.WaitForCacheSync(t.Context()) {
		t.Fatal("the informers do not start")
	}
	cached := workload.New(informers, w.weir, w.weir)
	agree := func(stage string) {
		t.Helper()
		harness.Eventually(t, patience, "agreement "+stage, func(ctx context.Context) error {
			live := w.observe(t)
			got, err := cached.Observe(ctx, w.rollout, []string{"web"}, false)
			if err != nil {
				return err
			}
			if got.Target != live.Target || len(got.Sets) != len(live.Sets) {
				return fmt.Errorf("target %+v with %d sets, live %+v with %d", got.Target, len(got.Sets), live.Target, len(live.Sets))
			}
			for i, set := range got.Sets {
				want := live.Sets[i]
				if set.Revision != want.Revision || set.Hash != want.Hash || set.Owner != want.Owner || set.Size != want.Size || set.Stamp != want.Stamp {
					return fmt.Errorf("set %+v, live %+v", set, want)
				}
			}
			for i, backend := range got.Backends {
				// Whose endpoints they are cannot be told without pods.
				backend.ReadyCanary = live.Backends[i].ReadyCanary
				if backend != live.Backends[i] {
					return fmt.Errorf("backend %+v, live %+v", backend, live.Backends[i])
				}
			}
			return nil
		})
	}
	agree("at rest")
	w.push(t, "v2")
	agree("on a new template")
	revision := w.startRelease(t, 1)
	agree("with a canary")
	w.grow(t, revision, 2)
	w.startAdopting(t)
	w.handOver(t, revision, nil)
	w.awaitComplete(t, 2)
	agree("after the handover")
}

// kind is an unstructured object of a kind of apps/v1.
func kind(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(name))
	return u
}
