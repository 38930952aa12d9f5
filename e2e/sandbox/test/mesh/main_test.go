//go:build e2e

package mesh

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// box is the sandbox that all tests share.
var box *testbox.Sandbox

func TestMain(m *testing.M) {
	os.Exit(testbox.Main(m, "mesh", []string{"--istio", "--no-prometheus", "--no-gateway"}, func(s *testbox.Sandbox) error {
		box = s
		// Of istiod `up` says so itself.
		if _, err := os.Stat(filepath.Join(filepath.Dir(s.Binary), "sandbox-envoy")); err != nil {
			return fmt.Errorf("cannot find Envoy; run `make envoy` in the sandbox's directory: %w", err)
		}
		return nil
	}))
}
