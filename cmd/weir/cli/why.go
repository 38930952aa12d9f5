package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/kubernetes"
)

// whyCommand explains where a release stands.
func (s *session) whyCommand() *cobra.Command {
	var out format
	c := &cobra.Command{
		Use:   "why NAME",
		Short: "Explain what a Rollout waits for, and what would change that",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			e := explain(r, time.Now())
			if err := e.look(cmd.Context(), c, r); err != nil {
				return err
			}
			if done, err := printObject(s.out, out, e); done {
				return err
			}
			return s.say("%s", e.text())
		},
	}
	c.Flags().VarP(&out, "output", "o", "json or yaml")
	return c
}

// look adds what is seen in the cluster now. Who may not read pods, such as an
// approver, gets the rest all the same.
func (e *explanation) look(ctx context.Context, c client.Client, r *v1alpha1.Rollout) error {
	obstacles, err := podObstacles(ctx, c, r)
	split, splitErr := splitByPods(ctx, c, r)
	e.Obstacles, e.Split = obstacles, split
	for _, err := range []error{err, splitErr} {
		switch {
		case apierrors.IsForbidden(err):
			e.Unseen = append(e.Unseen, err.Error())
		case err != nil:
			return err
		}
	}
	return nil
}

// splitByPods says what share of the ready pods behind the workload's Services is
// the canary's, where that is the split: the status counts pods, and the data plane
// follows the EndpointSlices.
func splitByPods(ctx context.Context, c client.Client, r *v1alpha1.Rollout) (string, error) {
	status := &r.Status
	if status.Traffic.Provider != v1alpha1.ProviderKubernetes || !status.Release.Stage.UnderWay() {
		return "", nil
	}
	seen, err := kubernetes.New(c, c).Observe(ctx, providers.Target{
		Namespace: r.Namespace, Owner: r.Name,
		StableRevision: status.Stable.Revision, CanaryRevision: status.Canary.Revision,
	}, true)
	if err != nil {
		return "", fmt.Errorf("cannot tell the canary's share of the pods: %w", err)
	}
	behind := "no Service"
	if len(seen.Services) > 0 {
		behind = "Service " + strings.Join(seen.Services, ", ")
	}
	text := fmt.Sprintf("Behind %s the canary has %s of the ready pods", behind, v1alpha1.FormatWeight(seen.Weight))
	if !seen.Accepted {
		text += "; not all of them get traffic as they should: " + seen.Message
	}
	return text, nil
}

// podObstacles says which pods of the canary do not start, and why.
func podObstacles(ctx context.Context, c client.Client, r *v1alpha1.Rollout) ([]string, error) {
	if r.Status.Canary.Revision == "" || !r.Status.Release.Stage.UnderWay() {
		return nil, nil
	}
	var pods corev1.PodList
	err := c.List(ctx, &pods, client.InNamespace(r.Namespace),
		client.MatchingLabels{appsv1.DefaultDeploymentUniqueLabelKey: r.Status.Canary.Revision})
	if err != nil {
		return nil, fmt.Errorf("cannot list the canary's pods: %w", err)
	}
	var lines []string
	for i := range pods.Items {
		lines = append(lines, obstaclesOf(&pods.Items[i])...)
	}
	return lines, nil
}

// obstaclesOf says why one pod is not ready.
func obstaclesOf(pod *corev1.Pod) []string {
	var lines []string
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
			lines = append(lines, fmt.Sprintf("pod %s: %s: %s", pod.Name, condition.Reason, condition.Message))
		}
	}
	for i := range pod.Status.ContainerStatuses {
		status := &pod.Status.ContainerStatuses[i]
		if waiting := status.State.Waiting; waiting != nil {
			lines = append(lines, fmt.Sprintf("pod %s, container %s: %s %s", pod.Name, status.Name, waiting.Reason, waiting.Message))
		}
		if last := status.LastTerminationState.Terminated; last != nil && status.RestartCount > 0 {
			lines = append(lines, fmt.Sprintf("pod %s, container %s: restarted %d times, last exit code %d (%s)",
				pod.Name, status.Name, status.RestartCount, last.ExitCode, last.Reason))
		}
	}
	return lines
}
