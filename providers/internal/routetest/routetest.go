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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
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
	compare(t, name+".golden", "# "+reason+"\n\n"+Render(t, patches))
}

// Life compares an object as its user wrote it, at weights in parts per 10,000, and given
// back with testdata/NAME.golden.yaml. The target has the object as its one route.
func Life(t *testing.T, name string, object *unstructured.Unstructured, c client.Client, router providers.Router, target providers.Target, weights ...int32) {
	t.Helper()
	var b strings.Builder
	note := func(stage string) {
		t.Helper()
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(object.GroupVersionKind())
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(object), u); err != nil {
			t.Fatal(err)
		}
		u.SetResourceVersion("") // It is of no API server.
		delete(u.Object, "status")
		text, err := yaml.Marshal(u.Object)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "---\n# %s\n%s", stage, text)
	}
	note("as its user wrote it")
	stamp := int64(1)
	for _, weight := range weights {
		if err := router.Raise(t.Context(), target, weight, stamp, nil); err != nil {
			t.Fatal(err)
		}
		note("at " + v1alpha1.FormatWeight(weight))
		stamp++
	}
	if err := router.Restore(t.Context(), target, stamp, nil); err != nil {
		t.Fatal(err)
	}
	note("given back")
	compare(t, name+".golden.yaml", b.String())
}

// compare what a test got with a golden file.
func compare(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join("testdata", file)
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
