package matrix

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/providers/conformance"
)

// TestCompare: each suite answers for its own cells, whatever the table says of others.
func TestCompare(t *testing.T) {
	fault, mirror := Cell{VirtualService, conformance.Faults}, Cell{VirtualService, conformance.Mirrors}
	cases := map[string]struct {
		reason  string
		suite   Suite
		written []Cell
		shown   []Cell
		want    string // part of the error, empty for none
	}{
		"Equal":       {"as it was shown", Conformance, []Cell{mirror}, []Cell{mirror}, ""},
		"Claimed":     {"nothing is claimed that was not shown", Conformance, []Cell{mirror}, nil, "Mirror: the table says yes, and the suite has shown no"},
		"Left out":    {"nor is anything kept back", Conformance, nil, []Cell{mirror}, "Mirror: the table says no, and the suite has shown yes"},
		"Other":       {"another suite shows it", Conformance, []Cell{fault}, nil, ""},
		"Own":         {"which has not", Istio, []Cell{fault}, nil, "Fault: the table says yes"},
		"Not its own": {"what a suite has shown of another's cells counts there alone", Conformance, nil, []Cell{fault}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cells := map[Cell]bool{}
			for _, c := range tc.written {
				cells[c] = true
			}
			file := filepath.Join(t.TempDir(), "providers.md")
			if err := os.WriteFile(file, []byte("# Text\n"+begin+render(cells)+end+"More.\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s := New(tc.suite)
			for _, c := range tc.shown {
				s.Show(c.Column, c.Capability)
			}
			err := s.compare(file, false)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: error is %v, want %q", tc.reason, err, tc.want)
			}
			if err := s.compare(file, true); err != nil {
				t.Fatal(err)
			}
			if err := s.compare(file, false); err != nil {
				t.Errorf("after it was written: %v", err)
			}
		})
	}
}

// TestTable: what is rendered is read back, and a text without a table is refused.
func TestTable(t *testing.T) {
	want := map[Cell]bool{{HTTPRoute, conformance.Weights}: true, {ServiceProfile, conformance.Measured}: true}
	if diff := cmp.Diff(want, parse(render(want))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	file := filepath.Join(t.TempDir(), "providers.md")
	if err := os.WriteFile(file, []byte("# Text\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := New(Conformance).compare(file, false); err == nil {
		t.Error("a text without a table is no error")
	}
}
