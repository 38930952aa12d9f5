//go:build e2e

package test

import (
	"os"
	"testing"

	gatewayclient "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// box is the sandbox that all tests share.
var box struct {
	*testbox.Sandbox
	gw gatewayclient.Interface
}

func TestMain(m *testing.M) {
	os.Exit(testbox.Main(m, "gateway", []string{"--no-prometheus"}, func(s *testbox.Sandbox) (err error) {
		box.Sandbox = s
		box.gw, err = gatewayclient.NewForConfig(s.Config)
		return err
	}))
}
