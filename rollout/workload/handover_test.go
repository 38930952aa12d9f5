package workload

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

func TestHandOver(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	adopting := rollout(func(r *v1alpha1.Rollout) { r.Status.Release.Stage = v1alpha1.StageAdopting })
	begin := decide.Effect{Kind: decide.EffectBeginHandOver, Revision: v2}
	adopt := decide.Effect{Kind: decide.EffectAdopt, Name: "web-" + v2, Revision: v2}
	end := decide.Effect{Kind: decide.EffectEndHandOver}
	unveto := decide.Effect{Kind: decide.EffectUnveto, Name: "web-" + v2}
	open := func(d *appsv1.Deployment) {
		d.Spec.Paused = false
		d.Annotations = map[string]string{v1alpha1.HandoverAnnotation: v2}
	}
	annotated := func(rs *appsv1.ReplicaSet) { rs.Annotations = map[string]string{v1alpha1.HandoverAnnotation: v2} }
	world := func(d *appsv1.Deployment, sets ...*appsv1.ReplicaSet) []client.Object {
		objs := []client.Object{d, service(), slice("web", "")}
		for _, rs := range sets {
			objs = append(append(objs, rs), podsOf(rs, int(*rs.Spec.Replicas))...)
		}
		return objs
	}
	full, stable := canarySet(4), owned(stableHash, "v1", 4)
	labelled := canarySet(4, func(rs *appsv1.ReplicaSet) { rs.Labels = map[string]string{"app": "web", HashLabel: v2} })
	openPatch := `{"metadata":{"annotations":{"weir.dev/handover":"` + v2 + `"},"resourceVersion":"999"},"spec":{"paused":null}}`
	cases := map[string]effectCase{
		"Begin": {
			reason: "Annotation and unpause are one write.",
			objs:   world(deployment(), stable, full), routes: &usersOwn, effect: begin,
			want: []string{"patch web " + openPatch},
		},
		"BeginAgain": {
			reason: "What a crash has left begun is not written again.",
			objs:   world(deployment(open), stable, full), routes: &usersOwn, effect: begin,
		},
		"BeginLabelled": {
			reason: "A template that came and went has paused the workload before it could adopt: the handover goes on.",
			objs:   world(deployment(open, func(d *appsv1.Deployment) { d.Spec.Paused = true }), stable, labelled), routes: &usersOwn, effect: begin,
			want: []string{`patch web {"metadata":{"resourceVersion":"999"},"spec":{"paused":null}}`},
		},
		"BeginTooSmall": {
			reason: "The workload was scaled up since: the canary is not full.",
			objs:   world(deployment(), stable, canarySet(3)), routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginNotReady": {
			reason: "A pod of the canary is not ready.",
			objs: append(world(deployment(), stable), append(podsOf(full, 4, func(p *corev1.Pod) {
				if p.Name == full.Name+"-0" {
					p.Status.Conditions = nil
				}
			}), full)...),
			routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginNotObserved": {
			reason: "The workload's controller has not seen the newest size yet.",
			objs:   world(deployment(func(d *appsv1.Deployment) { d.Generation = 4 }), stable, full),
			routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginTwin": {
			reason: "An equal set of the workload's would be preferred to the canary.",
			objs:   world(deployment(), stable, full, owned("6b5c4d8f9", "v2", 0)), routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginSplit": {
			reason: "The routes still split: what the workload does next would not be followed by traffic.",
			objs:   world(deployment(), stable, full), routes: &split, effect: begin, err: ErrPrecondition,
		},
		"BeginNarrow": {
			reason: "A narrowed Service would lose its pods with the stable set.",
			objs:   append([]client.Object{deployment(), stable, full, service(pinned(stableHash)), slice("web", stableHash)}, append(podsOf(stable, 4), podsOf(full, 4)...)...),
			routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginNotWideYet": {
			reason: "The endpoint controller has not acted on the widening yet.",
			objs:   append([]client.Object{deployment(), stable, full, service(), slice("web", stableHash)}, append(podsOf(stable, 4), podsOf(full, 4)...)...),
			routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"BeginNewTemplate": {
			reason: "A newer template is not handed over to.",
			objs:   world(deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") }), stable, full),
			routes: &usersOwn, effect: begin, err: ErrPrecondition,
		},
		"Adopt": {
			reason: "The set gets the labels of the workload's own, and loses Weir's.",
			objs:   world(deployment(open), stable, full), effect: adopt,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":null,"labels":{"app":"web","weir.dev/managed-by":null},"resourceVersion":"999"}}`},
		},
		"AdoptTooEarly": {
			reason: "A controller that has not seen that the pause is over would scale the adopted set in proportion.",
			objs:   world(deployment(open, progressing("DeploymentPaused")), stable, full), effect: adopt, err: ErrPrecondition,
		},
		"AdoptSilent": {
			reason: "Of a controller that does not say what it has seen, that is not known yet.",
			objs:   world(deployment(open, progressing("ProgressDeadlineExceeded")), stable, full), effect: adopt, err: ErrPrecondition,
		},
		"AdoptLabelled": {
			reason: "A set that waits for its adoption is left to it.",
			objs:   world(deployment(open), stable, labelled), effect: adopt,
		},
		"AdoptAdopted": {
			reason: "A set that is adopted is left alone.",
			objs:   world(deployment(open), stable, owned(v2, "v2", 4)), effect: adopt,
		},
		"AdoptPaused": {
			reason: "A paused workload would scale the adopted set in proportion.",
			objs:   world(deployment(open, func(d *appsv1.Deployment) { d.Spec.Paused = true }), stable, full), effect: adopt, err: ErrPrecondition,
		},
		"AdoptWithoutVeto": {
			reason: "Without the veto the workload may have made a set of its own.",
			objs:   world(deployment(func(d *appsv1.Deployment) { d.Spec.Paused = false }), stable, full), effect: adopt, err: ErrPrecondition,
		},
		"AdoptNewTemplate": {
			reason: "A set that is not the template's would be scaled away.",
			objs:   world(deployment(open, func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") }), stable, full), effect: adopt, err: ErrPrecondition,
		},
		"AdoptScaled": {
			reason: "The autoscaler was faster: the canary follows first.",
			objs: world(deployment(open, func(d *appsv1.Deployment) {
				n := int32(6)
				d.Spec.Replicas = &n
			}), stable, full),
			effect: adopt, err: ErrPrecondition,
		},
		"End": {
			reason: "The set is adopted: the workload may make sets again.",
			objs:   world(deployment(open), stable, owned(v2, "v2", 4)), effect: end,
			want: []string{`patch web {"metadata":{"annotations":null,"resourceVersion":"999"}}`},
		},
		"EndDone": {
			reason: "An annotation that is gone is not written.",
			objs:   world(deployment(), stable), effect: end,
		},
		"EndTooEarly": {
			reason: "Before the adoption the workload's controller would make a set of its own.",
			objs:   world(deployment(open), stable, labelled), effect: end, err: ErrPrecondition,
		},
		"EndNothingAdopted": {
			reason: "A release that ends between the writes leaves the workload held, not rolling.",
			objs:   world(deployment(open), stable, full), effect: end,
			want: []string{`patch web {"metadata":{"annotations":null,"resourceVersion":"999"},"spec":{"paused":true}}`},
		},
		"EndReverted": {
			reason: "A workload that is back at stable needs no hold.",
			objs:   world(deployment(open, func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") }), stable, full), effect: end,
			want: []string{`patch web {"metadata":{"annotations":null,"resourceVersion":"999"}}`},
		},
		"Unveto": {
			reason: "The copy of the annotation goes, or an undo would bring it back.",
			objs:   world(deployment(), owned(v2, "v2", 4, annotated)), effect: unveto,
			want: []string{`patch web-` + v2 + ` {"metadata":{"annotations":null,"resourceVersion":"999"}}`},
		},
		"UnvetoTooEarly": {
			reason: "While the workload has it, it would be copied again.",
			objs:   world(deployment(open), owned(v2, "v2", 4, annotated)), effect: unveto, err: ErrPrecondition,
		},
		"UnvetoDone": {
			reason: "A set without it is not written.",
			objs:   world(deployment(), owned(v2, "v2", 4)), effect: unveto,
		},
	}
	for name, tc := range cases {
		tc.rollout = adopting.DeepCopy()
		t.Run(name, tc.run)
	}
}

// progressing gives a Deployment the condition by which its controller says what it
// has seen.
func progressing(reason string) func(*appsv1.Deployment) {
	return func(d *appsv1.Deployment) {
		d.Status.Conditions = []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Reason: reason}}
	}
}

func TestActsPaused(t *testing.T) {
	c := New(nil, nil, nil)
	now := epoch
	c.now = func() time.Time { return now }
	resumed := func(d *appsv1.Deployment) { d.Spec.Paused = false }
	silent := func(d *appsv1.Deployment) { d.Spec.ProgressDeadlineSeconds = nil }
	cases := []struct {
		reason string
		d      *appsv1.Deployment
		after  time.Duration
		want   bool
	}{
		{"a paused workload", deployment(), 0, true},
		{"the controller has not said otherwise yet", deployment(resumed, progressing("DeploymentPaused")), 0, true},
		{"it has", deployment(resumed, progressing("DeploymentResumed")), 0, false},
		{"it has, and could not make a set", deployment(resumed, progressing("ReplicaSetCreateError")), 0, false},
		{"it does not say, and was given no time", deployment(resumed, silent), 0, true},
		{"nor has it had enough", deployment(resumed, silent), 4 * time.Second, true},
		{"it has had time", deployment(resumed, silent), time.Second, false},
		{"a newer generation is to be seen anew", deployment(resumed, silent, func(d *appsv1.Deployment) { d.Generation++ }), 0, true},
	}
	for _, tc := range cases {
		now = now.Add(tc.after)
		if got := c.actsPaused(tc.d); got != tc.want {
			t.Errorf("%s: acts paused %t, want %t", tc.reason, got, tc.want)
		}
	}
}

func TestShrinkSet(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	shrink := decide.Effect{Kind: decide.EffectShrinkSet, Name: "web-" + stableHash, Revision: v2, Size: 1}
	v3 := func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v3") }
	old, adopted := owned(stableHash, "v1", 3), owned(v2, "v2", 4)
	cases := map[string]effectCase{
		"Shrink": {
			reason: "A third template has paused the roll: the smaller set gives way to the larger one.",
			objs:   []client.Object{deployment(v3), old, adopted}, effect: shrink,
			want: []string{`patch web-7d9f8c5b4 {"metadata":{"resourceVersion":"999"},"spec":{"replicas":1}}`},
		},
		"NotPaused": {
			reason: "A workload that rolls shrinks its old sets itself.",
			objs:   []client.Object{deployment(v3, func(d *appsv1.Deployment) { d.Spec.Paused = false }), old, adopted},
			effect: shrink, err: ErrPrecondition,
		},
		"TemplateOfCanary": {
			reason: "The workload only needs to be unpaused.",
			objs:   []client.Object{deployment(), old, adopted}, effect: shrink, err: ErrPrecondition,
		},
		"Reverted": {
			reason: "The workload goes back to the old set, which must stay.",
			objs:   []client.Object{deployment(func(d *appsv1.Deployment) { d.Spec.Template = podTemplate("v1") }), old, adopted},
			effect: shrink, err: ErrPrecondition,
		},
		"ThirdHasPods": {
			reason: "A template that is neither stable nor promoted gives way, though the workload had begun to roll to it.",
			objs:   []client.Object{deployment(v3), owned("5c9b7d6f4", "v3", 1), adopted},
			effect: decide.Effect{Kind: decide.EffectShrinkSet, Name: "web-5c9b7d6f4", Revision: v2},
			want:   []string{`patch web-5c9b7d6f4 {"metadata":{"resourceVersion":"999"},"spec":{"replicas":0}}`},
		},
		"NotAdopted": {
			reason: "Stable keeps its pods while the canary is not the workload's own.",
			objs:   []client.Object{deployment(v3), old, canarySet(4)}, effect: shrink, err: ErrPrecondition,
		},
		"Larger": {
			reason: "The controller would give the pods back to the larger set.",
			objs:   []client.Object{deployment(v3), old, owned(v2, "v2", 2)}, effect: shrink, err: ErrPrecondition,
		},
		"Small": {
			reason: "A set that is small enough is not written.",
			objs:   []client.Object{deployment(v3), owned(stableHash, "v1", 1), adopted}, effect: shrink,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

func TestExpelSet(t *testing.T) {
	v2 := revisionOf(podTemplate("v2"))
	expel := decide.Effect{Kind: decide.EffectExpelSet, Name: "web-" + v2, Revision: stableHash}
	useless := func(rs *appsv1.ReplicaSet) { rs.Status.AvailableReplicas = 0 }
	cases := map[string]effectCase{
		"Expel": {
			reason: "The version that was rolled back has pods, since somebody resumed the workload for a while.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 2), owned(v2, "v2", 1)}, effect: expel,
			want: []string{`patch web-` + v2 + ` {"metadata":{"resourceVersion":"999"},"spec":{"replicas":0}}`},
		},
		"NotPaused": {
			reason: "A workload that rolls would only make the pods again.",
			objs: []client.Object{deployment(func(d *appsv1.Deployment) { d.Spec.Paused = false }), owned(stableHash, "v1", 2),
				owned(v2, "v2", 1)},
			effect: expel, err: ErrPrecondition,
		},
		"StableGone": {
			reason: "Without the set of the stable version nothing could take the place.",
			objs:   []client.Object{deployment(), owned(v2, "v2", 1, useless)}, effect: expel, err: ErrPrecondition,
		},
		"OnlyItServes": {
			reason: "Pods of a bad version are better than none.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 0), owned(v2, "v2", 3)}, effect: expel, err: ErrPrecondition,
		},
		"NothingServes": {
			reason: "The controller gives the pods of the only set that has a size back to it, so the set goes.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 0), owned(v2, "v2", 3, useless)}, effect: expel,
			want: []string{"delete web-" + v2 + " Background"},
		},
		"Empty": {
			reason: "The controller of a paused workload without pods scales the set of its template up.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 0), owned(v2, "v2", 0)}, effect: expel,
			want: []string{"delete web-" + v2 + " Background"},
		},
		"Gone": {
			reason: "A set without pods is not written.",
			objs:   []client.Object{deployment(), owned(stableHash, "v1", 3), owned(v2, "v2", 0)}, effect: expel,
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}
