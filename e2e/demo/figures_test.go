package main

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The documentation names every figure that the demo writes, and no others.
func TestFiguresAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/figures.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## `.out/demo.json`")
	if !found {
		t.Fatal("docs/figures.md has no section on .out/demo.json")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	documented := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (.*) \\|$").FindAllStringSubmatch(section, -1) {
		documented[row[1]] = row[2]
	}
	for name, field := range keys(reflect.TypeFor[Summary]()) {
		if field.Kind() != reflect.Slice {
			continue
		}
		for key := range keys(field.Elem()) {
			if about := documented[name]; !strings.Contains(about, "`"+key+"`") {
				t.Errorf("what is said of %s does not name %s: %q", name, key, about)
			}
		}
	}
	names, rows := map[string]bool{}, map[string]bool{}
	for name := range keys(reflect.TypeFor[Summary]()) {
		names[name] = true
	}
	for name := range documented {
		rows[name] = true
	}
	if diff := cmp.Diff(names, rows); diff != "" {
		t.Errorf("figures of the demo: -written, +documented:\n%s", diff)
	}
}

// keys are the JSON keys of a struct with their types. A list's name ends in [].
func keys(of reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for i := range of.NumField() {
		name := of.Field(i).Tag.Get("json")
		if of.Field(i).Type.Kind() == reflect.Slice {
			name += "[]"
		}
		all[name] = of.Field(i).Type
	}
	return all
}
