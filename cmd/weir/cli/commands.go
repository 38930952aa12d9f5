package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func (s *session) approveCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "approve NAME GATE",
		Short: "Approve a gate of the release under way",
		Args:  takes("NAME", "GATE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.decide(cmd.Context(), args[0], v1alpha1.ActionApprove, args[1], reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (s *session) rejectCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "reject NAME GATE --reason WHY",
		Short: "Reject a gate, which rolls the release back",
		Args:  takes("NAME", "GATE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return errors.New("a rejection needs --reason: those who made the change will read it")
			}
			return s.decide(cmd.Context(), args[0], v1alpha1.ActionReject, args[1], reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for those who made the change")
	return c
}

func (s *session) promoteCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "promote NAME",
		Short: "Skip the steps that are left, with their approvals (a failing analysis still rolls back)",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.decide(cmd.Context(), args[0], v1alpha1.ActionPromote, "", reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (s *session) retryCommand() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use:   "retry NAME",
		Short: "Release the version that was rolled back anew, from the first step",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.decide(cmd.Context(), args[0], v1alpha1.ActionRetry, "", reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	return c
}

func (s *session) abortCommand() *cobra.Command {
	var (
		reason string
		revert bool
	)
	c := &cobra.Command{
		Use:   "abort NAME",
		Short: "Roll the release back; with --revert also take its template out of the workload",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if revert {
				return s.abortAndRevert(cmd.Context(), args[0], reason)
			}
			return s.decide(cmd.Context(), args[0], v1alpha1.ActionAbort, "", reason)
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the record")
	c.Flags().BoolVar(&revert, "revert", false, "write the stable version's template back into the workload")
	return c
}

func (s *session) pauseCommand(pause bool) *cobra.Command {
	verb, short := "pause", "Hold the release where it is (a rollback is never held up)"
	if !pause {
		verb, short = "resume", "Let a paused release go on"
	}
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if r.Spec.Paused == pause {
				return s.say("rollout %s is %s\n", r.Name, map[bool]string{true: "paused already", false: "not paused"}[pause])
			}
			before := r.DeepCopy()
			r.Spec.Paused = pause
			if err := c.Patch(cmd.Context(), r, client.MergeFrom(before)); err != nil {
				return fmt.Errorf("cannot %s rollout %s: %w", verb, r.Name, err)
			}
			return s.say("rollout %s %sd\n", r.Name, verb)
		},
	}
}

// say prints a line for people.
func (s *session) say(text string, args ...any) error {
	_, err := fmt.Fprintf(s.out, text, args...)
	return err
}

// decide records one decision of the caller as an Approval.
func (s *session) decide(ctx context.Context, name string, action v1alpha1.ApprovalAction, gate, reason string) error {
	c, r, err := s.rollout(ctx, name)
	if err != nil {
		return err
	}
	if err := applicable(r, action, gate); err != nil {
		return err
	}
	approval, err := newApproval(ctx, c, r, action, gate, reason)
	if err != nil {
		return err
	}
	if err := c.Create(ctx, approval); err != nil {
		return fmt.Errorf("cannot record the decision as an Approval: %w", err)
	}
	return s.say("%s of %s, release %d (revision %s), recorded as approval %s by %s\n",
		action, describe(r.Name, gate), r.Status.Release.Number, approval.Spec.Revision, approval.Name, approval.Spec.Approver.Username)
}

func describe(name, gate string) string {
	if gate == "" {
		return "rollout " + name
	}
	return "gate " + gate + " of rollout " + name
}

// newApproval makes the Approval of a decision about the newest release, in
// the caller's name.
func newApproval(ctx context.Context, c client.Client, r *v1alpha1.Rollout, action v1alpha1.ApprovalAction, gate, reason string) (*v1alpha1.Approval, error) {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return nil, fmt.Errorf("cannot ask the API server who you are, which an Approval has to say: %w", err)
	}
	return &v1alpha1.Approval{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, GenerateName: r.Name + "-"},
		Spec: v1alpha1.ApprovalSpec{
			TargetRef: v1alpha1.ApprovalTarget{Kind: "Rollout", Name: r.Name, UID: r.UID},
			Release:   r.Status.Release.Number,
			Revision:  releasedRevision(r),
			Action:    action,
			Gate:      gate,
			Reason:    reason,
			Approver:  &v1alpha1.Approver{Username: review.Status.UserInfo.Username},
		},
	}, nil
}

// releasedRevision is the version that the newest release is about.
func releasedRevision(r *v1alpha1.Rollout) string {
	if r.Status.Canary.Revision != "" {
		return r.Status.Canary.Revision
	}
	return r.Status.Release.FailedRevision
}

// applicable says why a decision would have no effect now, before it is made.
func applicable(r *v1alpha1.Rollout, action v1alpha1.ApprovalAction, gate string) error {
	stage := r.Status.Release.Stage
	underWay := stage == v1alpha1.StageProgressing || stage == v1alpha1.StagePromoting
	switch action {
	case v1alpha1.ActionRetry:
		if stage == v1alpha1.StageAborted {
			return nil
		}
		if stage == v1alpha1.StageRollingBack {
			return fmt.Errorf("release %d of rollout %s is still being rolled back: retry when 'kubectl weir status %s --wait' is done", r.Status.Release.Number, r.Name, named(r))
		}
		return fmt.Errorf("the newest release of rollout %s was not rolled back, so there is nothing to retry: a new template starts a release", r.Name)
	case v1alpha1.ActionApprove, v1alpha1.ActionReject:
		if !slices.Contains(approvalGates(r), gate) {
			return fmt.Errorf("rollout %s has no approval gate named %q: %s", r.Name, gate, gatesText(r))
		}
	case v1alpha1.ActionPromote, v1alpha1.ActionAbort:
	}
	if underWay {
		return nil
	}
	return nothingUnderWay(r, strings.ToLower(string(action)))
}

// nothingUnderWay says why there is no release that something could be decided
// about, and what comes next.
func nothingUnderWay(r *v1alpha1.Rollout, verb string) error {
	stage := r.Status.Release.Stage
	if stage == v1alpha1.StageAdopting {
		return fmt.Errorf("release %d of rollout %s has been promoted: to take it back, put the old template into the workload", r.Status.Release.Number, r.Name)
	}
	if stage == v1alpha1.StageRollingBack {
		return fmt.Errorf("release %d of rollout %s is being rolled back, so there is nothing to %s: a newer template is released after that; "+
			"'kubectl weir pause %s' holds it, and another template takes its place", r.Status.Release.Number, r.Name, verb, named(r))
	}
	if r.Spec.Paused {
		return fmt.Errorf("rollout %s is paused with no release under way, so there is nothing to %s: a new template waits for 'kubectl weir resume %s'", r.Name, verb, named(r))
	}
	return fmt.Errorf("rollout %s has no release under way, so there is nothing to %s: 'kubectl weir get %s' shows where it stands", r.Name, verb, named(r))
}

// named is a Rollout as commands take it, from whatever namespace.
func named(r *v1alpha1.Rollout) string { return r.Name + " -n " + r.Namespace }

// approvalGates are the names of the gates that people answer, in their order.
func approvalGates(r *v1alpha1.Rollout) []string {
	var names []string
	for i := range r.Spec.Steps {
		if gates := r.Spec.Steps[i].Gates; gates != nil {
			for j := range gates.Approvals {
				names = append(names, gates.Approvals[j].Name)
			}
		}
	}
	return names
}

// gatesText names the gates that there are.
func gatesText(r *v1alpha1.Rollout) string {
	names := approvalGates(r)
	if len(names) == 0 {
		return "none of its steps asks for approvals"
	}
	return "its gates are " + strings.Join(names, ", ")
}
