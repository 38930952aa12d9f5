// Package routetest is what the tests of providers that write routes share: routes
// and patches in files of testdata.
package routetest

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Object of testdata/NAME.yaml, as a client would read it, with numbers as int64.
func Object(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		t.Fatal(err)
	}
	return u
}

// Golden compares patches, and the reason for which they are as they are, with
// testdata/NAME.golden.
func Golden(t *testing.T, name, reason string, patches [][]jsonpatch.Operation) {
	t.Helper()
	got := "# " + reason + "\n\n" + Render(t, patches)
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// Render patches for people: one operation a line, one blank line between two.
func Render(t *testing.T, patches [][]jsonpatch.Operation) string {
	t.Helper()
	var b strings.Builder
	for i, ops := range patches {
		if i > 0 {
			b.WriteString("\n")
		}
		for _, op := range ops {
			line, err := json.Marshal(&op)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s\n", line)
		}
	}
	return b.String()
}
