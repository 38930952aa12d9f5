package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// historyCommand lists how the last releases of one Rollout went.
func (s *session) historyCommand() *cobra.Command {
	var out format
	c := &cobra.Command{
		Use:   "history NAME",
		Short: "List the last releases and how each ended",
		Args:  takes("NAME"),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, r, err := s.rollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if done, err := printObject(s.out, out, r.Status.History); done {
				return err
			}
			if len(r.Status.History) == 0 {
				return s.say("No release of rollout %s has ended yet.\n", r.Name)
			}
			return table(s.out, []string{"RELEASE", "REVISION", "RESULT", "ENDED", "TOOK", "APPROVED BY", "WHY"}, historyRows(r.Status.History, time.Now()))
		},
	}
	c.Flags().VarP(&out, "output", "o", "json or yaml")
	return c
}

// historyRows are the releases, the newest first.
func historyRows(history []v1alpha1.HistoryEntry, now time.Time) [][]string {
	rows := make([][]string, 0, len(history))
	for i := range history {
		h := &history[i]
		var ended, took string
		if h.EndTime != nil {
			ended = age(now, h.EndTime.Time) + " ago"
			if h.StartTime != nil {
				took = age(h.EndTime.Time, h.StartTime.Time)
			}
		}
		rows = append(rows, []string{
			strconv.FormatInt(h.Number, 10), h.Revision, string(h.Result), ended, took, strings.Join(h.Approvers, ", "), h.Message,
		})
	}
	return rows
}
