package shop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// ExitError asks the caller of Command to leave the process with Code. The
// shop returns it when CRASH_AFTER has passed.
type ExitError struct {
	// Code is the process exit code.
	Code int
}

// Error says what happened and with which code the process leaves.
func (e *ExitError) Error() string {
	return fmt.Sprintf("crashing as CRASH_AFTER asks, with exit code %d", e.Code)
}

// Command returns the `shop` command: the demo app, configured by environment
// variables alone, as the container of a pod is.
func Command() *cobra.Command {
	return &cobra.Command{
		Use:   "shop",
		Short: "Run the demo app (configured by its environment)",
		Long:  commandHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := FromEnv(os.Getenv)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			err = Run(ctx, cfg)
			if crash := new(ExitError); errors.As(err, &crash) {
				// A crash has no clean-up: the process is gone at once, with
				// connections open, as a container that dies is.
				_, _ = fmt.Fprintln(cmd.ErrOrStderr(), crash.Error())
				os.Exit(crash.Code)
			}
			return err
		},
	}
}

const commandHelp = `Run the demo app. It listens on $POD_IP:$PORT and is configured by its environment:

  VERSION       version it states in its answers (default "unknown")
  POD_NAME      pod name it states in its answers (default the host name)
  REVISION      revision it states in its answers (default none)
  POD_IP, PORT  address to listen on (default 127.0.0.1 and 8080)
  ERROR_RATE    share of requests answered with 500, 0 to 1 (default 0)
  LATENCY       time each answer takes: "20ms" (10 % either way) or "20ms+/-5ms"
  START_DELAY   time from start until /healthz is ready (default 0s)
  READY         "false" keeps /healthz at 503 for ever (default "true")
  CRASH_AFTER   time from start until the process exits with EXIT_CODE (default never)
  EXIT_CODE     exit code of that crash (default 1)
  DRAIN         time it goes on serving after SIGTERM (default 6s)`

// Run serves until ctx is done, goes on serving for cfg.Drain with keep-alives
// turned off, and returns nil. It returns an *ExitError when cfg.CrashAfter has
// passed, without any clean-up but closing its listener.
func Run(ctx context.Context, cfg Config) error {
	if cfg.CrashAfter != nil && *cfg.CrashAfter == 0 {
		return &ExitError{Code: cfg.ExitCode}
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(cfg.PodIP, cfg.Port))
	if err != nil {
		return fmt.Errorf("cannot listen: %w", err)
	}
	return serve(ctx, cfg, listener)
}

// serve is Run on a listener that is already open.
func serve(ctx context.Context, cfg Config, listener net.Listener) error {
	app := New(cfg)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	server := &http.Server{Handler: app, Protocols: protocols, ReadHeaderTimeout: 10 * time.Second}
	defer server.Close() //nolint:errcheck // nothing is left to do with the error

	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	var crash <-chan time.Time
	if cfg.CrashAfter != nil {
		crash = time.After(*cfg.CrashAfter)
	}
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-crash:
		return &ExitError{Code: cfg.ExitCode}
	case <-ctx.Done():
	}

	// The endpoint is being withdrawn while requests still arrive. Connections
	// are closed one by one, each after an answer that says so: closing idle
	// ones at once would race with a request that is already on its way.
	app.drain()
	select {
	case err := <-failed:
		return fmt.Errorf("cannot serve: %w", err)
	case <-crash:
		return &ExitError{Code: cfg.ExitCode}
	case <-time.After(cfg.Drain):
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("cannot finish the last requests: %w", err)
	}
	return nil
}
