package load

import (
	"errors"

	"github.com/spf13/cobra"
)

// Command returns the `load` command.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "load",
		Short: "Send HTTP requests at a steady rate and log every response",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("cannot send load: not built yet") },
	}
}
