package chart

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// modern is a cluster with everything that the chart can use.
var modern = Cluster{APIVersions: []string{MutatingAdmissionPolicyV1}}

func mustRender(t *testing.T, values map[string]any, cluster Cluster) []*unstructured.Unstructured {
	t.Helper()
	objects, err := Render(values, cluster)
	if err != nil {
		t.Fatalf("Render(%v, %v): %v", values, cluster, err)
	}
	return objects
}

// find gives the one object of a kind and name, as a typed object.
func find[T any](t *testing.T, objects []*unstructured.Unstructured, kind, name string) T {
	t.Helper()
	var typed T
	for _, o := range objects {
		if o.GetKind() != kind || o.GetName() != name {
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &typed, true); err != nil {
			t.Fatalf("%s %s is not a valid one: %v", kind, name, err)
		}
		return typed
	}
	t.Fatalf("the chart renders no %s %s", kind, name)
	return typed
}

func TestHoldMode(t *testing.T) {
	enabled := func(v any) map[string]any {
		return map[string]any{"mutatingAdmissionPolicy": map[string]any{"enabled": v}}
	}
	type result struct {
		Hold string
		// APIVersions of the mutating policies and their bindings.
		APIVersions []string
	}
	const v1, beta = "admissionregistration.k8s.io/v1", "admissionregistration.k8s.io/v1beta1"

	cases := map[string]struct {
		reason  string
		values  map[string]any
		cluster Cluster
		want    result
	}{
		"AutoServed": {
			"a cluster that serves the stable API is used as it is",
			nil, modern, result{"AdmissionPolicy", []string{v1}},
		},
		"AutoBeta": {
			"a cluster that serves the beta only gets that",
			enabled("auto"), Cluster{APIVersions: []string{MutatingAdmissionPolicyBeta1}}, result{"AdmissionPolicy", []string{beta}},
		},
		"AutoBoth": {
			"the stable API is preferred",
			enabled("auto"), Cluster{APIVersions: []string{MutatingAdmissionPolicyBeta1, MutatingAdmissionPolicyV1}}, result{"AdmissionPolicy", []string{v1}},
		},
		"AutoAbsent": {
			"a cluster without it gets the other mode",
			nil, Cluster{Version: "v1.33.0"}, result{"Paused", nil},
		},
		"True": {
			"somebody who renders without the cluster may know better",
			enabled(true), Cluster{}, result{"AdmissionPolicy", []string{v1}},
		},
		"False": {
			"the other mode may be chosen",
			enabled(false), modern, result{"Paused", nil},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := mustRender(t, tc.values, tc.cluster)
			var got result
			for _, o := range objects {
				if strings.HasPrefix(o.GetKind(), "MutatingAdmissionPolicy") && !slices.Contains(got.APIVersions, o.GetAPIVersion()) {
					got.APIVersions = append(got.APIVersions, o.GetAPIVersion())
				}
			}
			controller := find[appsv1.Deployment](t, objects, "Deployment", "weir").Spec.Template.Spec.Containers[0]
			for _, arg := range controller.Args {
				if mode, ok := strings.CutPrefix(arg, "--hold="); ok {
					got.Hold = mode
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
			notes, err := Notes(tc.values, tc.cluster)
			if err != nil || !strings.Contains(notes, "held by: "+tc.want.Hold) {
				t.Errorf("%s: the notes do not name hold mode %s (%v):\n%s", tc.reason, tc.want.Hold, err, notes)
			}
		})
	}
}

// A policy without its binding does nothing, and a binding without its policy
// neither.
func TestEveryPolicyIsBound(t *testing.T) {
	for _, cluster := range []Cluster{modern, {}} {
		policies, bound := map[string]bool{}, map[string]bool{}
		for _, o := range mustRender(t, nil, cluster) {
			kind, isBinding := strings.CutSuffix(o.GetKind(), "Binding")
			if !strings.HasSuffix(kind, "AdmissionPolicy") {
				continue
			}
			if !isBinding {
				policies[kind+"/"+o.GetName()] = true
				continue
			}
			name, _, _ := unstructured.NestedString(o.Object, "spec", "policyName")
			bound[kind+"/"+name] = true
		}
		if len(policies) == 0 {
			t.Errorf("on %v the chart renders no policies", cluster)
		}
		if diff := cmp.Diff(policies, bound); diff != "" {
			t.Errorf("on %v: -policies, +bound:\n%s", cluster, diff)
		}
	}
}

// The policies spare one user. Were it not the controller's, Weir would hold
// itself up, or somebody else could do what Weir alone may.
func TestPoliciesSpareTheController(t *testing.T) {
	cases := map[string]struct {
		reason string
		values map[string]any
		want   string
	}{
		"Default": {
			"by default it is the ServiceAccount of the chart",
			nil, ControllerUsername,
		},
		"ServiceAccount": {
			"it follows the name of the ServiceAccount",
			map[string]any{"serviceAccount": map[string]any{"name": "other"}}, "system:serviceaccount:weir-system:other",
		},
		"Elsewhere": {
			"a controller outside the cluster is named as such",
			map[string]any{"controllerUsername": "weir@example.org"}, "weir@example.org",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			spared := map[string]bool{}
			for _, o := range mustRender(t, tc.values, modern) {
				text, err := yaml.Marshal(o.Object["spec"])
				if err != nil {
					t.Fatal(err)
				}
				// YAML may fold lines and doubles the quotes of CEL.
				folded := strings.Join(strings.Fields(strings.ReplaceAll(string(text), "''", "'")), " ")
				for _, comparison := range []string{"request.userInfo.username == '", "request.userInfo.username != '"} {
					for _, rest := range strings.Split(folded, comparison)[1:] {
						user, _, _ := strings.Cut(rest, "'")
						spared[user] = true
					}
				}
			}
			if diff := cmp.Diff(map[string]bool{tc.want: true}, spared); diff != "" {
				t.Errorf("%s: -want, +spared:\n%s", tc.reason, diff)
			}
		})
	}
}

// What the controller and the user roles may do is written down, so that a
// review sees every change of it.
func TestRBACGolden(t *testing.T) {
	cases := map[string]struct {
		values map[string]any
		file   string
	}{
		"Everywhere": {nil, "rbac.golden.yaml"},
		"Namespaces": {map[string]any{"watchNamespaces": []any{"shop", "pay"}}, "rbac-namespaces.golden.yaml"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) { testGolden(t, roles(t, mustRender(t, tc.values, modern)), tc.file) })
	}
}

// roles are the rules of all roles among objects, as text.
func roles(t *testing.T, objects []*unstructured.Unstructured) []byte {
	t.Helper()
	var all bytes.Buffer
	for _, o := range objects {
		switch o.GetKind() {
		case "Role", "ClusterRole":
			content := map[string]any{"kind": o.GetKind(), "name": o.GetName(), "labels": aggregations(o), "rules": o.Object["rules"]}
			if o.GetNamespace() != "" {
				content["namespace"] = o.GetNamespace()
			}
			text, err := yaml.Marshal(content)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&all, "---\n%s", text)
		}
	}
	return all.Bytes()
}

// testGolden compares a rendering with a file of testdata.
func testGolden(t *testing.T, got []byte, file string) {
	t.Helper()
	golden := filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("roles differ from %s (run with -update if that is meant): -want, +got:\n%s", golden, diff)
	}
}

func aggregations(o *unstructured.Unstructured) map[string]string {
	labels := map[string]string{}
	for k, v := range o.GetLabels() {
		if strings.HasPrefix(k, "rbac.authorization.k8s.io/") {
			labels[k] = v
		}
	}
	return labels
}

func TestRBACIsNarrow(t *testing.T) {
	readOnly := []string{"get", "list", "watch"}
	for _, o := range mustRender(t, nil, modern) {
		if o.GetKind() != "Role" && o.GetKind() != "ClusterRole" {
			continue
		}
		// A Role has the fields of a ClusterRole that matter here.
		role := find[rbacv1.ClusterRole](t, []*unstructured.Unstructured{o}, o.GetKind(), o.GetName())
		for _, rule := range role.Rules {
			where := fmt.Sprintf("%s %s: %v", o.GetKind(), o.GetName(), rule)
			if all := slices.Concat(rule.Verbs, rule.APIGroups, rule.Resources); slices.Contains(all, "*") {
				t.Errorf("%s: a wildcard grants what nobody has thought of", where)
			}
			if slices.Contains(rule.Resources, "secrets") && (o.GetKind() != "Role" || !slices.Equal(rule.Verbs, []string{"get"})) {
				t.Errorf("%s: Secrets are read by name, in the controller's own namespace", where)
			}
			if slices.Contains(rule.Resources, "pods") && !slices.Equal(rule.Verbs, readOnly) {
				t.Errorf("%s: nobody makes or changes pods through Weir", where)
			}
			if slices.Contains(rule.Verbs, "approve") {
				t.Errorf("%s: who answers a gate is decided gate by gate", where)
			}
		}
	}
}

// A controller of some namespaces is told so, may do nothing elsewhere, and has the
// same rights there as one of all namespaces has everywhere.
func TestWatchNamespaces(t *testing.T) {
	objects := mustRender(t, map[string]any{"watchNamespaces": []any{"shop", "pay"}}, modern)
	args := find[appsv1.Deployment](t, objects, "Deployment", "weir").Spec.Template.Spec.Containers[0].Args
	if !slices.Contains(args, "--namespace=shop,pay") {
		t.Errorf("the controller is not told its namespaces: %q", args)
	}
	everywhere := find[rbacv1.ClusterRole](t, mustRender(t, nil, modern), "ClusterRole", "weir").Rules
	cluster := find[rbacv1.ClusterRole](t, objects, "ClusterRole", "weir").Rules
	bound := map[string]bool{}
	for _, o := range objects {
		if o.GetName() != "weir-work" {
			continue
		}
		bound[o.GetKind()+" "+o.GetNamespace()] = true
		if o.GetKind() == "Role" {
			role := find[rbacv1.Role](t, []*unstructured.Unstructured{o}, "Role", "weir-work")
			if diff := cmp.Diff(everywhere, slices.Concat(cluster, role.Rules)); diff != "" {
				t.Errorf("in namespace %s: -rights everywhere, +rights there:\n%s", o.GetNamespace(), diff)
			}
		}
	}
	want := map[string]bool{"Role shop": true, "Role pay": true, "RoleBinding shop": true, "RoleBinding pay": true}
	if diff := cmp.Diff(want, bound); diff != "" {
		t.Errorf("roles in the namespaces: -want, +got:\n%s", diff)
	}
	for _, rule := range cluster {
		for _, resource := range rule.Resources {
			if !slices.Contains([]string{"clusteranalysistemplates", "metricsources", "clusteranalysistemplates/status", "metricsources/status", "gateways", "gatewayclasses"}, resource) {
				t.Errorf("the controller may %v %s in all namespaces", rule.Verbs, resource)
			}
		}
	}
}

func TestValuesAreChecked(t *testing.T) {
	cases := map[string]struct {
		reason string
		values map[string]any
		want   string
	}{
		"Unknown":    {"a misspelt value would be ignored in silence", map[string]any{"replica": 3}, "replica"},
		"Mode":       {"only three modes exist", map[string]any{"mutatingAdmissionPolicy": map[string]any{"enabled": "maybe"}}, "mutatingAdmissionPolicy"},
		"Username":   {"a quote would end the literal of the policies", map[string]any{"controllerUsername": "o'hara"}, "controllerUsername"},
		"NoSource":   {"a default MetricSource needs an address", map[string]any{"metricSource": map[string]any{"create": true}}, "metricSource"},
		"NoShare":    {"an error ratio is a percentage", map[string]any{"analysisTemplates": map[string]any{"goldenSignals": map[string]any{"maxErrorRatio": "0.01"}}}, "maxErrorRatio"},
		"BadFlag":    {"a further flag looks like one", map[string]any{"extraArgs": []any{"leader-elect=false"}}, "extraArgs"},
		"BadSpace":   {"a namespace has a name of that kind", map[string]any{"watchNamespaces": []any{"team,other"}}, "watchNamespaces"},
		"BadReplica": {"a number is not a string", map[string]any{"replicas": "two"}, "replicas"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Render(tc.values, modern)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: Render(%v): want an error that names %q, got %v", tc.reason, tc.values, tc.want, err)
			}
		})
	}
}

func TestDefaultMetricSource(t *testing.T) {
	for _, o := range mustRender(t, nil, modern) {
		if o.GetKind() == "MetricSource" {
			t.Errorf("the chart renders MetricSource %s though nobody gave an address", o.GetName())
		}
	}
	const url = "http://prometheus.monitoring:9090"
	objects := mustRender(t, map[string]any{"metricSource": map[string]any{"create": true, "url": url}}, modern)
	for _, o := range objects {
		if o.GetKind() != "MetricSource" {
			continue
		}
		got, _, _ := unstructured.NestedString(o.Object, "spec", "prometheus", "url")
		if got != url || o.GetAnnotations()["metricsource.weir.dev/is-default"] != "true" {
			t.Errorf("want the default MetricSource at %s, got %v", url, o.Object)
		}
		return
	}
	t.Error("the chart renders no MetricSource though one was asked for")
}

// Objects of the chart are found by their labels, and never land in the
// namespace that somebody happens to have chosen.
func TestEveryObjectIsLabelled(t *testing.T) {
	clusterScoped := []string{
		"ClusterRole", "ClusterRoleBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
		"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
	}
	for _, o := range mustRender(t, nil, modern) {
		if got := o.GetLabels()["app.kubernetes.io/instance"]; got != ReleaseName {
			t.Errorf("%s %s: app.kubernetes.io/instance = %q, want %q", o.GetKind(), o.GetName(), got, ReleaseName)
		}
		want := Namespace
		if slices.Contains(clusterScoped, o.GetKind()) {
			want = ""
		}
		if o.GetNamespace() != want {
			t.Errorf("%s %s: namespace %q, want %q", o.GetKind(), o.GetName(), o.GetNamespace(), want)
		}
	}
}

func TestImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0", 64)
	cases := map[string]struct {
		reason string
		image  map[string]any
		want   string
	}{
		"Default": {"the version of the chart", map[string]any{}, "weir-dev/weir:0.1.0"},
		"Tag":     {"a tag wins over the version", map[string]any{"tag": "edge"}, "weir-dev/weir:edge"},
		"Digest":  {"a digest wins over the tag", map[string]any{"tag": "edge", "digest": digest}, "weir-dev/weir@" + digest},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := mustRender(t, map[string]any{"image": tc.image}, modern)
			got := find[appsv1.Deployment](t, objects, "Deployment", "weir").Spec.Template.Spec.Containers[0].Image
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// The Service must lead to the pods; both are made from different templates.
func TestMetricsServiceSelectsThePods(t *testing.T) {
	objects := mustRender(t, map[string]any{"podLabels": map[string]any{"team": "platform"}}, modern)
	service := find[corev1.Service](t, objects, "Service", "weir-metrics")
	pod := find[appsv1.Deployment](t, objects, "Deployment", "weir").Spec.Template
	for k, v := range service.Spec.Selector {
		if pod.Labels[k] != v {
			t.Errorf("the Service selects %s=%s, the pods have %q", k, v, pod.Labels[k])
		}
	}
	target := service.Spec.Ports[0].TargetPort.StrVal
	named := slices.ContainsFunc(pod.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.Name == target })
	if !named {
		t.Errorf("the Service leads to port %q, which the controller does not have", target)
	}
}

// TestGoldenSignals: the template for what a mesh counts is there when it is asked for.
func TestGoldenSignals(t *testing.T) {
	templates := func(values map[string]any) (found []map[string]any) {
		for _, o := range mustRender(t, values, modern) {
			if o.GetKind() == "ClusterAnalysisTemplate" && o.GetName() == "golden-signals" {
				found = append(found, o.Object["spec"].(map[string]any))
			}
		}
		return found
	}
	if found := templates(nil); len(found) > 0 {
		t.Errorf("the chart renders golden signals though nobody said that there is a mesh: %v", found)
	}
	found := templates(map[string]any{"analysisTemplates": map[string]any{"goldenSignals": map[string]any{"create": true, "maxErrorRatio": "0.5%"}}})
	want := []map[string]any{{"metrics": []any{map[string]any{
		"name": "request-errors", "type": "Ratio", "ratio": map[string]any{"signal": "RequestErrors", "maxRatio": "0.5%"},
	}}}}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
