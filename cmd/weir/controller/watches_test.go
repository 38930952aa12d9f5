package controller

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout"
)

// newRollout of the Deployment of the same name.
func newRollout(name string, with ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	r := &v1alpha1.Rollout{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	r.Spec.WorkloadRef = v1alpha1.WorkloadReference{Kind: "Deployment", Name: name}
	for _, f := range with {
		f(r)
	}
	return r
}

func routed(r *v1alpha1.Rollout) {
	r.Spec.Traffic = &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "edge"}}}
}

func analysed(r *v1alpha1.Rollout) {
	r.Spec.Analysis = &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{
		{Kind: "AnalysisTemplate", Name: "errors"}, {Kind: "ClusterAnalysisTemplate", Name: "errors"},
	}}
}

func elsewhere(r *v1alpha1.Rollout) { r.Namespace = "other" }

func TestWatches(t *testing.T) {
	scheme, err := newScheme()
	if err != nil {
		t.Fatal(err)
	}
	w := watches{cached: fake.NewClientBuilder().WithScheme(scheme).
		WithIndex(&v1alpha1.Rollout{}, rollout.ReferenceIndex, rollout.IndexReferences).
		WithObjects(newRollout("web", routed), newRollout("api", routed, analysed), newRollout("web", elsewhere, analysed)).
		Build()}
	labelled := emptyDeployment()
	labelled.SetNamespace("shop")
	labelled.SetName("anything")
	labelled.SetLabels(map[string]string{v1alpha1.RolloutLabel: "web"})
	deployment := emptyDeployment()
	deployment.SetNamespace("shop")
	deployment.SetName("api")
	owned := replicaSet(1, 1)
	controller := true
	owned.SetOwnerReferences([]metav1.OwnerReference{{Kind: "Deployment", Name: "web", Controller: &controller}})
	canary := replicaSet(1, 1)
	canary.SetLabels(map[string]string{v1alpha1.ManagedLabel: "api"})
	named := func(obj client.Object, namespace, name string) client.Object {
		obj.SetNamespace(namespace)
		obj.SetName(name)
		return obj
	}
	split := named(emptyDeployment(), "shop", "edge")
	split.SetAnnotations(map[string]string{v1alpha1.SplitAnnotation: "gone a a-canary 1000 *;web b b-canary 500 *"})

	ctx := t.Context()
	cases := map[string]struct {
		reason string
		got    []reconcile.Request
		want   []string
	}{
		"Label":           {reason: "the label names the Rollout", got: byLabel(ctx, labelled), want: []string{"shop/web"}},
		"NoLabel":         {reason: "without it the object concerns nobody", got: byLabel(ctx, deployment)},
		"Workload":        {reason: "a workload concerns the Rollout that refers to it", got: w.byKind("Deployment")(ctx, deployment), want: []string{"shop/api"}},
		"Owned":           {reason: "a set concerns the Rollout of its Deployment", got: w.byReplicaSet(ctx, owned), want: []string{"shop/web"}},
		"Canary":          {reason: "a canary concerns the Rollout that made it", got: w.byReplicaSet(ctx, canary), want: []string{"shop/api"}},
		"Stray":           {reason: "a set of nobody concerns nobody", got: w.byReplicaSet(ctx, replicaSet(1, 1))},
		"Route":           {reason: "a route concerns all that share it", got: w.byRoute("HTTPRoute")(ctx, named(emptyDeployment(), "shop", "edge")), want: []string{"shop/api", "shop/web"}},
		"Split":           {reason: "a route concerns those for which it is split, once", got: w.byRoute("HTTPRoute")(ctx, split), want: []string{"shop/api", "shop/gone", "shop/web"}},
		"Template":        {reason: "a template concerns Rollouts of its namespace", got: w.byKind("AnalysisTemplate")(ctx, named(&v1alpha1.AnalysisTemplate{}, "shop", "errors")), want: []string{"shop/api"}},
		"ClusterTemplate": {reason: "one of the cluster concerns all namespaces", got: w.byKind("ClusterAnalysisTemplate")(ctx, named(&v1alpha1.ClusterAnalysisTemplate{}, "", "errors")), want: []string{"other/web", "shop/api"}},
		"Source":          {reason: "a source concerns all with an analysis", got: w.bySource(ctx, &v1alpha1.MetricSource{}), want: []string{"other/web", "shop/api"}},
		"Sibling":         {reason: "a Rollout concerns those that share a route with it", got: w.siblings(ctx, newRollout("web", routed)), want: []string{"shop/api"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, request := range tc.got {
				got = append(got, request.String())
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// order is what a queue gives, first things first.
func order(q priorityqueue.PriorityQueue[reconcile.Request], n int) []string {
	var out []string
	for range n {
		item, _, _ := q.GetWithPriority()
		out = append(out, item.Name)
		q.Done(item)
	}
	return out
}

func TestDecisionsOfPeopleGoFirst(t *testing.T) {
	q := priorityqueue.New[reconcile.Request]("test")
	defer q.ShutDown()
	call := &trigger{}
	call.call(types.NamespacedName{Name: "too early"}) // Dropped: the controller has not started.
	if err := call.Start(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	q.Add(reconcile.Request{NamespacedName: types.NamespacedName{Name: "routine"}})
	approval := &v1alpha1.Approval{Spec: v1alpha1.ApprovalSpec{TargetRef: v1alpha1.ApprovalTarget{Name: "aborted"}}}
	approvalHandler().Create(t.Context(), event.TypedCreateEvent[*v1alpha1.Approval]{Object: approval}, q)
	call.call(types.NamespacedName{Name: "failed"})
	for deadline := time.Now().Add(10 * time.Second); q.Len() < 3 && time.Now().Before(deadline); {
	}
	if diff := cmp.Diff([]string{"aborted", "failed", "routine"}, order(q, 3)); diff != "" {
		t.Errorf("what may lower exposure goes before the rest: -want, +got:\n%s", diff)
	}
}
