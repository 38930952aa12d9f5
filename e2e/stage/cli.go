package stage

import (
	"bytes"
	"context"
	"os"
	"os/exec"

	"github.com/weir-dev/weir/e2e/harness"
)

// CLI runs the command line as a user in the shop's namespace, and gives what it
// printed and its exit code. The error is for a command that did not run.
func (s *Shop) CLI(ctx context.Context, user harness.User, args ...string) (output string, exitCode int, err error) {
	binary, err := harness.Binary("weir")
	if err != nil {
		return "", 0, err
	}
	cmd := exec.CommandContext(ctx, binary, append(args, "--namespace", s.Namespace)...) //nolint:gosec // the binary under test
	cmd.Env = append(os.Environ(), "KUBECONFIG="+s.Kubeconfig(user))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return out.String(), 0, err
	}
	return out.String(), cmd.ProcessState.ExitCode(), nil
}
