// Command sandbox runs a real Kubernetes control plane on one machine, without
// containers, for tests and demonstrations.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/weir-dev/weir/e2e/sandbox/cli"
	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/envoy"
	"github.com/weir-dev/weir/e2e/sandbox/gateway"
	"github.com/weir-dev/weir/e2e/sandbox/kubelet"
	"github.com/weir-dev/weir/e2e/sandbox/load"
	"github.com/weir-dev/weir/e2e/sandbox/outbound"
	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

func main() {
	err := cli.New(envoy.Command(), gateway.Command(), kubelet.Command(), load.Command(), outbound.Command(cluster.LinkerdAddress), shop.Command()).Execute()
	os.Exit(exitCode(err))
}

// exitCode prints an error and says how to end: as the program that was run
// inside did, or with 1.
func exitCode(err error) int {
	var ran *cli.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &ran):
		return ran.Code
	}
	_, _ = fmt.Fprintln(os.Stderr, "error:", err)
	return 1
}
