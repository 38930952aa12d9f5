package cli

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/supervisor"
)

// newSupervise is what `up` starts in the new namespaces. The numbers are file
// descriptors it was given.
func newSupervise() *cobra.Command {
	var dir string
	var lifeline, owner int
	var forwards []string
	cmd := &cobra.Command{
		Use:    "supervise",
		Short:  "Hold a sandbox together (started by up)",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			cfg := supervisor.Config{Dir: dir, Lifeline: os.NewFile(uintptr(lifeline), "lifeline")}
			if owner != 0 {
				cfg.Owner = os.NewFile(uintptr(owner), "owner")
			}
			for _, f := range forwards {
				forward, err := parseForward(f)
				if err != nil {
					return err
				}
				cfg.Forwards = append(cfg.Forwards, forward)
			}
			err := supervisor.Run(cfg)
			if supervisor.IsNoProcMount(err) {
				return &ExitError{Code: supervisor.ExitNoProcMount}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "State directory.")
	f.IntVar(&lifeline, "lifeline", 0, "Pipe whose closing ends an unfinished sandbox.")
	f.IntVar(&owner, "owner", 0, "pidfd of the process whose end ends the sandbox.")
	f.StringArrayVar(&forwards, "forward", nil, "Listener to forward, as ADDRESS=FD.")
	return cmd
}

func parseForward(s string) (supervisor.Forward, error) {
	address, number, _ := strings.Cut(s, "=")
	fd, err := strconv.Atoi(number)
	if err != nil {
		return supervisor.Forward{}, fmt.Errorf("invalid --forward %q: want ADDRESS=FD", s)
	}
	f := os.NewFile(uintptr(fd), address)
	defer func() { _ = f.Close() }()
	l, err := net.FileListener(f)
	if err != nil {
		return supervisor.Forward{}, fmt.Errorf("invalid --forward %q: %w", s, err)
	}
	return supervisor.Forward{Listener: l, Address: address}, nil
}
