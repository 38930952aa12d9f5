// Command bench measures the controller on bulk pods: many releases at once next
// to plain Deployments that roll the same pods in the same run, and many idle
// Rollouts. docs/figures.md describes the figures.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// Figures are what was measured.
type Figures struct {
	Releases               int            `json:"releases"`
	Replicas               int32          `json:"replicas"`
	DeploymentsSeconds     float64        `json:"deployments_seconds"`
	ReleasesSeconds        float64        `json:"releases_seconds"`
	WallRatioToDeployments float64        `json:"wall_ratio_to_deployments"`
	WritesPerRelease       float64        `json:"writes_per_release"`
	RefusedPerRelease      float64        `json:"refused_writes_per_release"`
	WritesByResource       map[string]int `json:"writes_by_resource"`
	WritesWithRoute        float64        `json:"writes_per_release_with_route"`
	RouteWritesByResource  map[string]int `json:"writes_by_resource_with_route"`
	CPUPerRelease          float64        `json:"cpu_ms_per_release"`
	PeakMemory             float64        `json:"peak_memory_mb"`
	ProgramMemory          float64        `json:"program_memory_mb"`
	IdleRollouts           int            `json:"idle_rollouts"`
	IdleMemory             float64        `json:"idle_memory_mb"`
	IdleWrites             int            `json:"idle_writes_per_minute"`
	IdleCPU                float64        `json:"idle_cpu_seconds_per_minute"`
}

type options struct {
	out            string
	releases, idle int
	parts          []string
	replicas       int
}

// Parts of the benchmark, each in a sandbox of its own.
const (
	partReleases = "releases"
	partRoute    = "route"
	partIdle     = "idle"
)

func main() {
	var o options
	flag.StringVar(&o.out, "out", "", "file for the figures, as JSON")
	flag.IntVar(&o.releases, "releases", 200, "releases at once")
	flag.IntVar(&o.replicas, "replicas", 10, "replicas of each Deployment")
	flag.IntVar(&o.idle, "idle", 5000, "idle Rollouts")
	flag.Func("parts", "what to measure, separated by commas: releases, route, idle; absent: all", func(list string) error {
		o.parts = strings.Split(list, ",")
		for _, name := range o.parts {
			if !slices.Contains([]string{partReleases, partRoute, partIdle}, name) {
				return fmt.Errorf("there is no part %q: use releases, route or idle", name)
			}
		}
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	f := Figures{Releases: o.releases, Replicas: int32(o.replicas), IdleRollouts: o.idle}
	for _, part := range []struct {
		name    string
		flags   []string
		measure func(context.Context, *stage.World, *Figures) error
	}{
		{partReleases, []string{"--bulk-nodes=40", "--no-prometheus", "--no-gateway"}, measureReleases},
		{partRoute, []string{"--no-prometheus"}, measureRoute},
		{partIdle, []string{"--bulk-nodes=60", "--no-prometheus", "--no-gateway"}, measureIdle},
	} {
		if len(o.parts) > 0 && !slices.Contains(o.parts, part.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", part.name)
		if err := inWorld(ctx, "bench-"+part.name, part.flags, &f, part.measure); err != nil {
			// What was measured before took minutes.
			return errors.Join(fmt.Errorf("%s: %w", part.name, err), f.write(os.Stderr))
		}
	}
	if err := f.write(os.Stdout); err != nil {
		return err
	}
	if o.out == "" {
		return nil
	}
	var text bytes.Buffer
	if err := f.write(&text); err != nil {
		return err
	}
	if err := os.WriteFile(o.out, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	return nil
}

// write the figures as JSON.
func (f *Figures) write(to io.Writer) error {
	encoder := json.NewEncoder(to)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(f); err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	return nil
}

// inWorld measures in a sandbox of its own, so that no part inherits the load or
// the memory of another.
func inWorld(ctx context.Context, name string, flags []string, f *Figures, measure func(context.Context, *stage.World, *Figures) error) (err error) {
	sandbox, err := harness.Up(ctx, name, flags...)
	if err != nil {
		return err
	}
	defer func() {
		if downErr := sandbox.Down(context.WithoutCancel(ctx)); err == nil {
			err = downErr
		}
	}()
	world, err := stage.NewWorld(ctx, sandbox, stage.Options{WithoutController: true})
	if err != nil {
		return err
	}
	return measure(ctx, world, f)
}

// measureReleases times plain Deployments, then releases of the same pods.
func measureReleases(ctx context.Context, world *stage.World, f *Figures) error {
	fl := &fleet{world: world, namespace: "bench", size: f.Releases, replicas: f.Replicas}
	if err := fl.create(ctx); err != nil {
		return err
	}
	began := time.Now()
	if err := fl.setImage(ctx, "example.com/app:v2"); err != nil {
		return err
	}
	if err := fl.awaitDeployments(ctx); err != nil {
		return err
	}
	f.DeploymentsSeconds = time.Since(began).Seconds()

	if err := world.StartController(ctx, stage.ControllerName); err != nil {
		return err
	}
	if err := fl.addRollouts(ctx); err != nil {
		return err
	}
	controller, err := findProcess(ctx, world.Sandbox, stage.ControllerName)
	if err != nil {
		return err
	}
	audit := auditReader{path: world.AuditLog}
	if _, err := audit.next(fl.namespace); err != nil {
		return err
	}
	cpuBefore, err := controller.cpu(ctx)
	if err != nil {
		return err
	}
	began = time.Now()
	if err := fl.setImage(ctx, "example.com/app:v3"); err != nil {
		return err
	}
	if err := fl.awaitRollouts(ctx, released); err != nil {
		return err
	}
	f.ReleasesSeconds = time.Since(began).Seconds()
	f.WallRatioToDeployments = f.ReleasesSeconds / f.DeploymentsSeconds
	return f.readController(ctx, controller, cpuBefore, &audit, fl)
}

// released says that the release has ended, its last write included.
func released(r *v1alpha1.Rollout) bool {
	return stage.Promoted(1)(r) && len(r.Finalizers) == 0
}

// readController reads what the releases cost the controller.
func (f *Figures) readController(ctx context.Context, controller process, cpuBefore time.Duration, audit *auditReader, fl *fleet) error {
	cpu, err := controller.cpu(ctx)
	if err != nil {
		return err
	}
	if f.PeakMemory, err = controller.memory(ctx, "VmHWM"); err != nil {
		return err
	}
	if f.ProgramMemory, err = controller.memory(ctx, "RssFile"); err != nil {
		return err
	}
	w, err := audit.next(fl.namespace)
	if err != nil {
		return err
	}
	n := float64(f.Releases)
	f.CPUPerRelease = float64((cpu - cpuBefore).Milliseconds()) / n
	f.WritesPerRelease, f.RefusedPerRelease, f.WritesByResource = float64(w.total())/n, float64(w.refused)/n, w.taken
	return nil
}

// measureRoute counts the writes of one release with a route.
func measureRoute(ctx context.Context, world *stage.World, f *Figures) error {
	if err := world.StartController(ctx, stage.ControllerName); err != nil {
		return err
	}
	shop, err := world.NewShop(ctx, "bench", stage.ShopOptions{Replicas: f.Replicas})
	if err != nil {
		return err
	}
	err = shop.CreateRollout(ctx, v1alpha1.RolloutSpec{
		Traffic: stage.RouteRefs(),
		Steps:   []v1alpha1.Step{stage.Hold(10, "0s"), stage.Hold(50, "0s"), stage.Hold(100, "0s")},
	})
	if err != nil {
		return err
	}
	audit := auditReader{path: world.AuditLog}
	if _, err := audit.next(shop.Namespace); err != nil {
		return err
	}
	if err := shop.Release(ctx, "v2", nil); err != nil {
		return err
	}
	if _, err := shop.Await(ctx, "the release to be promoted", 2*time.Minute, released); err != nil {
		return err
	}
	w, err := audit.next(shop.Namespace)
	if err != nil {
		return err
	}
	f.WritesWithRoute, f.RouteWritesByResource = float64(w.total()), w.taken
	return nil
}

// measureIdle leaves many Rollouts alone for a minute.
func measureIdle(ctx context.Context, world *stage.World, f *Figures) error {
	fl := &fleet{world: world, namespace: "bench", size: f.IdleRollouts, replicas: 1}
	if err := fl.create(ctx); err != nil {
		return err
	}
	if err := world.StartController(ctx, stage.ControllerName); err != nil {
		return err
	}
	if err := fl.addRollouts(ctx); err != nil {
		return err
	}
	if err := pause(ctx, settleTime); err != nil {
		return err
	}
	controller, err := findProcess(ctx, world.Sandbox, stage.ControllerName)
	if err != nil {
		return err
	}
	audit := auditReader{path: world.AuditLog}
	if _, err := audit.next(fl.namespace); err != nil {
		return err
	}
	before, err := controller.cpu(ctx)
	if err != nil {
		return err
	}
	if err := pause(ctx, time.Minute); err != nil {
		return err
	}
	after, err := controller.cpu(ctx)
	if err != nil {
		return err
	}
	w, err := audit.next(fl.namespace)
	if err != nil {
		return err
	}
	f.IdleWrites, f.IdleCPU = w.total()+w.refused, (after - before).Seconds()
	f.IdleMemory, err = controller.memory(ctx, "VmRSS")
	return err
}

// settleTime lets what the creation of the Rollouts caused come to its end.
const settleTime = 30 * time.Second

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
