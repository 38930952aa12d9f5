package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"text/template"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/supervisor"
)

//go:embed config/*.yaml
var configFS embed.FS

// configData is what the configuration templates refer to.
type configData struct {
	dir            string
	ScrapeInterval time.Duration
}

// Kubeconfig is the path of a component's kubeconfig.
func (d configData) Kubeconfig(user string) string { return Kubeconfig(d.dir, user, false) }

// Network is all addresses of the sandbox.
func (configData) Network() string { return supervisor.Network }

// APIServerIP is where components without an address of their own listen.
func (configData) APIServerIP() string { return apiServerIP }

// GatewayMetrics is where the gateway serves its metrics.
func (configData) GatewayMetrics() string { return gatewayIP + ":9100" }

// ControllerMetrics is where the controller under test serves its metrics.
func (configData) ControllerMetrics() string { return controllerIP + ":8080" }

// writeConfigs writes the components' configuration files.
func writeConfigs(l layout, opts Options) error {
	templates, err := template.ParseFS(configFS, "config/*.yaml")
	if err != nil {
		return fmt.Errorf("cannot parse configuration: %w", err)
	}
	data := configData{dir: l.dir, ScrapeInterval: opts.ScrapeInterval}
	for _, t := range templates.Templates() {
		var out bytes.Buffer
		if err := t.Execute(&out, data); err != nil {
			return fmt.Errorf("cannot write %s: %w", t.Name(), err)
		}
		if err := os.WriteFile(l.config(t.Name()), out.Bytes(), 0o600); err != nil {
			return fmt.Errorf("cannot write configuration: %w", err)
		}
	}
	return nil
}
