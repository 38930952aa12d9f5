// Package gateway is the sandbox's stand-in for a Gateway API implementation.
package gateway

import (
	"errors"

	"github.com/spf13/cobra"
)

// Command returns the `gateway` command.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "gateway",
		Short: "Run the sandbox's stand-in for a Gateway API implementation",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("cannot route: not built yet") },
	}
}
