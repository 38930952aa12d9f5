package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// getCommand lists Rollouts.
func (s *session) getCommand() *cobra.Command {
	var (
		out format
		all bool
	)
	c := &cobra.Command{
		Use:   "get [NAME...]",
		Short: "List Rollouts and where their releases stand",
		RunE: func(cmd *cobra.Command, names []string) error {
			return s.get(cmd.Context(), names, all, out)
		},
	}
	c.Flags().VarP(&out, "output", "o", "json, yaml or wide")
	c.Flags().BoolVarP(&all, "all-namespaces", "A", false, "list those of all namespaces")
	return c
}

func (s *session) get(ctx context.Context, names []string, all bool, out format) error {
	c, namespace, err := s.connect()
	if err != nil {
		return err
	}
	if all {
		namespace = ""
	}
	var list v1alpha1.RolloutList
	if err := c.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return cannot("list rollouts", err)
	}
	if len(names) > 0 {
		list.Items = slices.DeleteFunc(list.Items, func(r v1alpha1.Rollout) bool { return !slices.Contains(names, r.Name) })
		if err := allFound(names, list.Items, namespace); err != nil {
			return err
		}
	}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("RolloutList"))
	if done, err := printObject(s.out, out, list); done {
		return err
	}
	if len(list.Items) == 0 {
		where := "in any namespace"
		if namespace != "" {
			where = fmt.Sprintf("in namespace %q: add -A for all namespaces", namespace)
		}
		return s.say("No rollouts %s.\n", where)
	}
	header, rows := rolloutTable(list.Items, all, out == formatWide, time.Now())
	return table(s.out, header, rows)
}

// allFound says which of the names no Rollout has.
func allFound(names []string, items []v1alpha1.Rollout, namespace string) error {
	var missing []string
	for _, name := range names {
		found := slices.ContainsFunc(items, func(r v1alpha1.Rollout) bool { return r.Name == name })
		if !found && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	where := fmt.Sprintf("in namespace %q", namespace)
	if namespace == "" {
		where = "in any namespace"
	}
	return fmt.Errorf("no rollout %s %s: 'kubectl weir get -A' lists all", strings.Join(missing, ", "), where)
}

// rolloutTable has the columns of `kubectl get rollouts`.
func rolloutTable(items []v1alpha1.Rollout, namespaces, wide bool, now time.Time) (header []string, rows [][]string) {
	header = []string{"NAME", "STATUS", "STEP", "WEIGHT", "MEASURED", "VERDICT", "WAITING FOR", "AGE"}
	if namespaces {
		header = append([]string{"NAMESPACE"}, header...)
	}
	if wide {
		header = append(header, "WORKLOAD", "STABLE", "CANARY", "MESSAGE")
	}
	for i := range items {
		r := &items[i]
		reason, message := readiness(r)
		row := []string{
			r.Name, reason, r.Status.Release.Position, r.Status.Exposure.Configured, r.Status.Exposure.Measured,
			string(r.Status.Analysis.Verdict), r.Status.WaitingFor, age(now, r.CreationTimestamp.Time),
		}
		if namespaces {
			row = append([]string{r.Namespace}, row...)
		}
		if wide {
			row = append(row, r.Spec.WorkloadRef.Name, r.Status.Stable.Revision, r.Status.Canary.Revision, message)
		}
		rows = append(rows, row)
	}
	return header, rows
}

// readiness is the state that people read: reason and message of Ready.
func readiness(r *v1alpha1.Rollout) (reason, message string) {
	ready := meta.FindStatusCondition(r.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return "Unknown", "The controller has not looked at this Rollout yet: see whether it runs, and works in this namespace."
	}
	return ready.Reason, ready.Message
}
