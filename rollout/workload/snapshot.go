package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// snapshot is a Deployment with its ReplicaSets, and on live reads its pods, as
// one pass read them. The reads are not one transaction; compare-and-swap of
// the writes makes up for that.
type snapshot struct {
	rollout *v1alpha1.Rollout
	live    bool
	// read is when the reading began.
	read time.Time
	// target is nil when there is no such Deployment.
	target   *appsv1.Deployment
	selector labels.Selector
	digest   string
	sets     []set
	// pods of the workload's selector, whoever controls them, as far as they are
	// in scope; live only. podsOf is the revision that they are of, if scope is
	// canaryPods.
	pods   []corev1.Pod
	scope  scope
	podsOf string
}

// scope says which pods a snapshot has. Pods are most of what there is to read of
// a workload, and only those of the canary tell what its ReplicaSet does not.
type scope uint8

const (
	noPods scope = iota
	// canaryPods are those of the canary's revision.
	canaryPods
	allPods
)

// set is a ReplicaSet, who owns it, and the digest of its template, which is
// empty for a set of history whose template is not the workload's.
type set struct {
	*appsv1.ReplicaSet
	owner  decide.Owner
	digest string
}

// hash is what tells the pods of the set from others.
func (s set) hash() string { return s.Labels[HashLabel] }

// size is spec.replicas.
func (s set) size() int32 { return replicas(s.Spec.Replicas) }

// empty is true when the set neither has pods nor will get any. A set whose
// status lags behind its spec is not known to be empty.
func (s set) empty() bool {
	return s.size() == 0 && s.Status.Replicas == 0 && s.Status.ObservedGeneration >= s.Generation
}

// replicas is the number that a spec.replicas field asks for.
func replicas(n *int32) int32 {
	if n == nil {
		return 1
	}
	return *n
}

// key names an object in the namespace of the Rollout.
func key(rollout *v1alpha1.Rollout, name string) client.ObjectKey {
	return client.ObjectKey{Namespace: rollout.Namespace, Name: name}
}

// readLive reads the workload from the API server, with the pods in scope.
func (c *Client) readLive(ctx context.Context, rollout *v1alpha1.Rollout, pods scope) (*snapshot, error) {
	s := &snapshot{rollout: rollout, live: true, read: c.now(), scope: pods}
	if pods == canaryPods {
		s.podsOf = rollout.Status.Canary.Revision
	}
	target := &appsv1.Deployment{}
	switch err := c.live.Get(ctx, key(rollout, rollout.Spec.WorkloadRef.Name), target); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return nil, fmt.Errorf("cannot read Deployment %q: %w", rollout.Spec.WorkloadRef.Name, err)
	default:
		s.target = target
	}
	if s.target != nil {
		selector, err := metav1.LabelSelectorAsSelector(target.Spec.Selector)
		if err != nil {
			return nil, fmt.Errorf("cannot read spec.selector of Deployment %q: %w", target.Name, err)
		}
		s.selector = selector
	}
	if err := c.readLiveLists(ctx, s); err != nil {
		return nil, err
	}
	return s, c.readDigests(ctx, s)
}

// readLiveLists lists, side by side, the sets that the workload owns or may
// adopt, those that Weir made for the Rollout, and the pods. The first two have
// no label in common.
func (c *Client) readLiveLists(ctx context.Context, s *snapshot) error {
	list := func(ctx context.Context, list client.ObjectList, selector labels.Selector) error {
		return c.live.List(ctx, list, client.InNamespace(s.rollout.Namespace), client.MatchingLabelsSelector{Selector: selector})
	}
	var managed, owned appsv1.ReplicaSetList
	var pods corev1.PodList
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return list(ctx, &managed, labels.SelectorFromSet(labels.Set{v1alpha1.ManagedLabel: s.rollout.Name}))
	})
	if s.target != nil {
		group.Go(func() error { return list(ctx, &owned, s.selector) })
	}
	if selector, any := s.podSelector(); any {
		group.Go(func() error { return list(ctx, &pods, selector) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("cannot list ReplicaSets and pods of Rollout %q: %w", s.rollout.Name, err)
	}
	for _, sets := range [][]appsv1.ReplicaSet{managed.Items, owned.Items} {
		for i := range sets {
			s.add(&sets[i])
		}
	}
	s.sort()
	s.pods = pods.Items
	return nil
}

// podSelector selects the pods in scope; false when there are none.
func (s *snapshot) podSelector() (labels.Selector, bool) {
	switch {
	case s.target == nil, s.scope == noPods, s.scope == canaryPods && s.podsOf == "":
		return nil, false
	case s.scope == allPods:
		return s.selector, true
	default:
		of, err := labels.NewRequirement(HashLabel, selection.Equals, []string{s.podsOf})
		if err != nil {
			return nil, false // A revision that is no label value has no pods.
		}
		return s.selector.DeepCopySelector().Add(*of), true
	}
}

// hasPodsOf says whether the pods of a set are in scope.
func (s *snapshot) hasPodsOf(set set) bool {
	return s.scope == allPods || s.scope == canaryPods && s.podsOf != "" && set.hash() == s.podsOf
}

// readCached reads the workload from the informers: without pods, and with
// only the sets that are in the cache.
func (c *Client) readCached(ctx context.Context, rollout *v1alpha1.Rollout) (*snapshot, error) {
	s := &snapshot{rollout: rollout}
	slim := &unstructured.Unstructured{}
	slim.SetGroupVersionKind(deploymentKind)
	switch err := c.cached.Get(ctx, key(rollout, rollout.Spec.WorkloadRef.Name), slim); {
	case apierrors.IsNotFound(err):
		return s, nil
	case err != nil:
		return nil, fmt.Errorf("cannot read Deployment %q: %w", rollout.Spec.WorkloadRef.Name, err)
	}
	s.target = &appsv1.Deployment{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(slim.Object, s.target); err != nil {
		return nil, fmt.Errorf("cannot read Deployment %q: %w", slim.GetName(), err)
	}
	list := &appsv1.ReplicaSetList{}
	if err := c.cached.List(ctx, list, client.InNamespace(rollout.Namespace), client.MatchingFields{OwnerIndex: string(slim.GetUID())}); err != nil {
		return nil, fmt.Errorf("cannot list ReplicaSets of Rollout %q: %w", rollout.Name, err)
	}
	for i := range list.Items {
		s.add(&list.Items[i])
	}
	s.sort()
	return s, c.readDigests(ctx, s)
}

// add takes in a set that belongs to the workload or may come to, once.
func (s *snapshot) add(rs *appsv1.ReplicaSet) {
	owner, ok := s.ownerOf(rs)
	if !ok || slices.ContainsFunc(s.sets, func(have set) bool { return have.UID == rs.UID }) {
		return
	}
	s.sets = append(s.sets, set{ReplicaSet: rs, owner: owner})
}

// sort orders the sets by name.
func (s *snapshot) sort() {
	slices.SortFunc(s.sets, func(a, b set) int { return cmp.Compare(a.Name, b.Name) })
}

// ownerOf says to whom a set belongs, and false for one that is no business of
// this Rollout. The owner reference tells canaries of this workload from those
// of one that had its name before and is being collected.
func (s *snapshot) ownerOf(rs *appsv1.ReplicaSet) (decide.Owner, bool) {
	managed := rs.Labels[v1alpha1.ManagedLabel] == s.rollout.Name
	controller := metav1.GetControllerOfNoCopy(rs)
	switch {
	case s.target == nil:
		return decide.OwnerWeir, managed && controller == nil
	case controller != nil:
		return decide.OwnerTarget, controller.UID == s.target.UID
	case managed:
		return decide.OwnerWeir, slices.Contains(IndexOwners(rs), string(s.target.UID))
	default:
		return decide.OwnerNone, s.selector == nil || s.selector.Matches(labels.Set(rs.Labels))
	}
}

// readDigests fills in the digests, from the cached copies or from memory, and
// reads anew before it says that the workload's template is one of nobody's.
func (c *Client) readDigests(ctx context.Context, s *snapshot) error {
	if s.target == nil {
		return nil
	}
	if err := c.knownDigests(ctx, s); err != nil {
		return err
	}
	if s.known(s.digest) || !s.live && !s.rollout.Status.Release.Stage.UnderWay() {
		// At rest nothing is lowered, and a release starts on live reads only.
		return nil
	}
	if err := c.rereadDigests(ctx, s); err != nil && s.live {
		return err
	}
	// What the cache says may lower, and lowering waits for nothing: not for an
	// API server that does not answer, either.
	return nil
}

// knownDigests fills in the digests of the workload and of each set that matters.
func (c *Client) knownDigests(ctx context.Context, s *snapshot) error {
	var err error
	if s.digest, err = c.digestOf(ctx, s, s.target); err != nil {
		return err
	}
	for i, set := range s.sets {
		if s.live && !s.matters(set) {
			continue
		}
		if s.sets[i].digest, err = c.digestOf(ctx, s, set.ReplicaSet); err != nil {
			return err
		}
	}
	return nil
}

// matters is false for a set of history whose template certainly is another than
// the workload's: what differs in the fields that this client library knows
// differs. Its digest is not worth a read, and there may be ten such sets.
func (s *snapshot) matters(set set) bool {
	return set.size() > 0 || s.recorded(set.hash()) || equalAsKnown(&set.Spec.Template, &s.target.Spec.Template)
}

// rereadDigests reads the templates anew, before the workload's is taken for a
// new one: see freshDigest.
func (c *Client) rereadDigests(ctx context.Context, s *snapshot) error {
	target, err := c.freshDigest(ctx, deploymentKind, s.target)
	if err != nil {
		return err
	}
	of := make(map[int]string, len(s.sets))
	for i, set := range s.sets {
		if set.size() > 0 || s.recorded(set.hash()) {
			if of[i], err = c.freshDigest(ctx, replicaSetKind, set.ReplicaSet); err != nil {
				return err
			}
		}
	}
	s.digest = target
	for i, digest := range of {
		s.sets[i].digest = digest
	}
	return nil
}

// digestOf gives the digest of one object of the snapshot.
func (c *Client) digestOf(ctx context.Context, s *snapshot, obj client.Object) (string, error) {
	kind := replicaSetKind
	if _, ok := obj.(*appsv1.Deployment); ok {
		kind = deploymentKind
	}
	cached, ok := obj.GetAnnotations()[digestAnnotation]
	switch {
	case s.live || !ok:
		return c.digest(ctx, kind, obj)
	case kind == deploymentKind:
		// The live reads that follow rest on what the informers have read in full.
		c.digests.Add(digestKey{obj.GetUID(), obj.GetGeneration()}, cached)
		return cached, nil
	default:
		return c.cachedSetDigest(ctx, s, obj, cached)
	}
}

// cachedSetDigest gives the digest of a ReplicaSet of the caches, where that of
// its template's known fields is known. The two differ only where the API server
// is newer than this client library. The template of a set is written once, so
// that what was read of it in full holds as long as its known fields do not
// change. At rest the known fields suffice: nothing is lowered there, and whatever
// a decision would begin is decided again on live reads.
func (c *Client) cachedSetDigest(ctx context.Context, s *snapshot, obj client.Object, known string) (string, error) {
	read, same := digestKey{obj.GetUID(), obj.GetGeneration()}, knownKey{obj.GetUID(), known}
	if v, ok := c.digests.Get(read); ok {
		c.digests.Add(same, v)
		return v.(string), nil
	}
	if v, ok := c.digests.Get(same); ok {
		c.digests.Add(read, v)
		return v.(string), nil
	}
	if !s.rollout.Status.Release.Stage.UnderWay() {
		return known, nil
	}
	return c.freshDigest(ctx, replicaSetKind, obj)
}
