package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

func (r *root) newStatus() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the processes of a sandbox",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, _, err := r.client()
			if err != nil {
				return err
			}
			statuses, err := client.Status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(statuses)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 3, ' ', 0)
			_, _ = fmt.Fprintln(w, "NAME\tSTATE\tSTARTS\tAGE\tCPU\tMEMORY\tLOG")
			for _, s := range statuses {
				_, _ = fmt.Fprintln(w, statusLine(s))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "Print JSON.")
	return cmd
}

func statusLine(s control.Status) string {
	state := string(s.State)
	if s.State == control.Exited {
		state = fmt.Sprintf("exited (%d)", s.ExitCode)
	}
	return fmt.Sprintf("%s\t%s\t%d\t%s\t%s\t%d MB\t%s", s.Name, state, s.Starts,
		time.Since(s.Started).Round(time.Second), s.CPU.Round(10*time.Millisecond), s.RSS>>20, s.Log)
}

// programFlags describe a program to run inside the sandbox.
type programFlags struct {
	env  []string
	user string
}

func (p *programFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&p.env, "env", nil, "Environment variable to add, as KEY=VALUE. Repeatable.")
	cmd.Flags().StringVar(&p.user, "user", "admin", "User whose kubeconfig KUBECONFIG names, unless --env sets it.")
}

// process makes a control.Process of a command line. The program sees this
// process's environment and directory.
func (p *programFlags) process(info *cluster.Info, name string, args []string) (control.Process, error) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		return control.Process{}, fmt.Errorf("cannot find the program: %w", err)
	}
	if path, err = filepath.Abs(path); err != nil {
		return control.Process{}, fmt.Errorf("cannot find the program: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return control.Process{}, fmt.Errorf("cannot find the current directory: %w", err)
	}
	kubeconfig := cluster.Kubeconfig(info.Dir, p.user, false)
	if _, err := os.Stat(kubeconfig); err != nil {
		return control.Process{}, fmt.Errorf("no --user %q in the sandbox: %w", p.user, err)
	}
	// Later entries win: --env over the user's kubeconfig over the caller's.
	env := append(os.Environ(), "KUBECONFIG="+kubeconfig)
	return control.Process{Name: name, Path: path, Args: args[1:], Env: append(env, p.env...), Dir: dir}, nil
}

func (r *root) newStart() *cobra.Command {
	var program programFlags
	cmd := &cobra.Command{
		Use:   "start NAME [-- PROGRAM ARGS...]",
		Short: "Start a program inside the sandbox under a name, or a stopped one again",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, info, err := r.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return client.StartAgain(cmd.Context(), args[0])
			}
			p, err := program.process(info, args[0], args[1:])
			if err != nil {
				return err
			}
			return client.Start(cmd.Context(), p)
		},
	}
	program.add(cmd)
	return cmd
}

// newAction makes a command that does one thing to a named process.
func (r *root) newAction(verb, short string, act func(ctx context.Context, c *control.Client, name string) error) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := r.client()
			if err != nil {
				return err
			}
			return act(cmd.Context(), client, args[0])
		},
	}
}

func (r *root) newKill() *cobra.Command {
	return r.newAction("kill", "End a process with SIGKILL",
		func(ctx context.Context, c *control.Client, name string) error { return c.Kill(ctx, name) })
}

func (r *root) newPause() *cobra.Command {
	return r.newAction("pause", "Stop a process in its tracks (SIGSTOP); it keeps its connections and answers nothing",
		func(ctx context.Context, c *control.Client, name string) error { return c.Pause(ctx, name) })
}

func (r *root) newResume() *cobra.Command {
	return r.newAction("resume", "Let a paused process go on (SIGCONT)",
		func(ctx context.Context, c *control.Client, name string) error { return c.Resume(ctx, name) })
}

func (r *root) newStop() *cobra.Command {
	var grace time.Duration
	cmd := r.newAction("stop", "End a process: SIGTERM, then SIGKILL",
		func(ctx context.Context, c *control.Client, name string) error { return c.Stop(ctx, name, grace) })
	addGrace(cmd, &grace)
	return cmd
}

func (r *root) newRestart() *cobra.Command {
	var grace time.Duration
	cmd := r.newAction("restart", "End a process as stop does, and start it again",
		func(ctx context.Context, c *control.Client, name string) error { return c.Restart(ctx, name, grace) })
	addGrace(cmd, &grace)
	return cmd
}

func addGrace(cmd *cobra.Command, grace *time.Duration) {
	cmd.Flags().DurationVar(grace, "grace", control.DefaultGrace, "Time to end after SIGTERM.")
}

func (r *root) newLogs() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:   "logs NAME",
		Short: "Print the log of a process of the sandbox (for pods: sandbox kubectl logs)",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, info, err := r.client()
			if err != nil {
				return err
			}
			f, err := os.Open(filepath.Join(info.Dir, "logs", filepath.Base(args[0])+".log"))
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("no process %q; `sandbox status` lists them", args[0])
			}
			if err != nil {
				return fmt.Errorf("cannot read log: %w", err)
			}
			defer func() { _ = f.Close() }()
			return copyLog(cmd.Context(), cmd.OutOrStdout(), f, follow)
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "Go on as the log grows.")
	return cmd
}
