package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/supervisor"
)

// copyLog copies a log, and as it grows when follow is set, until ctx ends.
func copyLog(ctx context.Context, w io.Writer, log io.Reader, follow bool) error {
	for {
		if _, err := io.Copy(w, log); err != nil || !follow {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (r *root) newExec() *cobra.Command {
	var program programFlags
	cmd := &cobra.Command{
		Use:   "exec [flags] -- PROGRAM ARGS...",
		Short: "Run a program inside the sandbox's network, attached to this terminal",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, info, err := r.client()
			if err != nil {
				return err
			}
			p, err := program.process(info, "", args)
			if err != nil {
				return err
			}
			code, err := client.Exec(cmd.Context(), p, os.Stdin, os.Stdout, os.Stderr)
			if err == nil && code != 0 {
				return &ExitError{Code: code}
			}
			return err
		},
	}
	program.add(cmd)
	return cmd
}

func (r *root) newKubectl() *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl ARGS...",
		Short: "Run kubectl with the sandbox's kubeconfig (--name must come before)",
		// All flags are kubectl's.
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			_, info, err := r.client()
			if err != nil {
				return err
			}
			binaries, err := cluster.FindBinaries()
			if err != nil {
				return err
			}
			env := append(os.Environ(), "KUBECONFIG="+info.Kubeconfig)
			return replace(binaries.ControlPlane, append([]string{"kubectl"}, args...), env)
		},
	}
}

func (r *root) newForward() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "forward HOST:PORT",
		Short: "Print a local address that leads to an address inside the sandbox, until interrupted",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, _, err := r.client()
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			l, err := net.Listen("tcp", listen)
			if err != nil {
				return fmt.Errorf("cannot listen on --listen %s: %w", listen, err)
			}
			context.AfterFunc(ctx, func() { _ = l.Close() })
			if _, err := fmt.Fprintln(cmd.OutOrStdout(), l.Addr()); err != nil {
				return err
			}
			return forward(ctx, l, client, args[0])
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "Local address.")
	return cmd
}

// forward serves connections until the listener closes.
func forward(ctx context.Context, l net.Listener, client *control.Client, address string) error {
	for {
		outside, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot accept: %w", err)
		}
		go func() {
			inside, err := client.DialContext(ctx, "tcp", address)
			if err != nil {
				_, _ = fmt.Fprintln(os.Stderr, err)
				_ = outside.Close()
				return
			}
			supervisor.Pipe(outside, inside)
		}()
	}
}
