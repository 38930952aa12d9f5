package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestRoot(t *testing.T) {
	names := func(c *cobra.Command) []string {
		var out []string
		for _, sub := range c.Commands() {
			out = append(out, sub.Name())
		}
		return out
	}
	for _, want := range []string{"controller", "get", "why", "abort"} {
		if got := names(root("weir")); !slices.Contains(got, want) {
			t.Errorf("one binary has every command: %q is not among %v", want, got)
		}
	}
	for program, want := range map[string]string{"/usr/bin/weir": "weir get", "/usr/bin/kubectl-weir": "kubectl weir get"} {
		get, _, err := root(program).Find([]string{"get"})
		if err != nil {
			t.Fatal(err)
		}
		if got := get.UseLine(); !strings.HasPrefix(got, want) {
			t.Errorf("as %s help shows how it was called: got %q, want %q", program, got, want)
		}
	}
}
