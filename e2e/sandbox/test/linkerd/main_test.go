//go:build e2e

package linkerd

import (
	"errors"
	"log/slog"
	"os"
	"testing"

	"k8s.io/client-go/dynamic"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// box is the sandbox of the tests.
var box struct {
	*testbox.Sandbox
	dynamic dynamic.Interface
	// linkerd hears what the destination controller tells proxies.
	linkerd *destination.Client
}

func TestMain(m *testing.M) {
	os.Exit(testbox.Main(m, "linkerd", []string{"--linkerd", "--no-prometheus", "--no-gateway"}, func(s *testbox.Sandbox) error {
		var err1, err2 error
		box.Sandbox = s
		box.dynamic, err1 = dynamic.NewForConfig(s.Config)
		box.linkerd, err2 = destination.New(s.InsideLinkerdAddress, s.Control.DialContext, slog.New(slog.DiscardHandler))
		return errors.Join(err1, err2)
	}))
}
