package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// statusCommand tells a script, by its exit code, how the newest release went.
func (s *session) statusCommand() *cobra.Command {
	var (
		out     format
		wait    bool
		timeout time.Duration
	)
	c := &cobra.Command{
		Use:   "status NAME [--wait]",
		Short: "Tell how the newest release went",
		Long: `Tell how the newest release went.

Exit codes: 0 the workload runs what it should; 3 the release was rolled back, or
the Rollout cannot go on; 4 the release is under way; 1 any other error.
With --wait it waits for one of the first two, at most as long as --timeout.`,
		Args: takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if wait {
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				defer cancel()
				if r, err = awaitOutcome(ctx, c, r); err != nil {
					return err
				}
			}
			return s.printStatus(r, out)
		},
	}
	c.Flags().VarP(&out, "output", "o", "json or yaml")
	c.Flags().BoolVar(&wait, "wait", false, "wait for the end of the release")
	c.Flags().DurationVar(&timeout, "timeout", time.Hour, "how long to wait at most")
	return c
}

// printStatus prints the state and gives the error that carries the exit code.
func (s *session) printStatus(r *v1alpha1.Rollout, out format) error {
	state, message := readiness(r)
	done, err := printObject(s.out, out, r.Status)
	if err == nil && !done {
		err = s.say("%s: %s\n", state, message)
	}
	if err != nil {
		return err
	}
	switch outcomeOf(r) {
	case outcomeFailed:
		return &ExitCodeError{Code: ExitFailed, Err: fmt.Errorf("rollout %s is %s", r.Name, state)}
	case outcomeWaiting:
		return &ExitCodeError{Code: ExitWaiting, Err: fmt.Errorf("rollout %s is %s and not at its end", r.Name, state)}
	case outcomeDone:
	}
	return nil
}

// awaitOutcome waits until the Rollout is done or failed, and gives its newest
// state also when the time is over before that. A watch that ends is opened
// again from a fresh read.
func awaitOutcome(ctx context.Context, c client.WithWatch, r *v1alpha1.Rollout) (*v1alpha1.Rollout, error) {
	for {
		newest, err := watchOnce(ctx, c, r)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		r = newest
		if outcomeOf(r) != outcomeWaiting || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return r, nil
		}
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("cannot wait for rollout %s: %w", r.Name, err)
		}
	}
}

// watchOnce follows one Rollout until its outcome or the end of the watch, and
// gives the newest object that it saw.
func watchOnce(ctx context.Context, c client.WithWatch, r *v1alpha1.Rollout) (*v1alpha1.Rollout, error) {
	events, err := c.Watch(ctx, &v1alpha1.RolloutList{}, client.InNamespace(r.Namespace),
		client.MatchingFieldsSelector{Selector: fields.OneTermEqualSelector("metadata.name", r.Name)})
	if err != nil {
		return r, fmt.Errorf("cannot watch rollout %s: %w", r.Name, err)
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		seen, ok := event.Object.(*v1alpha1.Rollout)
		if !ok {
			continue
		}
		if event.Type == watch.Deleted {
			return r, fmt.Errorf("rollout %s was deleted", r.Name)
		}
		if r = seen; outcomeOf(r) != outcomeWaiting {
			return r, nil
		}
	}
	return r, nil
}
