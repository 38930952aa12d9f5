//go:build e2e

package test

import (
	"errors"
	"os"
	"testing"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// shared is the sandbox that tests use which leave its components alone.
var shared *testbox.Sandbox

func TestMain(m *testing.M) {
	os.Exit(testbox.Main(m, "test", []string{"--bulk-nodes=2", "--scrape-interval=1s"}, func(s *testbox.Sandbox) error {
		shared = s
		return nil
	}))
}

// errNotYet says that a condition does not hold yet.
var errNotYet = errors.New("not yet")
