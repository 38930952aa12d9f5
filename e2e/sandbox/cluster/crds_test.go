package cluster

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The CRDs that are embedded are those of the Gateway API version in go.mod.
// After a new version: cp "$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)"/config/crd/standard/<file> crds/
func TestCRDsAreThoseOfTheModule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("cannot find the module: %v", err)
	}
	module := filepath.Join(strings.TrimSpace(string(out)), "config", "crd", "standard")
	files, err := crdFS.ReadDir("crds")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no CRDs are embedded")
	}
	for _, f := range files {
		want, err := os.ReadFile(filepath.Join(module, f.Name()))
		if err != nil {
			t.Error(err)
			continue
		}
		got, err := crdFS.ReadFile("crds/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s differs from the module's (-want +got):\n%s", f.Name(), diff)
		}
	}
}

// All embedded YAML decodes to objects that can be created.
func TestManifests(t *testing.T) {
	for _, pattern := range []string{"manifests/base.yaml", "manifests/gateway.yaml", "manifests/linkerd.yaml"} {
		f, err := manifestFS.Open(pattern)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := decode(f)
		if err != nil || len(objects) == 0 {
			t.Errorf("%s: got %d objects and error %v", pattern, len(objects), err)
		}
		for _, o := range objects {
			if o.GetKind() == "" || o.GetName() == "" {
				t.Errorf("%s holds an object without kind or name: %v", pattern, o.Object)
			}
		}
	}
}

func TestDir(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	cases := map[string]struct {
		reason, name string
		ok           bool
	}{
		"Plain":      {"letters, digits and dashes", "test-1", true},
		"Empty":      {"a name is needed", "", false},
		"Traversal":  {"a name is not a path", "../x", false},
		"UpperCase":  {"upper case is refused", "Weir", false},
		"Long":       {"a socket's path is limited", strings.Repeat("a", 33), false},
		"DashAtEnd":  {"a dash does not end a name", "a-", false},
		"OneLetter":  {"one letter is enough", "a", true},
		"ThirtyTwo":  {"32 letters are the most", strings.Repeat("a", 32), true},
		"Whitespace": {"no spaces", "a b", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir, err := Dir(tc.name)
			if ok := err == nil; ok != tc.ok {
				t.Errorf("%s: got %q and error %v", tc.reason, dir, err)
			}
			if err == nil && !strings.HasPrefix(dir, "/run/user/7/") {
				t.Errorf("%s: %q is not in XDG_RUNTIME_DIR", tc.reason, dir)
			}
		})
	}
}
