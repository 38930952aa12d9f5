package install

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
)

// everything of the controller is logged, reads and leases too. Sandboxes log only
// writes, of which there are fewer.
const everything = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: ["` + chart.ControllerUsername + `"]
- level: None
`

// audited starts a sandbox whose API server logs all that the controller asks of it.
func audited(t *testing.T, name string) *harness.Sandbox {
	t.Helper()
	s, err := harness.Up(t.Context(), name, "--scrape-interval=1s")
	must(t, err)
	t.Cleanup(func() {
		if err := s.Down(context.Background()); err != nil {
			t.Error(err)
		}
	})
	must(t, os.WriteFile(filepath.Join(s.Dir, "config", "audit-policy.yaml"), []byte(everything), 0o600))
	_, err = s.Run(t.Context(), "restart", "kube-apiserver")
	must(t, err)
	harness.Eventually(t, patience, "the API server to be back", func(ctx context.Context) error {
		_, _, err := s.Kubectl(ctx, harness.Admin, "", "get", "--raw", "/readyz")
		return err
	})
	return s
}

// right is a verb on a resource, such as "patch apps/deployments".
type right string

func newRight(verb, group, resource string) right {
	return right(verb + " " + strings.TrimPrefix(group+"/"+resource, "/"))
}

// granted are the rights in the chart's roles of the controller. Roles of people,
// which are aggregated or bound by name, have other names.
func granted(t *testing.T, values map[string]any) map[right]bool {
	t.Helper()
	objects, err := chart.Render(values, chart.Cluster{APIVersions: []string{chart.MutatingAdmissionPolicyV1}})
	must(t, err)
	all := map[right]bool{}
	for _, o := range objects {
		if name := o.GetName(); !strings.HasSuffix(o.GetKind(), "Role") || name != chart.ReleaseName && name != chart.ReleaseName+"-work" {
			continue
		}
		var role rbacv1.ClusterRole // a Role has the same rules
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &role))
		for _, rule := range role.Rules {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					for _, verb := range rule.Verbs {
						all[newRight(verb, group, resource)] = true
					}
				}
			}
		}
	}
	return all
}

// asked are the rights that the controller asked for, and those that it was refused.
func asked(t *testing.T, s *harness.Sandbox) (used, refused map[right]bool) {
	t.Helper()
	// Leases are renewed all the time: one that is in the log says that all before
	// it is.
	end := time.Now()
	harness.Eventually(t, patience, "the audit log to be written", func(context.Context) error {
		used, refused = map[right]bool{}, map[right]bool{}
		newest, err := readAudit(s.AuditLog, used, refused)
		if err == nil && !newest.After(end) {
			err = fmt.Errorf("it goes to %s, not to %s", newest, end)
		}
		return err
	})
	return used, refused
}

// readAudit sorts the controller's requests, and gives the time of the newest.
func readAudit(path string, used, refused map[right]bool) (newest time.Time, err error) {
	file, err := os.Open(path)
	if err != nil {
		return newest, err
	}
	defer file.Close() //nolint:errcheck // it was only read
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var event auditv1.Event
		if json.Unmarshal(lines.Bytes(), &event) != nil {
			break // the last line may not be whole
		}
		if event.User.Username != chart.ControllerUsername || event.ObjectRef == nil || event.ResponseStatus == nil {
			continue
		}
		newest = event.StageTimestamp.Time
		ref := event.ObjectRef
		resource := ref.Resource
		if ref.Subresource != "" {
			resource += "/" + ref.Subresource
		}
		if event.ResponseStatus.Code == http.StatusForbidden {
			refused[newRight(event.Verb, ref.APIGroup, resource)] = true
		} else {
			used[newRight(event.Verb, ref.APIGroup, resource)] = true
		}
	}
	return newest, lines.Err()
}

// compare checks that the rights are those that are used, but for those that are
// argued for by name.
func compare(t *testing.T, granted, used, refused map[right]bool, unused map[right]string) {
	t.Helper()
	for _, r := range slices.Sorted(maps.Keys(refused)) {
		if !granted[r] {
			t.Errorf("the controller asks for %q and is refused: grant it, or do not ask", r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(granted)) {
		_, argued := unused[r]
		if !used[r] && !argued {
			t.Errorf("the chart grants %q, which nothing used: take it away, or say here why it is needed", r)
		}
	}
	for _, r := range slices.Sorted(maps.Keys(unused)) {
		if !granted[r] || used[r] {
			t.Errorf("this test argues for %q, which is used, or not granted at all", r)
		}
	}
}
