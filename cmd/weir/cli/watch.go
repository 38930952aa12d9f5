package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// watchInterval is how often the view is drawn.
const watchInterval = time.Second

// watchCommand shows one release live.
func (s *session) watchCommand() *cobra.Command {
	var untilEnd bool
	c := &cobra.Command{
		Use:   "watch NAME",
		Short: "Show a release live: weights, pods, verdict and reasons",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.follow(cmd.Context(), c, client.ObjectKeyFromObject(r), untilEnd)
		},
	}
	c.Flags().BoolVar(&untilEnd, "until-end", false, "leave when the release has ended")
	return c
}

// follow draws the view once a second until the context ends. On a terminal it
// draws over itself; elsewhere it prints a view only when it has changed.
func (s *session) follow(ctx context.Context, c client.Client, key client.ObjectKey, untilEnd bool) error {
	screen := newScreen(s.out)
	var patience patience
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	for {
		view, now, err := liveView(ctx, c, key)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil: // the API server may be away for a moment: say so and go on
			view = err.Error() + "\n"
		}
		if err := screen.draw(view); err != nil {
			return err
		}
		if untilEnd && err == nil && patience.over(now, time.Now()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// liveView reads the Rollout and its ReplicaSets, and draws them.
func liveView(ctx context.Context, c client.Client, key client.ObjectKey) (view string, now standing, err error) {
	if now, err = look(ctx, c, key); err != nil {
		return "", now, err
	}
	pods := map[string]appsv1.ReplicaSetStatus{}
	var sets appsv1.ReplicaSetList
	err = c.List(ctx, &sets, client.InNamespace(key.Namespace), client.HasLabels{appsv1.DefaultDeploymentUniqueLabelKey})
	if apierrors.IsForbidden(err) {
		// Who may not read them, such as an approver, sees what was recorded.
		for _, recorded := range []v1alpha1.RevisionStatus{now.rollout.Status.Stable, now.rollout.Status.Canary} {
			pods[recorded.Revision] = appsv1.ReplicaSetStatus{Replicas: recorded.Replicas, AvailableReplicas: recorded.AvailableReplicas}
		}
	} else if err != nil {
		return "", now, fmt.Errorf("cannot list replica sets: %w", err)
	}
	for i := range sets.Items {
		revision := sets.Items[i].Labels[appsv1.DefaultDeploymentUniqueLabelKey]
		pods[revision] = sets.Items[i].Status
	}
	return drawView(now.rollout, pods, time.Now()), now, nil
}

// drawView is the text of the live view.
func drawView(r *v1alpha1.Rollout, pods map[string]appsv1.ReplicaSetStatus, now time.Time) string {
	var b strings.Builder
	state, message := readiness(r)
	fmt.Fprintf(&b, "%s/%s  %s", r.Namespace, r.Name, state)
	if n := r.Status.Release.Number; n > 0 && state != v1alpha1.ReasonStable {
		fmt.Fprintf(&b, "  release %d  step %s", n, orNone(r.Status.Release.Position))
	}
	fmt.Fprintf(&b, "\n%s\n\n", message)
	revisionLine(&b, "stable", r.Status.Stable.Revision, pods, "")
	if r.Status.Release.Stage.UnderWay() {
		exposure := fmt.Sprintf(", weight %s, measured %s", orNone(r.Status.Exposure.Configured), orNone(r.Status.Exposure.Measured))
		revisionLine(&b, "canary", r.Status.Canary.Revision, pods, exposure)
		fmt.Fprintf(&b, "%s allowed\n", bar(r.Status.Record.DesiredWeight))
		gateLines(&b, gates(r))
	}
	for _, line := range evidence(r) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	if r.Status.WaitingFor != "" {
		fmt.Fprintf(&b, "waiting for %s\n", r.Status.WaitingFor)
	}
	fmt.Fprintf(&b, "%s\n", now.Format(time.TimeOnly))
	return b.String()
}

func revisionLine(b *strings.Builder, role, revision string, pods map[string]appsv1.ReplicaSetStatus, more string) {
	if revision == "" {
		return
	}
	status := pods[revision]
	fmt.Fprintf(b, "%-7s %-12s %d of %d pods available%s\n", role, revision, status.AvailableReplicas, status.Replicas, more)
}

// barWidth is the length of the weight's bar, in characters.
const barWidth = 40

// bar draws the weight of the canary, in parts per 10,000.
func bar(weight int32) string {
	filled := int(weight) * barWidth / int(v1alpha1.FullWeight)
	return "[" + strings.Repeat("#", filled) + strings.Repeat("-", barWidth-filled) + "] " + v1alpha1.FormatWeight(weight)
}

// screen draws views one over the other on a terminal, and one after the other
// elsewhere.
type screen struct {
	out      io.Writer
	terminal bool
	lines    int
	last     string
}

func newScreen(out io.Writer) *screen {
	file, ok := out.(*os.File)
	return &screen{out: out, terminal: ok && term.IsTerminal(int(file.Fd()))}
}

// draw shows a view. The last line of a view is the clock, which alone is no
// reason to print it again.
func (s *screen) draw(view string) error {
	if !s.terminal {
		body := view[:strings.LastIndexByte(strings.TrimRight(view, "\n"), '\n')+1]
		if body == s.last {
			return nil
		}
		s.last = body
		_, err := fmt.Fprintln(s.out, view)
		return err
	}
	var up string
	if s.lines > 0 {
		up = fmt.Sprintf("\x1b[%dA\x1b[J", s.lines)
	}
	s.lines = strings.Count(view, "\n")
	_, err := fmt.Fprint(s.out, up, view)
	return err
}
