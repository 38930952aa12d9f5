package harness

import (
	"fmt"
	"os"
	"path/filepath"
)

// Binary is the path of a program that lies beside the sandbox's: where
// WEIR_SANDBOX names the sandbox, or where the Makefile builds all of them.
func Binary(name string) (string, error) {
	dir := filepath.Dir(os.Getenv("WEIR_SANDBOX"))
	if os.Getenv("WEIR_SANDBOX") == "" {
		cache := os.Getenv("WEIR_CACHE")
		if cache == "" {
			cache = filepath.Join(os.Getenv("HOME"), ".cache", "weir")
		}
		dir = filepath.Join(cache, "bin")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil { //nolint:gosec // the developer says where it is
		return "", fmt.Errorf("cannot find %s: %w: build it with `make sandbox build`, or name the sandbox's binary in WEIR_SANDBOX", name, err)
	}
	return path, nil
}
