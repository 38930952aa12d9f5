package conformance

import (
	"context"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/gatewayapi"
)

const (
	canaryName = stage.Name + "-canary"
	// loadRate in requests a second, and how long each weight is measured.
	loadRate    = 200
	measureTime = 5 * time.Second
	// deviations by which a measured share may differ from its weight: 1 run in
	// some 10,000 fails for no reason.
	deviations = 4.5
)

// errNotYet is the answer of what is waited for.
var errNotYet = errors.New("not yet")

// TestWeightsUnderLoad: through the sandbox's gateway, with three GitOps tools at
// work, no change of weight loses a request, and each weight is what users get.
func TestWeightsUnderLoad(t *testing.T) {
	s, err := harness.Up(t.Context(), "conformance-load", "--no-prometheus", "--nodes=1")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	world, err := stage.NewWorld(t.Context(), s, stage.Options{WithoutController: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := awaitSplit(t.Context(), s, gatewayRoutes{}, gatewayRouteKinds()...); err != nil {
		t.Fatal(err)
	}
	shop, err := world.NewShop(t.Context(), "load", stage.ShopOptions{})
	if err != nil {
		t.Fatal(err)
	}
	openCanary(t, shop)
	run, err := shop.LoadThroughGateway(t.Context(), loadRate)
	if err != nil {
		t.Fatal(err)
	}
	git := conformance.StartGitOps(t, shop.Admin, manifestOf(t, shop))
	git.Round(t)

	c := weir(t, s)
	p := gatewayapi.New(c, c)
	target := providers.Target{
		Namespace: shop.Namespace, Owner: stage.Name, Routes: stage.RouteRefs().RouteRefs,
		Pairs: []providers.Pair{{Stable: stage.Name, Canary: canaryName}},
	}
	for i, weight := range []int32{100, 1000, 5000, 10000, 0} {
		insist(t, func(ctx context.Context) error {
			if weight == 0 {
				return p.Lower(ctx, target, 0, int64(i+1))
			}
			return p.Raise(ctx, target, weight, int64(i+1), nil)
		})
		awaitAccepted(t, p, target, weight)
		measure(t, run, weight)
	}
	insist(t, func(ctx context.Context) error { return p.Restore(ctx, target, 9, nil) })
	git.Round(t)
	log, err := run.Stop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := log.All()
	t.Logf("%d requests, %d lost, %d failed; %+v", all.Total(), all.Lost().Total(), all.Bad().Total(), log.Totals())
	if bad := all.Bad(); bad.Total() > 0 || all.Total() < loadRate*int(measureTime.Seconds()) {
		t.Errorf("of %d requests failed: %v", all.Total(), bad)
	}
}

// openCanary makes a second version with a Service of its own.
func openCanary(t *testing.T, shop *stage.Shop) {
	t.Helper()
	stable, err := shop.Deployment(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var service corev1.Service
	if err := shop.Admin.Get(t.Context(), client.ObjectKeyFromObject(stable), &service); err != nil {
		t.Fatal(err)
	}
	labels := map[string]string{"app": canaryName}
	d := &appsv1.Deployment{Spec: *stable.Spec.DeepCopy()}
	d.Namespace, d.Name = shop.Namespace, canaryName
	d.Spec.Selector.MatchLabels, d.Spec.Template.Labels = labels, labels
	d.Spec.Template.Spec.Containers[0].Env[0].Value = "v2"
	twin := &corev1.Service{Spec: corev1.ServiceSpec{Selector: labels, Ports: service.Spec.Ports}}
	twin.Namespace, twin.Name = shop.Namespace, canaryName
	for _, o := range []client.Object{d, twin} {
		if err := shop.Admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, patience, "the canary to serve", func(ctx context.Context) error {
		return ready(ctx, shop.Admin, d)
	})
}

// ready is an error until all pods of the Deployment are available.
func ready(ctx context.Context, c client.Client, d *appsv1.Deployment) error {
	if err := c.Get(ctx, client.ObjectKeyFromObject(d), d); err != nil {
		return err
	}
	if d.Status.AvailableReplicas != *d.Spec.Replicas {
		return errNotYet
	}
	return nil
}

// manifestOf the shop's route, as a user keeps it in Git.
func manifestOf(t *testing.T, shop *stage.Shop) *unstructured.Unstructured {
	t.Helper()
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(gatewayRoutes{}.groupVersionKind("HTTPRoute"))
	if err := shop.Admin.Get(t.Context(), client.ObjectKey{Namespace: shop.Namespace, Name: stage.Name}, live); err != nil {
		t.Fatal(err)
	}
	out := &unstructured.Unstructured{Object: map[string]any{"spec": live.Object["spec"]}}
	out.SetGroupVersionKind(live.GroupVersionKind())
	out.SetNamespace(live.GetNamespace())
	out.SetName(live.GetName())
	return out
}

// insist repeats what may lose races.
func insist(t *testing.T, call func(context.Context) error) {
	t.Helper()
	harness.Eventually(t, patience, "the provider's write", call)
}

// awaitAccepted waits until the gateway has accepted exactly this weight.
func awaitAccepted(t *testing.T, p providers.Provider, target providers.Target, weight int32) {
	t.Helper()
	harness.Eventually(t, patience, "the gateway to accept "+v1alpha1.FormatWeight(weight), func(ctx context.Context) error {
		o, err := p.Observe(ctx, target, true)
		if err != nil {
			return err
		}
		if !o.Accepted || o.Weight != weight || o.LowestWeight != weight {
			return errNotYet
		}
		return nil
	})
}

// measure what users get for a while.
func measure(t *testing.T, run *stage.Load, weight int32) {
	t.Helper()
	from := time.Now()
	var to time.Time
	harness.Eventually(t, patience, "the time of measuring", func(context.Context) error {
		if to = time.Now(); to.Sub(from) < measureTime {
			return errNotYet
		}
		return nil
	})
	log, err := run.Log(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	share, of := log.DueBetween(from, to).Share("v2")
	low, high := load.ShareBounds(float64(weight)/float64(v1alpha1.FullWeight), of, deviations)
	t.Logf("weight %s: %.2f%% of %d requests", v1alpha1.FormatWeight(weight), 100*share, of)
	if share < low || share > high || of == 0 {
		t.Errorf("weight %s: %.4f of %d requests met the canary, not %.4f to %.4f", v1alpha1.FormatWeight(weight), share, of, low, high)
	}
}
