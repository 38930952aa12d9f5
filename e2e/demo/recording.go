package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/stage"
)

// settle is left out at both ends of a step's count: responses that were on
// their way when the weight changed belong to neither.
const settle = 300 * time.Millisecond

// progressDeadline of the shop's Rollout, which names none.
const progressDeadline = 10 * time.Minute

// interval is a time at one weight of the route, verified.
type interval struct {
	weight     int32
	start, end time.Time
}

// recording is one release as it was seen from outside.
type recording struct {
	// number of the release.
	number            int64
	version, revision string
	// started is the time at which the release began, by its own status.
	started time.Time
	// seen are the canary's pods that there ever were, by name.
	seen map[string]corev1.Pod
	// began is when the template was written, zero when the route's weight was
	// first 0 after it had been more, adopted when the handover was recorded.
	began, zero, adopted time.Time
	intervals            []interval
	// canary pods just before the promotion, and how many of them it lost.
	pods     []corev1.Pod
	podsLost int
}

// recorder watches a shop during a release and tells what it sees.
type recorder struct {
	edge edge
	shop *stage.Shop
	out  io.Writer
	rec  *recording
	// weight in the route now, open since verified.
	weight int32
	last   string
}

// row of the table that a recorder prints, after the time.
const row = "%-18s  %-4s  %-6s  %-8s  %-12s  %s"

// record follows release n until done holds for the Rollout.
func record(ctx context.Context, at edge, shop *stage.Shop, n int64, version string, out io.Writer, done stage.Condition) (*recording, error) {
	r := &recorder{edge: at, shop: shop, out: out, rec: &recording{number: n, version: version, began: time.Now(), seen: map[string]corev1.Pod{}}}
	r.print("", "state", "step", "weight", "measured", "verdict", "waiting for")
	routes, rollouts, err := r.watch(ctx)
	if err != nil {
		return nil, err
	}
	defer routes.Stop()
	defer rollouts.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot wait for the end of release %s: %w", version, ctx.Err())
		case event, ok := <-routes.ResultChan():
			if !ok {
				return nil, fmt.Errorf("the watch of the route ended during release %s", version)
			}
			if route, ok := event.Object.(*unstructured.Unstructured); ok {
				r.routeIs(r.edge.canaryWeight(route), time.Now())
			}
		case event, ok := <-rollouts.ResultChan():
			if !ok {
				return nil, fmt.Errorf("the watch of the Rollout ended during release %s", version)
			}
			if ended, err := r.event(ctx, event, done); err != nil {
				return nil, err
			} else if ended {
				return r.rec, r.countLost(ctx)
			}
		}
	}
}

// watch opens the watches of the route and of the Rollout.
func (r *recorder) watch(ctx context.Context) (routes, rollouts watch.Interface, err error) {
	own := client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", stage.Name)}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(r.edge.kind)
	routes, err = r.shop.Admin.Watch(ctx, list, client.InNamespace(r.shop.Namespace), own)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot watch the route: %w", err)
	}
	rollouts, err = r.shop.Admin.Watch(ctx, &v1alpha1.RolloutList{}, client.InNamespace(r.shop.Namespace), own)
	if err != nil {
		routes.Stop()
		return nil, nil, fmt.Errorf("cannot watch the Rollout: %w", err)
	}
	return routes, rollouts, nil
}

// event notes a change of the Rollout, and says whether it ends the release.
func (r *recorder) event(ctx context.Context, event watch.Event, done stage.Condition) (ended bool, err error) {
	rollout, ok := event.Object.(*v1alpha1.Rollout)
	if !ok {
		return false, nil
	}
	if err := r.rolloutIs(ctx, rollout, time.Now()); err != nil {
		return false, err
	}
	return done(rollout), nil
}

// routeIs notes the weight of the route.
func (r *recorder) routeIs(weight int32, now time.Time) {
	if weight == r.weight {
		return
	}
	r.closeInterval(now)
	if weight == 0 && r.rec.zero.IsZero() {
		r.rec.zero = now
	}
	r.weight = weight
}

// rolloutIs notes where the release stands, and prints it when it is news.
func (r *recorder) rolloutIs(ctx context.Context, rollout *v1alpha1.Rollout, now time.Time) error {
	release := &rollout.Status.Release
	if release.Number < r.rec.number {
		return nil // the end of the release before
	}
	if release.VerifiedAt != nil && r.weight > 0 && !r.open() {
		r.rec.intervals = append(r.rec.intervals, interval{weight: r.weight, start: now})
	}
	if err := r.seePods(ctx, rollout, now); err != nil {
		return err
	}
	exposure := &rollout.Status.Exposure
	r.print(fmt.Sprintf("%.1f s", now.Sub(r.rec.began).Seconds()), stage.State(rollout), release.Position,
		exposure.Configured, exposure.Measured, string(rollout.Status.Analysis.Verdict), rollout.Status.WaitingFor)
	return nil
}

// print prints a row of the table, when it is news.
func (r *recorder) print(at string, columns ...any) {
	if line := strings.TrimRight(fmt.Sprintf(row, columns...), " "); line != r.last {
		r.last = line
		fmt.Fprintf(r.out, "  %7s  %s\n", at, line)
	}
}

// seePods notes the canary's pods while the release is under way, and those
// that are handed over.
func (r *recorder) seePods(ctx context.Context, rollout *v1alpha1.Rollout, now time.Time) error {
	release := &rollout.Status.Release
	switch release.Stage {
	case v1alpha1.StageProgressing, v1alpha1.StagePromoting, v1alpha1.StageAdopting:
	default:
		return nil
	}
	pods, err := r.shop.Pods(ctx, rollout.Status.Canary.Revision)
	if err != nil {
		return err
	}
	r.rec.revision = rollout.Status.Canary.Revision
	if release.StartTime != nil {
		r.rec.started = release.StartTime.Time
	}
	for i := range pods {
		r.rec.seen[pods[i].Name] = pods[i]
	}
	if release.Stage == v1alpha1.StageAdopting && r.rec.adopted.IsZero() {
		// The deadline dates the record; the news of it may come later than the
		// first request that it lets through.
		if d := release.Deadline; d != nil {
			now = d.Add(-progressDeadline)
		}
		r.rec.adopted, r.rec.pods = now, pods
	}
	return nil
}

// open says whether an interval has begun and not ended.
func (r *recorder) open() bool {
	n := len(r.rec.intervals)
	return n > 0 && r.rec.intervals[n-1].end.IsZero()
}

func (r *recorder) closeInterval(now time.Time) {
	if r.open() {
		r.rec.intervals[len(r.rec.intervals)-1].end = now
	}
}

// countLost counts the canary's pods that did not survive the promotion as they
// were.
func (r *recorder) countLost(ctx context.Context) error {
	if len(r.rec.pods) == 0 {
		return nil
	}
	var now corev1.PodList
	if err := r.shop.Admin.List(ctx, &now, client.InNamespace(r.shop.Namespace)); err != nil {
		return fmt.Errorf("cannot list pods: %w", err)
	}
	for i := range r.rec.pods {
		before := &r.rec.pods[i]
		survived := slices.ContainsFunc(now.Items, func(p corev1.Pod) bool {
			return p.UID == before.UID && p.DeletionTimestamp == nil && restarts(&p) == restarts(before)
		})
		if !survived {
			r.rec.podsLost++
		}
	}
	return nil
}

func restarts(p *corev1.Pod) (n int32) {
	for i := range p.Status.ContainerStatuses {
		n += p.Status.ContainerStatuses[i].RestartCount
	}
	return n
}

// measure counts the share of users at each step.
func (r *recording) measure(log *load.Log) []Step {
	var steps []Step
	for _, i := range r.intervals {
		start, end := i.start.Add(settle), i.end.Add(-settle)
		if !end.After(start) {
			continue
		}
		counts := log.DueBetween(start, end)
		share, of := counts.Share(r.version)
		if of == 0 {
			continue
		}
		asked := float64(i.weight) / float64(v1alpha1.FullWeight)
		low, high := load.ShareBounds(asked, of, deviations)
		steps = append(steps, Step{
			Release: r.version, Weight: asked * 100, Measured: share * 100, Requests: of,
			WithinBinomialError: share >= low && share <= high,
		})
	}
	return steps
}
