package cli

import (
	"bytes"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/spf13/cobra"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// run runs the command line, and gives what it printed and its error.
func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := &cobra.Command{Use: "weir", SilenceErrors: true}
	root.AddCommand(Commands()...)
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestErrors(t *testing.T) {
	t.Setenv("KUBECONFIG", "/does/not/exist")
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"MissingName": {
			reason: "an argument that is missing is named, with where to read more",
			args:   []string{"status"},
			want:   "NAME is missing: see 'weir status --help'",
		},
		"MissingGate": {
			reason: "only what is missing is named",
			args:   []string{"approve", "web"},
			want:   "GATE is missing: see 'weir approve --help'",
		},
		"TooMany": {
			reason: "the argument that is too many is quoted",
			args:   []string{"why", "web", "shop"},
			want:   `"shop" is one argument too many: see 'weir why --help'`,
		},
		"Flag": {
			reason: "a flag's bad value is named with the good ones",
			args:   []string{"get", "-o", "xml"},
			want:   `"xml" is not one of json, yaml and wide: see 'weir get --help'`,
		},
		"NoCluster": {
			reason: "a kubeconfig that is not there gets a remedy of this tool, not of a library",
			args:   []string{"get"},
			want:   "set KUBECONFIG or --kubeconfig",
		},
		"Reject": {
			reason: "a rejection without a reason is refused before the cluster is asked",
			args:   []string{"reject", "web", "sre-leads"},
			want:   "a rejection needs --reason",
		},
		"LintWithoutFiles": {
			reason: "what is to be checked has to be said",
			args:   []string{"lint"},
			want:   "-f is missing: name a file",
		},
		"LintMissing": {
			reason: "a path that is not there is named",
			args:   []string{"lint", "-f", "/does/not/exist"},
			want:   "cannot find manifests at -f /does/not/exist",
		},
		"LintNothing": {
			reason: "a folder without manifests is an error that asks for the right one",
			args:   []string{"lint", "-f", t.TempDir()},
			want:   "no object of weir.dev was found",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := run(t, tc.args...)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got error %v, want one with %q", tc.reason, err, tc.want)
			}
			if strings.Contains(out, "Usage:") {
				t.Errorf("an error is not followed by a page of flags, got:\n%s", out)
			}
		})
	}
}

func TestLintPrintsAnEmptyListForMachines(t *testing.T) {
	out, err := run(t, "lint", "-f", "../../../docs/examples", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(out); got != "[]" {
		t.Errorf("no findings are a list without entries, not null: got %s", got)
	}
}

func TestAllFound(t *testing.T) {
	items := []v1alpha1.Rollout{{ObjectMeta: metav1.ObjectMeta{Name: "web"}}}
	cases := map[string]struct {
		reason    string
		names     []string
		namespace string
		want      string
	}{
		"Twice": {
			reason: "a name given twice is found twice",
			names:  []string{"web", "web"}, namespace: "shop",
		},
		"Missing": {
			reason: "only the names that are missing are told, each once",
			names:  []string{"web", "pay", "pay"}, namespace: "shop",
			want: `no rollout pay in namespace "shop": 'kubectl weir get -A' lists all`,
		},
		"AnyNamespace": {
			reason: "with -A there is no namespace to name",
			names:  []string{"pay"},
			want:   `no rollout pay in any namespace: 'kubectl weir get -A' lists all`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got string
			if err := allFound(tc.names, items, tc.namespace); err != nil {
				got = err.Error()
			}
			if got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
