package cluster

import (
	"embed"
	"encoding/json"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The CRDs that are embedded are those of the modules' versions in go.mod.
// After a new version of the Gateway API:
// cp "$(go list -m -f '{{.Dir}}' sigs.k8s.io/gateway-api)"/config/crd/standard/<file> crds/
// and of Istio's API:
// cp "$(go -C ../istiod list -m -f '{{.Dir}}' istio.io/api)"/kubernetes/<file> crds/istio/
func TestCRDsAreThoseOfTheModules(t *testing.T) {
	cases := map[string]struct {
		reason           string
		fs               embed.FS
		dir              string
		goMod            string
		module, inModule string
	}{
		"GatewayAPI": {
			reason: "the gateway serves the version that this module compiles",
			fs:     crdFS, dir: "crds", goMod: ".", module: "sigs.k8s.io/gateway-api", inModule: "config/crd/standard",
		},
		"Istio": {
			reason: "istiod reads the version that its module compiles",
			fs:     istioCRDFS, dir: "crds/istio", goMod: "../istiod", module: "istio.io/api", inModule: "kubernetes",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := moduleDir(t, tc.goMod, tc.module)
			files, err := tc.fs.ReadDir(tc.dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(files) == 0 {
				t.Fatal("no CRDs are embedded")
			}
			for _, f := range files {
				want, err := os.ReadFile(filepath.Join(root, tc.inModule, f.Name()))
				if err != nil {
					t.Error(err)
					continue
				}
				got, err := tc.fs.ReadFile(path.Join(tc.dir, f.Name()))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(string(want), string(got)); diff != "" {
					t.Errorf("%s: %s differs from the module's (-want +got):\n%s", tc.reason, f.Name(), diff)
				}
			}
		})
	}
}

// moduleDir returns where a module is that the go.mod in a directory requires.
// The one that is not compiled here may have to be downloaded first.
func moduleDir(t *testing.T, goMod, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "-C", goMod, "mod", "download", "-json", module).Output()
	if err != nil {
		t.Fatalf("cannot find the module: %v: %s", err, out)
	}
	var m struct{ Dir string }
	if err := json.Unmarshal(out, &m); err != nil || m.Dir == "" {
		t.Fatalf("cannot find the module in %s: %v", out, err)
	}
	return m.Dir
}

// All embedded YAML decodes to objects that can be created.
func TestManifests(t *testing.T) {
	for _, pattern := range []string{"manifests/base.yaml", "manifests/gateway.yaml", "manifests/istio.yaml", "manifests/linkerd.yaml"} {
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
