package conformance

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/jsonmergepatch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lastApplied is where kubectl apply keeps the manifest that it applied.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Field managers of the writers.
const (
	applier    = "kubectl-client-side-apply"
	reconciler = "kustomize-controller"
	replacer   = "kubectl-replace"
)

// GitOps is three tools that put one manifest back, each once a second, each in
// a way of its own: client-side apply as kubectl does, forced server-side apply,
// and replace.
type GitOps struct {
	client   client.Client
	lock     sync.Mutex
	manifest *unstructured.Unstructured
	written  map[string]int // by manager, since the manifest was last set
}

// StartGitOps starts the tools on an object that is there, as the client's user. They stop when the test is over.
func StartGitOps(t *testing.T, c client.Client, manifest *unstructured.Unstructured) *GitOps {
	t.Helper()
	g := &GitOps{client: c, manifest: manifest, written: map[string]int{}}
	ctx, stop := context.WithCancel(t.Context())
	var tools sync.WaitGroup
	for i, tool := range []func(context.Context, *unstructured.Unstructured) (string, error){g.apply, g.reconcile, g.replace} {
		tools.Go(func() { g.everySecond(ctx, t, time.Duration(i)*time.Second/3, tool) })
	}
	t.Cleanup(func() {
		stop()
		tools.Wait()
	})
	return g
}

// everySecond puts the manifest back, first after a delay.
func (g *GitOps) everySecond(ctx context.Context, t *testing.T, delay time.Duration, tool func(context.Context, *unstructured.Unstructured) (string, error)) {
	next := time.NewTimer(delay)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(time.Second)
		g.lock.Lock()
		manifest := g.manifest.DeepCopy()
		g.lock.Unlock()
		manager, err := tool(ctx, manifest)
		switch {
		case ctx.Err() != nil, apierrors.IsConflict(err): // lost a race: next time
		case err != nil:
			t.Errorf("%s: %v", manager, err)
		default:
			g.lock.Lock()
			g.written[manager]++
			g.lock.Unlock()
		}
	}
}

// commit changes the manifest in Git.
func (g *GitOps) commit(change func(*unstructured.Unstructured)) *unstructured.Unstructured {
	g.lock.Lock()
	defer g.lock.Unlock()
	g.manifest = g.manifest.DeepCopy()
	change(g.manifest)
	return g.manifest
}

// Round waits until each tool has written once more.
func (g *GitOps) Round(t *testing.T) {
	t.Helper()
	g.lock.Lock()
	clear(g.written)
	g.lock.Unlock()
	eventually(t, "each GitOps tool to write once", func(context.Context) error {
		g.lock.Lock()
		defer g.lock.Unlock()
		for _, manager := range []string{applier, reconciler, replacer} {
			if g.written[manager] == 0 {
				return fmt.Errorf("%s has not written", manager)
			}
		}
		return nil
	})
}

// current state of the manifest's object.
func (g *GitOps) current(ctx context.Context, manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(manifest.GroupVersionKind())
	err := g.client.Get(ctx, client.ObjectKeyFromObject(manifest), live)
	return live, err
}

// apply as kubectl does for kinds that it does not know: a three-way merge of
// what was last applied, the manifest and what is there.
func (g *GitOps) apply(ctx context.Context, manifest *unstructured.Unstructured) (string, error) {
	live, err := g.current(ctx, manifest)
	if err != nil {
		return applier, err
	}
	text, err := manifest.MarshalJSON()
	if err != nil {
		return applier, err
	}
	annotations := manifest.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[lastApplied] = string(text)
	manifest.SetAnnotations(annotations)
	modified, err := manifest.MarshalJSON()
	if err != nil {
		return applier, err
	}
	present, err := live.MarshalJSON()
	if err != nil {
		return applier, err
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch([]byte(live.GetAnnotations()[lastApplied]), modified, present)
	if err != nil || string(patch) == "{}" {
		return applier, err
	}
	return applier, g.client.Patch(ctx, live, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(applier))
}

// reconcile by forced server-side apply, as Flux and Argo CD do.
func (g *GitOps) reconcile(ctx context.Context, manifest *unstructured.Unstructured) (string, error) {
	return reconciler, g.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(manifest), client.ForceOwnership, client.FieldOwner(reconciler))
}

// replace the object by the manifest, whatever it has become.
func (g *GitOps) replace(ctx context.Context, manifest *unstructured.Unstructured) (string, error) {
	live, err := g.current(ctx, manifest)
	if err != nil {
		return replacer, err
	}
	manifest.SetResourceVersion(live.GetResourceVersion())
	return replacer, g.client.Update(ctx, manifest, client.FieldOwner(replacer))
}
