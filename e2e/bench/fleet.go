package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/stage"
)

const (
	// parallel is how many requests the benchmark itself has under way.
	parallel = 16
	// fleetTimeout bounds each wait for a whole fleet, on a busy machine too.
	fleetTimeout = 20 * time.Minute
)

// fleet is many Deployments of bulk pods in one namespace.
type fleet struct {
	world     *stage.World
	namespace string
	size      int
	replicas  int32
}

// each does something for every member, several at a time.
func (f *fleet) each(ctx context.Context, do func(ctx context.Context, name string) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range f.size {
		group.Go(func() error { return do(ctx, fmt.Sprintf("app-%04d", i)) })
	}
	return group.Wait()
}

// create makes the Deployments and waits until all are up.
func (f *fleet) create(ctx context.Context) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: f.namespace}}
	if err := f.world.Admin.Create(ctx, namespace); err != nil {
		return fmt.Errorf("cannot create namespace %s: %w", f.namespace, err)
	}
	err := f.each(ctx, func(ctx context.Context, name string) error {
		return f.world.Admin.Create(ctx, f.deployment(name))
	})
	if err != nil {
		return fmt.Errorf("cannot create the Deployments: %w", err)
	}
	return f.awaitDeployments(ctx)
}

func (f *fleet) deployment(name string) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &f.replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					NodeSelector: map[string]string{"weir.dev/bulk": "true"},
					Tolerations:  []corev1.Toleration{{Key: "weir.dev/bulk", Operator: corev1.TolerationOpExists}},
					Containers:   []corev1.Container{{Name: "app", Image: "example.com/app:v1"}},
				},
			},
		},
	}
}

// addRollouts gives every Deployment a Rollout of three steps without waits,
// each of its own size, and waits until all are stable.
func (f *fleet) addRollouts(ctx context.Context) error {
	none := &v1alpha1.Gates{Hold: "0s"}
	step := func(replicas string) v1alpha1.Step {
		return v1alpha1.Step{Replicas: ptr.To(intstr.FromString(replicas)), Gates: none}
	}
	err := f.each(ctx, func(ctx context.Context, name string) error {
		return f.world.Admin.Create(ctx, &v1alpha1.Rollout{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name},
			Spec: v1alpha1.RolloutSpec{
				WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: name},
				Steps:       []v1alpha1.Step{step("10%"), step("50%"), step("100%")},
				Capacity:    &v1alpha1.Capacity{ScaleDownDelay: "0s"},
			},
		})
	})
	if err != nil {
		return fmt.Errorf("cannot create the Rollouts: %w", err)
	}
	return f.awaitRollouts(ctx, func(r *v1alpha1.Rollout) bool { return stage.State(r) == v1alpha1.ReasonStable })
}

// setImage gives every Deployment a new template.
func (f *fleet) setImage(ctx context.Context, image string) error {
	patch := []byte(`[{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "` + image + `"}]`)
	return f.each(ctx, func(ctx context.Context, name string) error {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: name}}
		return f.world.GitOps.Patch(ctx, d, client.RawPatch(types.JSONPatchType, patch))
	})
}

// awaitDeployments waits until every Deployment runs its template alone.
func (f *fleet) awaitDeployments(ctx context.Context) error {
	return f.await(ctx, "Deployments", func(ctx context.Context) (done int, err error) {
		var list appsv1.DeploymentList
		if err := f.world.Admin.List(ctx, &list, client.InNamespace(f.namespace)); err != nil {
			return 0, err
		}
		for i := range list.Items {
			s := &list.Items[i].Status
			if s.ObservedGeneration == list.Items[i].Generation && s.UpdatedReplicas == f.replicas && s.Replicas == f.replicas && s.AvailableReplicas == f.replicas {
				done++
			}
		}
		return done, nil
	})
}

// awaitRollouts waits until every Rollout fulfils a condition.
func (f *fleet) awaitRollouts(ctx context.Context, ok stage.Condition) error {
	return f.await(ctx, "Rollouts", func(ctx context.Context) (done int, err error) {
		var list v1alpha1.RolloutList
		if err := f.world.Admin.List(ctx, &list, client.InNamespace(f.namespace)); err != nil {
			return 0, err
		}
		for i := range list.Items {
			if ok(&list.Items[i]) {
				done++
			}
		}
		return done, nil
	})
}

// await counts until all members are done. The pause between two counts is short
// against what is measured, and long against the count itself: lists of
// thousands of objects must be no load of their own.
func (f *fleet) await(ctx context.Context, what string, count func(context.Context) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, fleetTimeout)
	defer cancel()
	for done := 0; ; {
		began := time.Now()
		n, err := count(ctx)
		if err == nil {
			if done = n; done == f.size {
				return nil
			}
			err = pause(ctx, max(500*time.Millisecond, 5*time.Since(began)))
		}
		if err != nil {
			return fmt.Errorf("cannot wait for %d %s, %d are done: %w", f.size, what, done, err)
		}
	}
}
