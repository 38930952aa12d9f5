package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/stage"
)

// lookInterval is how often somebody who stays looks whether the sandbox is
// still there.
const lookInterval = 2 * time.Second

// hint says how to use what is up. Each line of it works as it stands, in any
// shell of this machine.
var hint = template.Must(template.New("hint").Parse(`
It stays up, under the same load, until Ctrl-C here. In another terminal:

  export KUBECONFIG="{{.Kubeconfig}}" PATH="{{.Bin}}:$PATH"
  kubectl-weir watch {{.Shop}} -n {{.Namespace}}

and in a third, with the same export, a bad version, and then a good one:

  {{.Kubectl}} set env deployment/{{.Shop}} VERSION=v4 ERROR_RATE=0.2
  kubectl-weir status {{.Shop}} -n {{.Namespace}} --wait
  kubectl-weir why {{.Shop}} -n {{.Namespace}}
  {{.Kubectl}} set env deployment/{{.Shop}} VERSION=v5 ERROR_RATE-
  kubectl-weir status {{.Shop}} -n {{.Namespace}} --wait
  kubectl-weir history {{.Shop}} -n {{.Namespace}}

More to look at:

  {{.Kubectl}} get rollouts,deployments,replicasets,pods,{{.Routes}}
  {{.Try}}
  {{.PrometheusURL}} (Prometheus, in a browser)

`))

// stay goes on with the load, says how to use what is up, and waits for an
// interrupt, or for somebody to end the sandbox.
func stay(ctx context.Context, at edge, shop *stage.Shop) error {
	if err := at.stay(ctx, shop, userRate); err != nil {
		return err
	}
	binary, err := harness.Binary("weir")
	if err != nil {
		return fmt.Errorf("cannot say how to use the demo: %w", err)
	}
	err = hint.Execute(os.Stdout, map[string]string{
		"Kubeconfig": shop.Kubeconfig(harness.Admin), "Bin": filepath.Dir(binary),
		"Shop": stage.Name, "Namespace": shop.Namespace,
		"Kubectl": fmt.Sprintf("sandbox --name %s kubectl -n %s", shop.Name, shop.Namespace),
		"Routes":  strings.ToLower(at.kind.Kind), "Try": at.try(shop), "PrometheusURL": shop.PrometheusURL,
	})
	if err != nil {
		return fmt.Errorf("cannot say how to use the demo: %w", err)
	}
	ticker := time.NewTicker(lookInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if _, err := shop.Run(ctx, "status"); err != nil {
				say("the sandbox has ended")
				return nil
			}
		}
	}
}
