package admission

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
)

// manifest is the Deployment web as it stands in Git, at a version. It has no
// replicas, since pods have no part in admission, and says nothing of Weir's
// label, which Weir puts on.
func manifest(version string) string {
	return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  annotations: {team: shop}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: "example/web:%s"}
`, version)
}

// newDeployment makes the Deployment web at v1, by gitops, with a history of the
// given versions before it, and then puts Weir's label on it.
func newDeployment(t *testing.T, before ...string) cluster {
	t.Helper()
	c := newNamespace(t)
	c.deploy(t, before...)
	return c
}

func (c cluster) deploy(t *testing.T, before ...string) {
	t.Helper()
	for _, version := range append(before, "v1") {
		c.kubectl(t, harness.GitOps, manifest(version), "apply", "-f", "-")
		c.awaitRolled(t)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"weir.dev/rollout":"web"}}}`))
	must(t, c.client(t, harness.Weir).Patch(t.Context(), c.deployment(t), patch))
}

// awaitRolled waits until the Deployment's controller has made a ReplicaSet of
// its template.
func (c cluster) awaitRolled(t *testing.T) {
	t.Helper()
	harness.Eventually(t, patience, "the Deployment's controller", func(context.Context) error {
		d := c.deployment(t)
		if d.Status.ObservedGeneration != d.Generation {
			return fmt.Errorf("has seen generation %d of %d", d.Status.ObservedGeneration, d.Generation)
		}
		if !c.hasSetOf(t, d) {
			return fmt.Errorf("has made no ReplicaSet of %s", image(d))
		}
		return nil
	})
}

func image(d *appsv1.Deployment) string { return d.Spec.Template.Spec.Containers[0].Image }

// hasSetOf asks whether there is a ReplicaSet with the Deployment's image.
func (c cluster) hasSetOf(t *testing.T, d *appsv1.Deployment) bool {
	t.Helper()
	var sets appsv1.ReplicaSetList
	must(t, c.client(t, harness.Admin).List(t.Context(), &sets, client.InNamespace(c.namespace)))
	for _, set := range sets.Items {
		if set.Spec.Template.Spec.Containers[0].Image == image(d) {
			return true
		}
	}
	return false
}

// hold pauses the Deployment as a change to v2 does.
func (c cluster) hold(t *testing.T) {
	t.Helper()
	c.kubectl(t, harness.GitOps, manifest("v2"), "apply", "-f", "-")
	if d := c.deployment(t); !d.Spec.Paused {
		t.Fatal("a new template is not held")
	}
}

// versions gives every version of the Deployment after one and up to another.
func (c cluster) versions(t *testing.T, after, upTo *appsv1.Deployment) []*appsv1.Deployment {
	t.Helper()
	config, err := c.Config(harness.Admin)
	must(t, err)
	watcher, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	must(t, err)
	w, err := watcher.Watch(t.Context(), &appsv1.DeploymentList{}, client.InNamespace(c.namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: after.ResourceVersion}})
	must(t, err)
	defer w.Stop()
	var seen []*appsv1.Deployment
	for event := range w.ResultChan() {
		d, ok := event.Object.(*appsv1.Deployment)
		if !ok {
			t.Fatalf("cannot watch the Deployment: %v", event.Object)
		}
		seen = append(seen, d)
		if d.ResourceVersion == upTo.ResourceVersion {
			return seen
		}
	}
	t.Fatalf("the watch ended before resourceVersion %s", upTo.ResourceVersion)
	return nil
}

func edit(text string, replacements ...string) string {
	return strings.NewReplacer(replacements...).Replace(text)
}

// Every way in which people and tools change a template must be held in the
// same write: one write later the Deployment's controller may have rolled.
func TestNewTemplateIsHeld(t *testing.T) {
	const unpaused = "spec:\n  paused: false\n"
	cases := map[string]struct {
		reason string
		before []string
		write  func(*testing.T, cluster)
	}{
		"ClientSideApply": {"GitOps in the manner of kubectl apply", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, manifest("v2"), "apply", "-f", "-")
			}},
		"ServerSideApply": {"GitOps in the manner of Flux", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, manifest("v2"), "apply", "--server-side", "--force-conflicts", "-f", "-")
			}},
		"ServerSideApplyUnpaused": {"a manifest that says paused: false", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, edit(manifest("v2"), "spec:\n  replicas", unpaused+"  replicas"), "apply", "--server-side", "--force-conflicts", "-f", "-")
			}},
		"Replace": {"GitOps in the manner of Argo CD's Replace=true, which drops the label in the same write", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, manifest("v2"), "replace", "-f", "-")
			}},
		"SetImage": {"a person in a hurry", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, "", "set", "image", "deployment/web", "app=example/web:v2")
			}},
		"StrategicPatch": {"a script", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, "", "patch", "deployment/web", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"app","image":"example/web:v2"}]}}}}`)
			}},
		"JSONPatchWithoutLabel": {"a write that tries to leave and to roll at once", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, "", "patch", "deployment/web", "--type=json", "-p",
					`[{"op":"replace","path":"/spec/template/spec/containers/0/image","value":"example/web:v2"},{"op":"remove","path":"/metadata/labels/weir.dev~1rollout"}]`)
			}},
		"Update": {"a program of another kind", nil,
			func(t *testing.T, c cluster) {
				c.edit(t, harness.GitOps, func(d *appsv1.Deployment) {
					d.Spec.Template.Spec.Containers[0].Image = "example/web:v2"
				})
			}},
		"Restart": {"a restart changes the template, too", nil,
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, "", "rollout", "restart", "deployment/web")
			}},
		"Undo": {"an undo brings an older version, which must not skip its steps", []string{"v0"},
			func(t *testing.T, c cluster) {
				c.kubectl(t, harness.GitOps, "", "rollout", "undo", "deployment/web")
			}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newDeployment(t, tc.before...)
			before := c.deployment(t)
			tc.write(t, c)

			after := c.deployment(t)
			if cmp.Equal(before.Spec.Template, after.Spec.Template) {
				t.Fatalf("%s: the write changed no template", tc.reason)
			}
			for _, d := range c.versions(t, before, after) {
				if !d.Spec.Paused && !cmp.Equal(before.Spec.Template, d.Spec.Template) {
					t.Errorf("%s: at resourceVersion %s the new template was not held", tc.reason, d.ResourceVersion)
				}
			}
			if got := after.Annotations[v1alpha1.ChangedByAnnotation]; got != "gitops" {
				t.Errorf("%s: the change is said to be by %q, want gitops", tc.reason, got)
			}
		})
	}
}

func TestOtherWritesAreNotHeld(t *testing.T) {
	c := newDeployment(t)
	for _, args := range [][]string{
		{"scale", "deployment/web", "--replicas=1"},
		{"scale", "deployment/web", "--replicas=0"},
		{"label", "deployment/web", "tier=front"},
		{"patch", "deployment/web", "-p", `{"spec":{"revisionHistoryLimit":5}}`},
	} {
		_, stderr := c.kubectl(t, harness.GitOps, "", args...)
		if d := c.deployment(t); d.Spec.Paused || stderr != "" {
			t.Errorf("kubectl %v: paused is %v and stderr %q; a write that changes no template must pass as it is", args, d.Spec.Paused, stderr)
		}
	}
	// A Deployment that Weir does not know is nobody's business.
	c.kubectl(t, harness.GitOps, "", "label", "deployment/web", "weir.dev/rollout-")
	c.kubectl(t, harness.GitOps, manifest("v2"), "apply", "-f", "-")
	if c.deployment(t).Spec.Paused {
		t.Error("a Deployment without Weir's label was held")
	}
}

// Mid-release only Weir un-pauses; whoever else does ships what was not promoted.
func TestHoldIsKept(t *testing.T) {
	cases := map[string]struct {
		reason string
		write  func(*testing.T, cluster)
	}{
		"Resume": {"the first thing people try", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, "", "rollout", "resume", "deployment/web")
		}},
		"ServerSideApply": {"a manifest that says paused: false", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, edit(manifest("v2"), "spec:\n  replicas", "spec:\n  paused: false\n  replicas"),
				"apply", "--server-side", "--force-conflicts", "-f", "-")
		}},
		"Replace": {"a manifest that says nothing of it", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, manifest("v2"), "replace", "-f", "-")
		}},
		"MergePatch": {"a script", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, "", "patch", "deployment/web", "--type=merge", "-p", `{"spec":{"paused":null}}`)
		}},
		"NextTemplate": {"a second change while the first is held", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, manifest("v3"), "apply", "-f", "-")
		}},
		"Revert": {"a change back to what runs is Weir's to un-pause", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.GitOps, manifest("v1"), "apply", "-f", "-")
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newDeployment(t)
			c.hold(t)
			tc.write(t, c)
			if !c.deployment(t).Spec.Paused {
				t.Errorf("%s: the Deployment is un-paused", tc.reason)
			}
		})
	}
}

// A tool that applies paused: false every minute must neither win nor write.
func TestRepeatedUnpauseWritesNothing(t *testing.T) {
	c := newDeployment(t)
	c.hold(t)
	text := edit(manifest("v2"), "spec:\n  replicas", "spec:\n  paused: false\n  replicas")
	var versions []string
	for range 3 {
		c.kubectl(t, harness.GitOps, text, "apply", "--server-side", "--force-conflicts", "-f", "-")
		versions = append(versions, c.deployment(t).ResourceVersion)
	}
	if versions[1] != versions[2] {
		t.Errorf("resourceVersions %v: the same manifest was written twice", versions)
	}
}

func TestWeirUnpausesAndReverts(t *testing.T) {
	c := newDeployment(t)
	c.hold(t)
	c.edit(t, harness.Weir, func(d *appsv1.Deployment) {
		d.Spec.Paused = false
		d.Spec.Template.Spec.Containers[0].Image = "example/web:v1"
	})
	if got := c.deployment(t); got.Spec.Paused || image(got) != "example/web:v1" {
		t.Errorf("paused is %v at %s, want Weir's write to stand: stable's template, un-paused, in one write", got.Spec.Paused, image(got))
	}
}

// Break-glass must work without Weir.
func TestLabelOffEndsTheHold(t *testing.T) {
	c := newDeployment(t)
	c.hold(t)
	c.kubectl(t, harness.GitOps, "", "label", "deployment/web", "weir.dev/rollout-")
	if !c.deployment(t).Spec.Paused {
		t.Error("taking the label off un-paused the Deployment; that is a step of its own")
	}
	c.kubectl(t, harness.GitOps, "", "rollout", "resume", "deployment/web")
	if c.deployment(t).Spec.Paused {
		t.Error("without the label the Deployment cannot be resumed")
	}
	c.awaitRolled(t)
}

// The API server runs mutating policies one after the other: a template that
// another policy changes, before or after the hold, is held as well.
func TestTemplateChangedByAnotherPolicyIsHeld(t *testing.T) {
	const policy = `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: %[1]s}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %[2]s}}
    resourceRules: [{apiGroups: [apps], apiVersions: [v1], resources: [deployments], operations: [UPDATE]}]
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration:
      expression: >-
        Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{hostname: "injected"}}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %[1]s}
spec: {policyName: %[1]s}
`
	for _, order := range []string{"aaa", "zzz"} {
		t.Run(order, func(t *testing.T) {
			t.Parallel()
			c := newDeployment(t)
			name := order + "-" + c.namespace
			c.kubectl(t, harness.Admin, fmt.Sprintf(policy, name, c.namespace), "apply", "-f", "-")
			t.Cleanup(func() {
				for _, kind := range []string{"mutatingadmissionpolicybinding", "mutatingadmissionpolicy"} {
					if _, _, err := c.Kubectl(context.Background(), harness.Admin, "", "delete", kind, name); err != nil {
						t.Error(err)
					}
				}
			})
			// The policy is in force some time later; the first write under it must
			// be held already.
			harness.Eventually(t, patience, "the other policy", func(context.Context) error {
				d := c.deployment(t)
				metav1.SetMetaDataAnnotation(&d.ObjectMeta, "touched", d.ResourceVersion)
				if err := c.client(t, harness.GitOps).Update(t.Context(), d); err != nil {
					return err // a conflict with the Deployment's controller
				}
				if d.Spec.Template.Spec.Hostname == "" {
					return fmt.Errorf("has not changed the template")
				}
				if !d.Spec.Paused {
					t.Fatal("the other policy changed the template, and the hold did not hold it")
				}
				return nil
			})
		})
	}
}

// Who wrote the template is told apart from who they say they are.
func TestChangedByCannotBeForged(t *testing.T) {
	cases := map[string]struct {
		reason string
		write  func(*testing.T, cluster)
		want   string
	}{
		"WithTheChange": {"a change that names somebody else", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.Carol, edit(manifest("v3"), "{team: shop}", "{team: shop, weir.dev/changed-by: alice}"), "apply", "-f", "-")
		}, "carol"},
		"Afterwards": {"a name that is put on later", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.Carol, "", "annotate", "--overwrite", "deployment/web", "weir.dev/changed-by=alice")
		}, "gitops"},
		"Removed": {"a name that is taken off", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.Carol, "", "annotate", "deployment/web", "weir.dev/changed-by-")
		}, "gitops"},
		"AllRemoved": {"all annotations taken off", func(t *testing.T, c cluster) {
			c.kubectl(t, harness.Carol, "", "patch", "deployment/web", "--type=json", "-p", `[{"op":"remove","path":"/metadata/annotations"}]`)
		}, "gitops"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newDeployment(t)
			c.hold(t)
			tc.write(t, c)
			if got := c.deployment(t).Annotations[v1alpha1.ChangedByAnnotation]; got != tc.want {
				t.Errorf("%s: the change is said to be by %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// kubectl says "resumed" and "rolled back" whatever became of it; the warning
// says what did, and what to do instead.
func TestWarnings(t *testing.T) {
	const stillPaused, held = "still paused: Rollout web releases this Deployment in steps", "held: Rollout web releases the new template in steps"
	cases := map[string]struct {
		reason string
		before []string
		held   bool
		user   harness.User
		input  string
		args   []string
		want   string
	}{
		"Resume": {"the un-pause was undone", nil, true, harness.GitOps, "",
			[]string{"rollout", "resume", "deployment/web"}, stillPaused},
		"ResumeTellsTheWayBack": {"the remedy is named", nil, true, harness.GitOps, "",
			[]string{"rollout", "resume", "deployment/web"}, "kubectl weir abort web --revert"},
		"Undo": {"an undo goes in steps", []string{"v0"}, false, harness.GitOps, "",
			[]string{"rollout", "undo", "deployment/web"}, held},
		"Restart": {"a restart goes in steps", nil, false, harness.GitOps, "",
			[]string{"rollout", "restart", "deployment/web"}, held},
		"SetImage": {"a new image goes in steps", nil, false, harness.GitOps, "",
			[]string{"set", "image", "deployment/web", "app=example/web:v2"}, held},
		"Apply": {"whoever declares a state expects it to be released in steps", nil, false, harness.GitOps, manifest("v2"),
			[]string{"apply", "-f", "-"}, ""},
		"ServerSideApply": {"so do GitOps tools", nil, false, harness.GitOps, manifest("v2"),
			[]string{"apply", "--server-side", "--force-conflicts", "-f", "-"}, ""},
		"OtherWrite": {"a write of something else is nothing to warn of", nil, true, harness.GitOps, "",
			[]string{"label", "deployment/web", "tier=front"}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newDeployment(t, tc.before...)
			if tc.held {
				c.hold(t)
			}
			_, stderr := c.kubectl(t, tc.user, tc.input, tc.args...)
			if tc.want == "" && strings.Contains(stderr, "weir") || !strings.Contains(stderr, tc.want) {
				t.Errorf("%s: want a warning %q, got %q", tc.reason, tc.want, stderr)
			}
		})
	}
}

// The note on which the warning rests is of one user and one release, or people
// would be warned of what others did.
func TestRefusedResumeIsNoted(t *testing.T) {
	c := newDeployment(t)
	c.hold(t)
	for range 2 {
		if _, stderr := c.kubectl(t, harness.Carol, "", "rollout", "resume", "deployment/web"); stderr == "" {
			t.Error("an attempt to resume was not warned of")
		}
	}
	_, stderr := c.kubectl(t, harness.GitOps, "", "label", "deployment/web", "tier=front")
	if got := c.deployment(t).Annotations[v1alpha1.ResumeRefusedAnnotation]; got != "carol" || stderr != "" {
		t.Errorf("after the write of somebody else resume-refused is %q, want carol; its writer was told %q", got, stderr)
	}

	c.edit(t, harness.Weir, func(d *appsv1.Deployment) { d.Spec.Paused = false })
	if got, left := c.deployment(t).Annotations[v1alpha1.ResumeRefusedAnnotation]; left {
		t.Errorf("after Weir's un-pause resume-refused is still %q", got)
	}
}
