package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// failureGrace is how long a wait gives the controller to look at a workload
// that is newer than a failure. The failure is believed after that: a rolled
// back workload that was only scaled is answered so, and a failure told late
// costs a retry, while a success told early would cost an outage.
const failureGrace = 10 * time.Second

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
the Rollout cannot go on; 4 the release is under way, or the controller has not
yet looked at the newest workload; 1 any other error.
With --wait it waits for one of the first two, at most as long as --timeout, and says
on the standard error where the release stands. It may
follow 'kubectl apply' at once: the outcome is that of what was applied.`,
		Example: `  kubectl apply -f web.yaml && kubectl weir status web --wait --timeout 30m`,
		Args:    takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var answer standing
			if wait {
				ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
				defer cancel()
				answer, err = awaitOutcome(ctx, c, r, progress(cmd.ErrOrStderr()))
			} else {
				answer, err = standingOf(cmd.Context(), c, r)
			}
			if err != nil {
				return err
			}
			return s.printStatus(answer, out)
		},
	}
	c.Flags().VarP(&out, "output", "o", "json or yaml")
	c.Flags().BoolVar(&wait, "wait", false, "wait for the end of the release")
	c.Flags().DurationVar(&timeout, "timeout", time.Hour, "how long to wait at most")
	return c
}

// printStatus prints the state and gives the error that carries the exit code.
func (s *session) printStatus(answer standing, out format) error {
	r := answer.rollout
	state, message := readiness(r)
	done, err := printObject(s.out, out, r.Status)
	if err == nil && !done {
		err = s.say("%s: %s\n", state, message)
	}
	if err != nil {
		return err
	}
	switch answer.outcome {
	case outcomeFailed:
		return &ExitCodeError{Code: ExitFailed, Err: fmt.Errorf("rollout %s is %s: 'kubectl weir why %s' says what would change that", r.Name, state, r.Name)}
	case outcomeWaiting:
		if answer.behind != "" {
			return &ExitCodeError{Code: ExitWaiting, Err: errors.New(answer.behind)}
		}
		return &ExitCodeError{Code: ExitWaiting, Err: fmt.Errorf("rollout %s is %s and not at its end: 'kubectl weir why %s' says what it waits for", r.Name, state, r.Name)}
	case outcomeDone:
	}
	return nil
}

// standing is where a Rollout stands, as a waiting script wants to know it.
type standing struct {
	rollout *v1alpha1.Rollout
	outcome outcome
	// behind says which workload the status does not answer for yet.
	behind string
}

// standingOf compares the status with the workload as it is now. A status that
// was written for an older template is not the outcome of the newest one.
func standingOf(ctx context.Context, c client.Reader, r *v1alpha1.Rollout) (standing, error) {
	answer := standing{rollout: r, outcome: outcomeOf(r)}
	if answer.outcome == outcomeWaiting {
		return answer, nil
	}
	ref := r.Spec.WorkloadRef
	var workload appsv1.Deployment
	err := c.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: ref.Name}, &workload)
	switch seen := r.Status.Workload; {
	case apierrors.IsNotFound(err), apierrors.IsForbidden(err): // The status is all that there is to go by.
	case err != nil:
		return answer, fmt.Errorf("cannot tell whether rollout %s has seen the newest %s %s: %w", r.Name, ref.Kind, ref.Name, err)
	case seen.UID != workload.UID || seen.ObservedGeneration < workload.Generation:
		answer.behind = fmt.Sprintf("the controller has not looked at generation %d of %s %s yet: if that lasts, see whether it runs",
			workload.Generation, ref.Kind, ref.Name)
		if answer.outcome == outcomeDone {
			answer.outcome = outcomeWaiting
		}
	}
	return answer, nil
}

// patience decides when an outcome is one. It starts anew with every state that is
// none.
type patience struct {
	failedSince time.Time
}

// over says whether there is nothing more to wait for.
func (p *patience) over(answer standing, now time.Time) bool {
	switch {
	case answer.outcome == outcomeWaiting:
		p.failedSince = time.Time{}
		return false
	case answer.behind == "":
		return true
	case p.failedSince.IsZero():
		p.failedSince = now
	}
	return now.Sub(p.failedSince) >= failureGrace
}

// progress prints where a Rollout stands while somebody waits for it, a line for each
// state or wait.
func progress(out io.Writer) func(standing) {
	var said string
	return func(answer standing) {
		r := answer.rollout
		line, _ := readiness(r)
		if wait := r.Status.WaitingFor; wait != "" {
			line += ", waiting for " + wait
		}
		if answer.behind != "" {
			line = answer.behind
		}
		if line != said {
			said = line
			_, _ = fmt.Fprintf(out, "%s: %s\n", r.Name, line) // The outcome is what counts.
		}
	}
}

// awaitOutcome looks once a second until the Rollout is done or failed, and gives
// its newest state also when the time is over before that. An API server that is
// away for a while is waited for.
func awaitOutcome(ctx context.Context, c client.Reader, r *v1alpha1.Rollout, tell func(standing)) (standing, error) {
	var (
		patience patience
		answer   = standing{rollout: r, outcome: outcomeWaiting}
		ticker   = time.NewTicker(watchInterval)
	)
	defer ticker.Stop()
	for {
		newest, err := look(ctx, c, client.ObjectKeyFromObject(r))
		switch {
		case ctx.Err() != nil: // said below
		case err == nil:
			if answer = newest; patience.over(answer, time.Now()) {
				return answer, nil
			}
			tell(answer)
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
			return answer, err
		default:
			answer = standing{rollout: answer.rollout, outcome: outcomeWaiting, behind: err.Error()}
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return answer, nil
			}
			return answer, fmt.Errorf("cannot wait for rollout %s: %w", r.Name, ctx.Err())
		case <-ticker.C:
		}
	}
}

// look reads where a Rollout stands now.
func look(ctx context.Context, c client.Reader, key client.ObjectKey) (standing, error) {
	var r v1alpha1.Rollout
	if err := c.Get(ctx, key, &r); err != nil {
		return standing{}, fmt.Errorf("cannot read rollout %s: %w", key, err)
	}
	return standingOf(ctx, c, &r)
}
