package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// observe reads the objects live, as Observe does.
func observe(t *testing.T, r *v1alpha1.Rollout, objs ...client.Object) Facts {
	t.Helper()
	c, _ := newTestClient(t, append(objs, r)...)
	facts, err := c.Observe(t.Context(), r, []string{"web"}, true)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestRevisions(t *testing.T) {
	v1, v2 := revisionOf(podTemplate("v1")), revisionOf(podTemplate("v2"))
	oldHash := "6b5c4d8f9"
	none := func(r *v1alpha1.Rollout) { r.Status = v1alpha1.RolloutStatus{} }
	cases := map[string]struct {
		reason  string
		rollout *v1alpha1.Rollout
		objs    []client.Object
		want    string
		sets    map[string]string
	}{
		"NewTemplate": {
			reason:  "A template that no set has is named by Weir's own hash.",
			rollout: rollout(),
			objs:    []client.Object{deployment(), owned(stableHash, "v1", 4)},
			want:    v2,
			sets:    map[string]string{"web-" + stableHash: stableHash},
		},
		"Stable": {
			reason:  "A template equal to stable's is stable, by the hash of its set.",
			rollout: rollout(),
			objs: []client.Object{
				deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") }),
				owned(stableHash, "v1", 4),
			},
			want: stableHash,
			sets: map[string]string{"web-" + stableHash: stableHash},
		},
		"StableScaledToZero": {
			reason:  "Stable keeps its name when the workload is scaled to zero.",
			rollout: rollout(),
			objs: []client.Object{
				deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") }),
				owned(stableHash, "v1", 0),
			},
			want: stableHash,
			sets: map[string]string{"web-" + stableHash: stableHash},
		},
		"TwinInHistory": {
			reason:  "An empty set of history lends its name to nothing: it is deleted before the canary is made.",
			rollout: rollout(),
			objs:    []client.Object{deployment(), owned(stableHash, "v1", 4), owned(oldHash, "v2", 0)},
			want:    v2,
			sets:    map[string]string{"web-" + stableHash: stableHash, "web-" + oldHash: v2},
		},
		"RunsAlready": {
			reason:  "Before there is a stable version, the set that runs names the template.",
			rollout: rollout(none),
			objs:    []client.Object{deployment(), owned(oldHash, "v2", 4)},
			want:    oldHash,
			sets:    map[string]string{"web-" + oldHash: oldHash},
		},
		"Failed": {
			reason: "The failed version is known again by Weir's own hash, though its set is gone.",
			rollout: rollout(func(r *v1alpha1.Rollout) {
				r.Status.Canary.Revision, r.Status.Release.FailedRevision = "", v2
			}),
			objs: []client.Object{deployment(), owned(stableHash, "v1", 4)},
			want: v2,
			sets: map[string]string{"web-" + stableHash: stableHash},
		},
		"CanaryUnderAnOldName": {
			reason:  "A canary keeps its name when an upgrade of the API server changes how templates are written.",
			rollout: rollout(func(r *v1alpha1.Rollout) { r.Status.Canary.Revision = "w000000000" }),
			objs: []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(1, func(rs *appsv1.ReplicaSet) {
				rs.Labels[HashLabel] = "w000000000"
			})},
			want: "w000000000",
			sets: map[string]string{"web-" + stableHash: stableHash, "web-" + v2: "w000000000"},
		},
	}
	if v1 == v2 {
		t.Fatal("different templates need different revisions")
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			facts := observe(t, tc.rollout, tc.objs...)
			if facts.Target.Revision != tc.want {
				t.Errorf("%s\nrevision of the target = %q, want %q", tc.reason, facts.Target.Revision, tc.want)
			}
			got := map[string]string{}
			for _, s := range facts.Sets {
				got[s.Name] = s.Revision
			}
			if diff := cmp.Diff(tc.sets, got); diff != "" {
				t.Errorf("%s\nrevisions of the sets (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSets(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	canary := decide.Set{
		Name: "web-" + v2, UID: "set-" + "x", Revision: v2, Hash: v2, Owner: decide.OwnerWeir,
		Size: 2, Pods: 2, Available: 2, Created: epoch, Stamp: 8,
	}
	canary.UID = canarySet(0).UID
	crash := func(reason string, restarts int32) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{
				Name: "web", RestartCount: restarts,
				State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Error", ExitCode: 3}},
			}}
		}
	}
	with := func(edit func(*decide.Set)) decide.Set {
		out := canary
		edit(&out)
		return out
	}
	cases := map[string]struct {
		reason string
		set    *appsv1.ReplicaSet
		pods   func(*appsv1.ReplicaSet) []client.Object
		want   decide.Set
	}{
		"Healthy": {
			reason: "Weir's set, full and available.",
			set:    canarySet(2),
			pods:   func(rs *appsv1.ReplicaSet) []client.Object { return podsOf(rs, 2) },
			want:   canary,
		},
		"StatusLags": {
			reason: "A pod that is not ready any more counts no more, even before the set's status says so.",
			set:    canarySet(2),
			pods:   func(rs *appsv1.ReplicaSet) []client.Object { return podsOf(rs, 1) },
			want:   with(func(s *decide.Set) { s.Available = 1 }),
		},
		"Terminating": {
			reason: "Pods on their way out do not count, and crash evidence in them is none.",
			set:    canarySet(2),
			pods: func(rs *appsv1.ReplicaSet) []client.Object {
				gone := podsOf(rs, 3, crash("CrashLoopBackOff", 4), func(p *corev1.Pod) {
					p.Name += "-gone"
					p.UID += "-gone"
					p.DeletionTimestamp = &metav1.Time{Time: epoch}
					p.Finalizers = []string{"test/keep"}
				})
				return append(podsOf(rs, 2), gone...)
			},
			want: canary,
		},
		"CrashLoop": {
			reason: "The worst evidence is reported, with the pod and the container.",
			set:    canarySet(2),
			pods: func(rs *appsv1.ReplicaSet) []client.Object {
				pods := podsOf(rs, 2)
				crash("CrashLoopBackOff", 2)(pods[1].(*corev1.Pod))
				crash("", 5)(pods[0].(*corev1.Pod))
				return pods
			},
			want: with(func(s *decide.Set) {
				s.Crash = &decide.Crash{Pod: "web-" + v2 + "-1", Container: "web", Restarts: 2, Reason: "CrashLoopBackOff", Message: "exit code 3"}
			}),
		},
		"OutOfMemory": {
			reason: "A container killed for its memory counts before it has restarted.",
			set:    canarySet(2),
			pods: func(rs *appsv1.ReplicaSet) []client.Object {
				return podsOf(rs, 2, func(p *corev1.Pod) {
					p.Status.ContainerStatuses = []corev1.ContainerStatus{{
						Name: "web", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}},
					}}
				})
			},
			want: with(func(s *decide.Set) {
				s.Crash = &decide.Crash{Pod: "web-" + v2 + "-0", Container: "web", Reason: "OOMKilled", Message: "exit code 137"}
			}),
		},
		"InitContainer": {
			reason: "An init container that has done its work is no evidence.",
			set:    canarySet(2),
			pods: func(rs *appsv1.ReplicaSet) []client.Object {
				return podsOf(rs, 2, func(p *corev1.Pod) {
					p.Status.InitContainerStatuses = []corev1.ContainerStatus{{
						Name: "init", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "Completed"}},
					}}
				})
			},
			want: canary,
		},
		"Quota": {
			reason: "A quota that refuses the pods is an obstacle, in the words of Kubernetes.",
			set: canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.Status = appsv1.ReplicaSetStatus{Conditions: []appsv1.ReplicaSetCondition{{
					Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: "exceeded quota: pods",
				}}}
			}),
			want: with(func(s *decide.Set) { s.Pods, s.Available, s.Obstacle = 0, 0, "FailedCreate: exceeded quota: pods" }),
		},
		"Unschedulable": {
			reason: "Pods that no node takes are an obstacle.",
			set:    canarySet(2, func(rs *appsv1.ReplicaSet) { rs.Status.AvailableReplicas = 0 }),
			pods: func(rs *appsv1.ReplicaSet) []client.Object {
				return podsOf(rs, 2, func(p *corev1.Pod) {
					p.Status.Conditions = []corev1.PodCondition{{
						Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available",
					}}
				})
			},
			want: with(func(s *decide.Set) { s.Available, s.Obstacle = 0, "Unschedulable: 0/3 nodes are available" }),
		},
		"BeingDeleted": {
			reason: "A set that is being deleted makes no pods any more, whatever its size says.",
			set: canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.DeletionTimestamp = &metav1.Time{Time: epoch}
				rs.Finalizers = []string{metav1.FinalizerDeleteDependents}
			}),
			want: with(func(s *decide.Set) { s.Size, s.Available = 0, 0 }),
		},
		"Labelled": {
			reason: "Between Weir's labels and the adoption the set is nobody's.",
			set: canarySet(2, func(rs *appsv1.ReplicaSet) {
				rs.Labels = map[string]string{"app": "web", HashLabel: v2}
				rs.Annotations = map[string]string{v1alpha1.HandoverAnnotation: v2}
			}),
			pods: func(rs *appsv1.ReplicaSet) []client.Object { return podsOf(rs, 2) },
			want: with(func(s *decide.Set) { s.Owner, s.Stamp, s.Labelled, s.Vetoed = decide.OwnerNone, 0, true, true }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objs := []client.Object{deployment(), tc.set}
			if tc.pods != nil {
				objs = append(objs, tc.pods(tc.set)...)
			}
			facts := observe(t, rollout(), objs...)
			for i := range facts.Sets {
				facts.Sets[i].Created = facts.Sets[i].Created.UTC()
			}
			if diff := cmp.Diff([]decide.Set{tc.want}, facts.Sets); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSetsOfOthers(t *testing.T) {
	otherController := owned("5c4b9d7f8", "v1", 2, func(rs *appsv1.ReplicaSet) { rs.OwnerReferences[0].UID = "another" })
	otherRollout := canarySet(1, func(rs *appsv1.ReplicaSet) { rs.Labels[v1alpha1.ManagedLabel] = "other" })
	formerTarget := canarySet(1, func(rs *appsv1.ReplicaSet) {
		rs.Name, rs.UID = "former", "former"
		rs.OwnerReferences[0].UID = "former-target"
	})
	facts := observe(t, rollout(), deployment(), otherController, otherRollout, formerTarget)
	if len(facts.Sets) != 0 {
		t.Errorf("sets of other workloads, other Rollouts and of a workload that is gone are none of ours: %v", facts.Sets)
	}
}

func TestTarget(t *testing.T) {
	cases := map[string]struct {
		reason string
		objs   []client.Object
		want   decide.Target
	}{
		"Gone": {
			reason: "A workload that does not exist has no UID.",
		},
		"Held": {
			reason: "A held workload in the middle of a handover.",
			objs: []client.Object{deployment(func(d *appsv1.Deployment) {
				d.Labels = map[string]string{v1alpha1.RolloutLabel: "web"}
				d.Annotations = map[string]string{v1alpha1.HandoverAnnotation: "w1", v1alpha1.ChangedByAnnotation: "flux", v1alpha1.ChangeAuthorAnnotation: "ann"}
				d.Status.ObservedGeneration = 2
			})},
			want: decide.Target{
				UID: "target-uid", Generation: 3, ObservedGeneration: 2, Revision: revisionOf(podTemplate("v2")),
				Replicas: 4, Paused: true, ActsPaused: true, Vetoed: true, Label: "web", ChangeAuthor: "ann", ChangedBy: "flux",
			},
		},
		"ChangedBy": {
			reason: "Without a named author the writer of the template is it; absent replicas mean one.",
			objs: []client.Object{deployment(func(d *appsv1.Deployment) {
				d.Annotations = map[string]string{v1alpha1.ChangedByAnnotation: "flux"}
				d.Spec.Replicas = nil
			})},
			want: decide.Target{
				UID: "target-uid", Generation: 3, ObservedGeneration: 3, Revision: revisionOf(podTemplate("v2")),
				Replicas: 1, Paused: true, ActsPaused: true, ChangeAuthor: "flux", ChangedBy: "flux",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, observe(t, rollout(), tc.objs...).Target); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestCached: what the caches hold gives the same revisions as live reads.
func TestCached(t *testing.T) {
	r := rollout()
	objs := []client.Object{deployment(), owned(stableHash, "v1", 4), canarySet(2)}
	live := observe(t, r, objs...)
	slim := append([]client.Object{r}, stripped(t, objs...)...)
	_, cache := newTestClient(t, slim...)
	_, api := newTestClient(t, append([]client.Object{r}, objs...)...)
	c := New(cache, api, api)
	facts, err := c.Observe(t.Context(), r, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Target.Revision != live.Target.Revision || facts.Target.Paused != live.Target.Paused || facts.Target.Replicas != live.Target.Replicas {
		t.Errorf("cached target %+v, live %+v", facts.Target, live.Target)
	}
	for i, set := range facts.Sets {
		want := live.Sets[i]
		if set.Revision != want.Revision || set.Owner != want.Owner || set.Size != want.Size || set.Stamp != want.Stamp {
			t.Errorf("cached set %+v, live %+v", set, want)
		}
	}
	if len(facts.Sets) != 2 {
		t.Errorf("%d sets, want the two in the cache", len(facts.Sets))
	}
	if facts.Problems != nil {
		t.Errorf("absence in a cache is no evidence: %v", facts.Problems)
	}
}

// stripped are objects as the caches have them.
func stripped(t *testing.T, objs ...client.Object) []client.Object {
	t.Helper()
	var out []client.Object
	for _, obj := range objs {
		var slim any
		var err error
		if rs, ok := obj.(*appsv1.ReplicaSet); ok {
			slim, err = StripReplicaSet(rs)
		} else {
			slim, err = StripDeployment(raw(t, obj))
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, slim.(client.Object))
	}
	return out
}

// TestCachedSetDigest: an API server that is newer than this client library
// writes fields into templates which the typed ReplicaSets of the caches lack.
func TestCachedSetDigest(t *testing.T) {
	sum := func(obj client.Object, unknown string) string {
		t.Helper()
		tmpl, err := templateOf(raw(t, obj))
		if err != nil {
			t.Fatal(err)
		}
		if unknown != "" {
			tmpl["unknown"] = unknown
		}
		digest, err := tmpl.digest()
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	stable := owned(stableHash, "v1", 4)
	known, full := sum(stable, ""), sum(stable, "new")
	cases := map[string]struct {
		reason     string
		stage      v1alpha1.Stage
		remembered map[any]string
		want       string
		reads      int
	}{
		"Read": {
			reason: "What was read in full counts.", stage: v1alpha1.StageProgressing,
			remembered: map[any]string{digestKey{stable.UID, stable.Generation}: full}, want: full,
		},
		"Scaled": {
			reason: "Also after a change of its size.", stage: v1alpha1.StageProgressing,
			remembered: map[any]string{knownKey{stable.UID, known}: full}, want: full,
		},
		"Changed": {
			reason: "After a change of what is known it is read again.", stage: v1alpha1.StageProgressing,
			remembered: map[any]string{knownKey{stable.UID, "other"}: full}, want: sum(stable, ""), reads: 1,
		},
		"Release":  {reason: "In a release it is read once.", stage: v1alpha1.StageProgressing, want: known, reads: 1},
		"Idle":     {reason: "At rest nothing is lowered, and nothing is read.", stage: v1alpha1.StageIdle, want: known},
		"IdleRead": {reason: "But what was read counts.", stage: v1alpha1.StageIdle, remembered: map[any]string{digestKey{stable.UID, stable.Generation}: full}, want: full},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := rollout(func(r *v1alpha1.Rollout) { r.Status.Release.Stage = tc.stage })
			c, _ := newTestClient(t, r, deployment(), stable)
			for key, digest := range tc.remembered {
				c.digests.Add(key, digest)
			}
			reads := map[string]int{}
			c.live = counting{c.live, reads}
			got, err := c.cachedSetDigest(t.Context(), &snapshot{rollout: r}, stable, known)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want || len(reads) != tc.reads {
				t.Errorf("%s: got digest %s with %d reads, want %s with %d", tc.reason, got, len(reads), tc.want, tc.reads)
			}
		})
	}
}

// TestRereadDigests: what is remembered of a template is not believed where it
// makes two versions of one.
func TestRereadDigests(t *testing.T) {
	r := rollout()
	d := deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") })
	stable := owned(stableHash, "v1", 4)
	c, _ := newTestClient(t, r, d, stable)
	c.digests.Add(digestKey{stable.UID, stable.Generation}, "as-an-older-api-server-wrote-it-0")
	facts, err := c.Observe(t.Context(), r, nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if facts.Target.Revision != stableHash {
		t.Errorf("revision %q, want %q: the workload runs its template", facts.Target.Revision, stableHash)
	}
}

func TestMaxUnavailable(t *testing.T) {
	cases := map[string]struct {
		reason             string
		replicas           int32
		surge, unavailable string
		want               int32
	}{
		"Default":   {reason: "25 % of 4 is one.", replicas: 4, surge: "25%", unavailable: "25%", want: 1},
		"RoundDown": {reason: "25 % of 3 is none.", replicas: 3, surge: "25%", unavailable: "25%"},
		"Neither":   {reason: "Without surge one pod must go first.", replicas: 3, surge: "0%", unavailable: "0%", want: 1},
		"All":       {reason: "No more than all.", replicas: 3, surge: "0", unavailable: "9", want: 3},
		"Zero":      {reason: "Of no pods none.", replicas: 0, surge: "0", unavailable: "1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			surge, unavailable := intstr.Parse(tc.surge), intstr.Parse(tc.unavailable)
			d := deployment(func(d *appsv1.Deployment) {
				d.Spec.Replicas = &tc.replicas
				d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{MaxSurge: &surge, MaxUnavailable: &unavailable}
			})
			if got := observe(t, rollout(), d).Target.MaxUnavailable; got != tc.want {
				t.Errorf("%s\ngot %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

func TestWorse(t *testing.T) {
	a := &decide.Crash{Pod: "a", Restarts: 1}
	b := &decide.Crash{Pod: "b", Restarts: 1}
	if got := worse(a, b); got != a {
		t.Errorf("of equal evidence the first stays, got %v", got)
	}
	if got := worse(a, nil); got != a {
		t.Errorf("nothing is not worse, got %v", got)
	}
	if worse(nil, nil) != nil {
		t.Error("no evidence is none")
	}
}
