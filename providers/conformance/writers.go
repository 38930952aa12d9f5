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
	var running sync.WaitGroup
	for i, tool := range toolsOf(c) {
		running.Go(func() { g.everySecond(ctx, t, time.Duration(i)*time.Second/3, tool) })
	}
	t.Cleanup(func() {
		stop()
		running.Wait()
	})
	return g
}

// everySecond puts the manifest back, first after a delay.
func (g *GitOps) everySecond(ctx context.Context, t *testing.T, delay time.Duration, tool tool) {
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
		err := tool.write(ctx, manifest)
		switch {
		case ctx.Err() != nil, apierrors.IsConflict(err): // lost a race: next time
		case err != nil:
			t.Errorf("%s: %v", tool.manager, err)
		default:
			g.lock.Lock()
			g.written[tool.manager]++
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
		for _, tool := range toolsOf(g.client) {
			if g.written[tool.manager] == 0 {
				return fmt.Errorf("%s has not written", tool.manager)
			}
		}
		return nil
	})
}

// tool puts the manifest of an object that is there back in its own way. It may
// change the manifest that it is given.
type tool struct {
	manager string
	write   func(context.Context, *unstructured.Unstructured) error
}

// toolsOf a user.
func toolsOf(c client.Client) []tool {
	u := user{c}
	return []tool{{applier, u.apply}, {reconciler, u.reconcile}, {replacer, u.replace}}
}

// user of tools.
type user struct{ client.Client }

// current state of the manifest's object.
func (u user) current(ctx context.Context, manifest *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(manifest.GroupVersionKind())
	err := u.Get(ctx, client.ObjectKeyFromObject(manifest), live)
	return live, err
}

// apply as kubectl does for kinds that it does not know: a three-way merge of
// what was last applied, the manifest and what is there.
func (u user) apply(ctx context.Context, manifest *unstructured.Unstructured) error {
	live, err := u.current(ctx, manifest)
	if err != nil {
		return err
	}
	text, err := manifest.MarshalJSON()
	if err != nil {
		return err
	}
	annotations := manifest.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[lastApplied] = string(text)
	manifest.SetAnnotations(annotations)
	modified, err := manifest.MarshalJSON()
	if err != nil {
		return err
	}
	present, err := live.MarshalJSON()
	if err != nil {
		return err
	}
	patch, err := jsonmergepatch.CreateThreeWayJSONMergePatch([]byte(live.GetAnnotations()[lastApplied]), modified, present)
	if err != nil || string(patch) == "{}" {
		return err
	}
	return u.Patch(ctx, live, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(applier))
}

// reconcile by forced server-side apply, as Flux and Argo CD do.
func (u user) reconcile(ctx context.Context, manifest *unstructured.Unstructured) error {
	return u.Apply(ctx, client.ApplyConfigurationFromUnstructured(manifest), client.ForceOwnership, client.FieldOwner(reconciler))
}

// replace the object by the manifest, whatever it has become.
func (u user) replace(ctx context.Context, manifest *unstructured.Unstructured) error {
	live, err := u.current(ctx, manifest)
	if err != nil {
		return err
	}
	manifest.SetResourceVersion(live.GetResourceVersion())
	return u.Update(ctx, manifest, client.FieldOwner(replacer))
}
