// Package matrix keeps the table of what providers can do to what the suites have shown.
//
// The table in docs/providers.md has a row for each capability and a column for each
// kind of route. Each of its cells belongs to one suite, which fails when the cell says
// something else than its tests have shown, and writes the cell with -update-table.
package matrix

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/weir-dev/weir/providers/conformance"
)

// Columns of the table.
const (
	HTTPRoute        = "HTTPRoute"
	GRPCRoute        = "GRPCRoute"
	LinkerdHTTPRoute = "HTTPRoute in Linkerd"
	LinkerdGRPCRoute = "GRPCRoute in Linkerd"
	VirtualService   = "VirtualService"
	ServiceProfile   = "ServiceProfile"
)

// Columns in their order.
func Columns() []string {
	return []string{HTTPRoute, GRPCRoute, LinkerdHTTPRoute, LinkerdGRPCRoute, VirtualService, ServiceProfile}
}

// Suite that cells belong to.
type Suite string

// Suites that show what providers can do. Whatever belongs to no other is of the
// conformance suite.
const (
	Conformance Suite = "conformance"
	Istio       Suite = "mesh/istio"
	Linkerd     Suite = "mesh/linkerd"
	Served      Suite = "mesh/served"
)

// Cell of the table.
type Cell struct {
	Column     string
	Capability conformance.Capability
}

// suiteOf a cell.
func suiteOf(c Cell) Suite {
	for suite, cells := range map[Suite][]Cell{
		Istio: {
			{VirtualService, conformance.Faults}, {VirtualService, conformance.GRPC}, {VirtualService, conformance.Measured},
			{HTTPRoute, conformance.Measured}, {GRPCRoute, conformance.Measured},
		},
		Linkerd: {{ServiceProfile, conformance.Measured}},
		Served:  {{VirtualService, conformance.SaysInForce}, {ServiceProfile, conformance.SaysInForce}},
	} {
		if slices.Contains(cells, c) {
			return suite
		}
	}
	return Conformance
}

var update = flag.Bool("update-table", false, "write what the suite has shown into docs/providers.md")

// Shown is what one suite has shown. It is safe for concurrent use.
type Shown struct {
	suite Suite
	mutex sync.Mutex
	cells map[Cell]bool
}

// New is for a suite that has not shown anything.
func New(suite Suite) *Shown { return &Shown{suite: suite, cells: map[Cell]bool{}} }

// Show notes what a passed test has shown of a column.
func (s *Shown) Show(column string, shown ...conformance.Capability) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, c := range shown {
		s.cells[Cell{column, c}] = true
	}
}

// tester is a test.
type tester interface {
	Cleanup(f func())
	Failed() bool
}

// ShowAtEnd notes what a test will have shown if it passes.
func (s *Shown) ShowAtEnd(t tester, column string, shown ...conformance.Capability) {
	t.Cleanup(func() {
		if !t.Failed() {
			s.Show(column, shown...)
		}
	})
}

// Check compares the suite's cells of the table with what it has shown, once all of its
// tests have passed; code is what they ended with, and what the suite is to end with is
// returned. Of a run of some tests alone nothing can be told.
func (s *Shown) Check(code int) int {
	partial := flag.Lookup("test.run").Value.String() != "" || flag.Lookup("test.skip").Value.String() != "" ||
		flag.Lookup("test.list").Value.String() != ""
	if code != 0 || partial {
		return code
	}
	_, here, _, _ := runtime.Caller(0)
	file := filepath.Join(filepath.Dir(here), "..", "..", "docs", "providers.md")
	if err := s.compare(file, *update); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// compare the suite's cells with the file's, or write them.
func (s *Shown) compare(file string, write bool) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("cannot read the table of capabilities: %w", err)
	}
	before, written, after, err := cut(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	cells := parse(written)
	var problems []error
	for _, row := range conformance.AllCapabilities() {
		for _, column := range Columns() {
			cell := Cell{column, row}
			if suiteOf(cell) != s.suite || cells[cell] == s.cells[cell] {
				continue
			}
			problems = append(problems, fmt.Errorf("%s: %s: %s: the table says %s, and the suite has shown %s", file, column, row, word(cells[cell]), word(s.cells[cell])))
			cells[cell] = s.cells[cell]
		}
	}
	want := render(cells)
	if write {
		return os.WriteFile(file, []byte(before+want+after), 0o600) //nolint:gosec // the documentation of this repository
	}
	if len(problems) == 0 && want != written {
		problems = append(problems, fmt.Errorf("%s: the table is not written as -update-table writes it", file))
	}
	return errors.Join(problems...)
}

// The marks around the table.
const begin, end = "<!-- written by the suites: -update-table -->\n", "<!-- end of the table -->\n"

// cut the table out of a text.
func cut(text string) (before, table, after string, err error) {
	before, rest, ok := strings.Cut(text, begin)
	table, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		return "", "", "", fmt.Errorf("has no table between %q and %q", begin, end)
	}
	return before + begin, table, end + after, nil
}

// word of a cell.
func word(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// render the table.
func render(cells map[Cell]bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| | %s |\n|%s\n", strings.Join(Columns(), " | "), strings.Repeat(" --- |", len(Columns())+1))
	for _, row := range conformance.AllCapabilities() {
		fmt.Fprintf(&b, "| %s |", row)
		for _, column := range Columns() {
			fmt.Fprintf(&b, " %s |", word(cells[Cell{column, row}]))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// parse the cells of a table. Whatever is not a yes is a no.
func parse(table string) map[Cell]bool {
	cells := map[Cell]bool{}
	var columns []string
	for line := range strings.Lines(table) {
		fields := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		if columns == nil {
			columns = fields
			continue
		}
		for i, field := range fields[1:] {
			if i+1 < len(columns) && field == "yes" {
				cells[Cell{columns[i+1], conformance.Capability(fields[0])}] = true
			}
		}
	}
	return cells
}
