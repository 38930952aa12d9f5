package install

import (
	"context"
	"errors"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// TestUninstall: whoever uninstalls the chart while versions are held ships none of
// them and loses no request; idle workloads are plain ones; and who installs it again
// goes on where it was.
func TestUninstall(t *testing.T) {
	s, err := harness.Up(t.Context(), "uninstall", "--no-prometheus")
	must(t, err)
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	w, err := stage.NewWorld(t.Context(), s, stage.Options{})
	must(t, err)
	shops := map[string]*stage.Shop{}
	for _, name := range []string{"releasing", "failed", "idle"} {
		shop, err := w.NewShop(t.Context(), name, stage.ShopOptions{})
		must(t, err)
		must(t, shop.CreateRollout(t.Context(), v1alpha1.RolloutSpec{
			Traffic: stage.RouteRefs(), Steps: []v1alpha1.Step{stage.Hold(50, "1h"), stage.Hold(100, "1s")},
		}))
		shops[name] = shop
	}
	releasing, failed, idle := shops["releasing"], shops["failed"], shops["idle"]
	load, err := releasing.LoadThroughGateway(t.Context(), 40)
	must(t, err)
	for _, shop := range []*stage.Shop{releasing, failed} {
		must(t, shop.Release(t.Context(), "v2", nil))
		await(t, shop, "the first step", stage.AtStep(0))
	}
	run(t, failed, "abort", stage.Name)
	await(t, failed, "the rollback", stage.InState(v1alpha1.ReasonRolledBack))

	_, err = w.Run(t.Context(), "stop", stage.ControllerName)
	must(t, err)
	must(t, chart.Uninstall(t.Context(), w.Admin, nil))

	harness.Eventually(t, patience, "the API server to know no hold any more", func(ctx context.Context) error {
		d, err := idle.Deployment(ctx)
		if err != nil {
			return err
		}
		d.Spec.Template.Annotations["weir.dev/probe"] = "true"
		if err := w.Admin.Update(ctx, d, client.DryRunAll); err != nil {
			return err
		}
		if d.Spec.Paused {
			return errors.New("it pauses a new template")
		}
		return nil
	})
	// The Deployment's controller has seen all there is once it has rolled this one.
	must(t, idle.Release(t.Context(), "v2", nil))
	must(t, idle.AwaitDeployment(t.Context(), "the native roll of an idle workload", func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration == d.Generation && d.Status.UpdatedReplicas == 4 && d.Status.Replicas == 4 && d.Status.AvailableReplicas == 4
	}))
	for name, shop := range map[string]*stage.Shop{"releasing": releasing, "failed": failed} {
		d, err := shop.Deployment(t.Context())
		must(t, err)
		if !d.Spec.Paused || d.Status.UpdatedReplicas != 0 || d.Status.AvailableReplicas < 4 {
			t.Errorf("the held version of %s ships after the uninstallation: paused %t, %+v", name, d.Spec.Paused, d.Status)
		}
	}

	must(t, chart.Install(t.Context(), w.Admin, chart.InstallOptions{WithoutController: true}))
	must(t, w.StartController(t.Context(), "weir-again"))
	run(t, releasing, "promote", stage.Name)
	await(t, releasing, "the promotion of the release that was under way", stage.Promoted(1))
	await(t, idle, "the version that rolled meanwhile to be stable", func(r *v1alpha1.Rollout) bool {
		return stage.State(r) == v1alpha1.ReasonStable && r.Status.Release.Number == 0
	})
	// As the documentation says: Rollouts go first, then the chart.
	for name, shop := range shops {
		deleteRollout(t, shop)
		must(t, shop.AwaitDeployment(t.Context(), name+" to be a plain workload", func(d *appsv1.Deployment) bool {
			return !d.Spec.Paused && d.Labels[v1alpha1.RolloutLabel] == "" && d.Status.UpdatedReplicas == 4 && d.Status.Replicas == 4
		}))
	}
	must(t, chart.Uninstall(t.Context(), w.Admin, nil))
	images := map[string]string{}
	for name, shop := range shops {
		d, err := shop.Deployment(t.Context())
		must(t, err)
		images[name] = d.Spec.Template.Spec.Containers[0].Image
	}
	if images["failed"] != "weir.dev/shop:v1" || images["releasing"] != "weir.dev/shop:v2" {
		t.Errorf("after all, the workloads run %v", images)
	}
	log, err := load.Stop(t.Context())
	must(t, err)
	if all := log.All(); all.Bad().Total() > 0 || all.Total() == 0 {
		t.Errorf("of %d requests these ended badly: %+v", all.Total(), all.Bad())
	}
}
