// Package cli is the command line of the sandbox.
package cli

import (
	"fmt"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// New returns the root command. The given commands are those of parts that run
// inside a sandbox; they are added as they are.
func New(parts ...*cobra.Command) *cobra.Command {
	r := &root{}
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "A real Kubernetes control plane on one machine, without containers",
		Long: "A sandbox is a Kubernetes cluster whose control plane is real (etcd, API server, controllers, scheduler,\n" +
			"kube-proxy), whose pods are processes on addresses of their own, and whose network is a namespace that\n" +
			"nothing else can see. It needs Linux and no daemon, no image, no root.",
		SilenceUsage:  true,
		SilenceErrors: true,
		// So that --name works before `kubectl`, which takes all flags after it.
		TraverseChildren: true,
	}
	cmd.PersistentFlags().StringVar(&r.name, "name", "weir", "Name of the sandbox. Several can be up at a time.")
	cmd.AddCommand(
		r.newUp(), r.newDown(), r.newStatus(),
		r.newStart(), r.newStop(), r.newKill(), r.newPause(), r.newResume(), r.newRestart(),
		r.newLogs(), r.newExec(), r.newKubectl(), r.newForward(),
		newSupervise(),
	)
	cmd.AddCommand(parts...)
	return cmd
}

// root holds what all commands share.
type root struct{ name string }

// client returns a client for the named sandbox, which must be up.
func (r *root) client() (*control.Client, *cluster.Info, error) {
	info, err := cluster.Load(r.name)
	if err != nil {
		return nil, nil, err
	}
	return control.NewClient(info.Dir), info, nil
}

// ExitError carries the exit code of a program that was run to the end of ours.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// replace runs another program in place of this process.
func replace(path string, args, env []string) error {
	if err := syscall.Exec(path, append([]string{path}, args...), env); err != nil { //nolint:gosec // running what the user names is its purpose
		return fmt.Errorf("cannot run %s: %w", path, err)
	}
	return nil
}
