// Weir releases new versions of workloads step by step, and takes back those
// that fail.
//
// One binary is the controller and the command line. Installed as kubectl-weir
// it is a plugin of kubectl.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	_ "golang.org/x/crypto/x509roots/fallback" // The image has no certificates of its own.

	"github.com/weir-dev/weir/cmd/weir/cli"
	"github.com/weir-dev/weir/cmd/weir/controller"
)

func main() {
	// The first signal ends what runs in good order, the second ends it at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	err := root(os.Args[0]).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
	}
	os.Exit(cli.ExitCode(err))
}

// root is the command of all commands, for the program of the given name.
func root(program string) *cobra.Command {
	command := &cobra.Command{
		Use:           "weir",
		Short:         "Release new versions step by step, and take back those that fail",
		SilenceErrors: true,
	}
	if strings.HasPrefix(filepath.Base(program), "kubectl-") {
		command.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl weir"}
	}
	command.AddCommand(controller.Command())
	command.AddCommand(cli.Commands()...)
	return command
}
