package admission

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/chart"
	"github.com/weir-dev/weir/e2e/harness"
)

// What a stolen token of the controller is worth, asked of the API server.
func TestControllersRights(t *testing.T) {
	const (
		apps, rbac, admission = "apps", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
		own                   = chart.Namespace
	)
	weir := newNamespace(t).client(t, harness.Weir)
	cases := map[string]struct {
		reason    string
		namespace string
		right     right
		want      bool
	}{
		"ListSecrets":       {"whoever lists Secrets has all of them", own, right{verb: "list", resource: "secrets"}, false},
		"WatchSecrets":      {"or watches them", "", right{verb: "watch", resource: "secrets"}, false},
		"OthersSecrets":     {"Secrets of other namespaces are no business of Weir's", "default", right{verb: "get", resource: "secrets", name: "tls"}, false},
		"OwnSecret":         {"a MetricSource names a Secret in Weir's own", own, right{verb: "get", resource: "secrets", name: "prometheus"}, true},
		"CreatePods":        {"pods are made by ReplicaSets", "default", right{verb: "create", resource: "pods"}, false},
		"Exec":              {"nothing runs in a pod", "default", right{verb: "create", resource: "pods", subresource: "exec"}, false},
		"CreateDeployments": {"the workload is the user's", "default", right{verb: "create", group: apps, resource: "deployments"}, false},
		"DeleteDeployments": {"and stays", "default", right{verb: "delete", group: apps, resource: "deployments"}, false},
		"CreateRollouts":    {"Rollouts are the user's, too", "default", right{verb: "create", group: "weir.dev", resource: "rollouts"}, false},
		"DeleteRollouts":    {"and stay", "default", right{verb: "delete", group: "weir.dev", resource: "rollouts"}, false},
		"Decide":            {"decisions are people's", "default", right{verb: "create", group: "weir.dev", resource: "approvals"}, false},
		"Approve":           {"so are the rights to take them", "default", right{verb: "approve", group: "weir.dev", resource: "rollouts", subresource: "any"}, false},
		"Policies":          {"the policies hold Weir, too", "", right{verb: "update", group: admission, resource: "validatingadmissionpolicies"}, false},
		"Roles":             {"rights grow by no one's hand but an admin's", "", right{verb: "create", group: rbac, resource: "clusterrolebindings"}, false},
		"Impersonate":       {"Weir acts as itself", "", right{verb: "impersonate", resource: "users"}, false},
		"Nodes":             {"nothing to do with nodes", "", right{verb: "get", resource: "nodes"}, false},
		"OthersLeases":      {"one leader, elected at home", "kube-system", right{verb: "update", group: "coordination.k8s.io", resource: "leases"}, false},
		"OwnLease":          {"where it is elected", own, right{verb: "update", group: "coordination.k8s.io", resource: "leases"}, true},
		"PatchDeployments":  {"the hold and the handover", "default", right{verb: "patch", group: apps, resource: "deployments"}, true},
		"CreateReplicaSets": {"the canary", "default", right{verb: "create", group: apps, resource: "replicasets"}, true},
		"WriteRolloutState": {"what Weir knows", "default", right{verb: "update", group: "weir.dev", resource: "rollouts", subresource: "status"}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := may(t, weir, tc.namespace, tc.right); got != tc.want {
				t.Errorf("%s: may %s in %q: want %v, got %v", tc.reason, tc.right, tc.namespace, tc.want, got)
			}
		})
	}
}

// The namespace enforces the restricted profile of Pod Security; a pod of the
// controller must be let in.
func TestControllersPodIsRestricted(t *testing.T) {
	objects, err := chart.Render(nil, chart.Cluster{})
	must(t, err)
	for _, o := range objects {
		if o.GetKind() != "Deployment" {
			continue
		}
		var d appsv1.Deployment
		must(t, runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &d))
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: chart.Namespace, Name: "probe", Labels: d.Spec.Template.Labels},
			Spec:       d.Spec.Template.Spec,
		}
		admin := newNamespace(t).client(t, harness.Admin)
		must(t, admin.Create(t.Context(), pod, client.DryRunAll))

		pod = pod.DeepCopy()
		pod.ResourceVersion, pod.UID = "", ""
		pod.Spec.Containers[0].SecurityContext = nil
		if err := admin.Create(t.Context(), pod, client.DryRunAll); err == nil {
			t.Error("a pod without its security context was let in: the namespace enforces nothing")
		}
		return
	}
	t.Error("the chart renders no Deployment")
}
