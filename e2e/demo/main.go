// Command demo shows Weir at work: a shop under load gets a bad version, which is
// rolled back by its metrics, and then a good one, which is promoted. It counts
// what happened and leaves with 0 only if all of it went as promised.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

const (
	namespace      = "demo"
	scrapeInterval = 2 * time.Second
	shopReplicas   = 5
	// userRate is that of the users' requests, besideRate that of callers beside the
	// route, in requests a second.
	userRate   = 100
	besideRate = 20
	// releaseTimeout bounds each of the two releases.
	releaseTimeout = 5 * time.Minute
)

func main() {
	out := flag.String("out", "", "file for the figures, as JSON")
	keep := flag.Bool("keep", false, "stay up afterwards, until interrupted")
	mesh := flag.String("mesh", "", "istio: split in a caller's sidecar, by Istio's control plane; default: in a gateway")
	flag.Parse()
	at, known := map[string]func() edge{"": gateway, "istio": istio}[*mesh]
	if !known {
		fmt.Fprintf(os.Stderr, "demo: invalid --mesh %q: want istio, or nothing\n", *mesh)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, at(), *out, *keep); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// run shows the demo in a sandbox of its own.
func run(ctx context.Context, at edge, out string, keep bool) (err error) {
	say("starting a Kubernetes control plane, Prometheus and %s on this machine ...", at.parts)
	sandbox, err := harness.Up(ctx, "demo", append(at.flags, "--scrape-interval="+scrapeInterval.String())...)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, sandbox.Down(context.WithoutCancel(ctx)))
	}()
	world, err := stage.NewWorld(ctx, sandbox, at.world)
	if err != nil {
		return err
	}
	shop, err := world.NewShop(ctx, namespace, at.shop)
	if err != nil {
		return err
	}
	summary, err := show(ctx, at, world, shop)
	if err != nil {
		return fmt.Errorf("%w\nthe controller's log:\n%s", err, world.ControllerLog(ctx))
	}
	summary.print(os.Stdout)
	if out != "" {
		if err := summary.write(out); err != nil {
			return err
		}
	}
	if keep {
		err = stay(ctx, at, shop)
	}
	if !summary.kept() {
		err = errors.Join(err, errors.New("not everything went as promised"))
	}
	return err
}

func say(text string, args ...any) { fmt.Printf(text+"\n", args...) }

// show sends the load to the shop and releases two versions.
func show(ctx context.Context, at edge, world *stage.World, shop *stage.Shop) (Summary, error) {
	analysis, err := shop.ErrorsTemplate(ctx)
	if err != nil {
		return Summary{}, err
	}
	users, err := at.open(ctx, shop, userRate)
	if err != nil {
		return Summary{}, err
	}
	err = shop.CreateRollout(ctx, v1alpha1.RolloutSpec{
		Traffic:  at.traffic(),
		Analysis: analysis,
		Steps:    []v1alpha1.Step{stage.Weight(10), stage.Weight(50), stage.Hold(100, "5s")},
	})
	if err != nil {
		return Summary{}, err
	}
	say("the shop serves v1 with %d pods: %d requests a second through %s, %d straight to its Service", shopReplicas, userRate, at.way, besideRate)
	beside, err := shop.LoadBesideRoute(ctx, besideRate)
	if err != nil {
		return Summary{}, err
	}
	say("\nv2 fails 5 percent of its requests; nobody watches but Weir:")
	bad, err := release(ctx, at, shop, 1, "v2", map[string]string{"ERROR_RATE": "0.05"}, stage.RolledBack(1))
	if err != nil {
		return Summary{}, err
	}
	evidence, err := evidenceTime(ctx, world, shop, bad)
	if err != nil {
		return Summary{}, err
	}
	say("\nv3 is good:")
	good, err := release(ctx, at, shop, 2, "v3", nil, stage.Promoted(2))
	if err != nil {
		return Summary{}, err
	}
	usersLog, err := users.Stop(ctx)
	if err != nil {
		return Summary{}, err
	}
	besideLog, err := beside.Stop(ctx)
	if err != nil {
		return Summary{}, err
	}
	return summarize(usersLog, besideLog, bad, good, evidence, scrapeInterval), nil
}

// release writes a new version into the Deployment and follows its release, the
// nth, to its end.
func release(ctx context.Context, at edge, shop *stage.Shop, n int64, version string, env map[string]string, end stage.Condition) (*recording, error) {
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	if err := shop.Release(ctx, version, env); err != nil {
		return nil, err
	}
	rec, err := record(ctx, at, shop, n, version, os.Stdout, end)
	if err != nil {
		return nil, err
	}
	r, err := shop.Rollout(ctx)
	if err != nil {
		return nil, err
	}
	say("%s", folded(stage.Message(r), "  "))
	return rec, nil
}
