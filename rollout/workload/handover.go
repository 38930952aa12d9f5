package workload

import (
	"context"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// beginHandOver lets the workload's controller adopt, but not roll: the
// annotation and the end of the pause are one write.
func (c *Client) beginHandOver(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.renewed(ctx, pass)
	if err != nil {
		return err
	}
	if err := s.templateIs(effect.Revision); err != nil {
		return err
	}
	if vetoed(s.target) && !s.target.Spec.Paused {
		return nil
	}
	if s.target.Status.ObservedGeneration < s.target.Generation {
		return unmet("generation %d of Deployment %q is not observed yet", s.target.Generation, s.target.Name)
	}
	if err := s.noTwin(effect.Revision); err != nil {
		return err
	}
	if err := s.full(effect.Revision); err != nil {
		return err
	}
	if err := c.checkUsersOwn(ctx, pass); err != nil {
		return err
	}
	if err := c.checkNarrowed(ctx, pass, ""); err != nil {
		return err
	}
	before := s.target.DeepCopy()
	annotate(s.target, v1alpha1.HandoverAnnotation, effect.Revision)
	s.target.Spec.Paused = false
	return c.patch(ctx, pass, before, s.target)
}

// full makes sure that the canary has the size of the workload, all of it
// available. It may be labelled already: a template that came and went has
// paused the workload before it could adopt.
func (s *snapshot) full(revision string) error {
	want := replicas(s.target.Spec.Replicas)
	for _, fact := range s.setFacts() {
		if fact.Owner == decide.OwnerTarget || fact.Hash != revision {
			continue
		}
		if fact.Size != want || fact.Available < want {
			return unmet("ReplicaSet %q has size %d with %d available, Deployment %q asks for %d",
				fact.Name, fact.Size, fact.Available, s.target.Name, want)
		}
		return nil
	}
	return unmet("there is no canary of revision %q", revision)
}

// adopt gives the canary's set the labels that its Deployment gives to its own.
// The stamp goes with Weir's label: from now on the set is not Weir's. It gets
// no annotation of its desired size, which would make the controller scale the
// sets in proportion.
func (c *Client) adopt(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.renewed(ctx, pass)
	if err != nil {
		return err
	}
	set, ok := s.named(effect.Name)
	if ok && set.owner != decide.OwnerWeir {
		return nil
	}
	if err := s.templateIs(effect.Revision); err != nil {
		return err
	}
	if !vetoed(s.target) || c.actsPaused(s.target) {
		return unmet("Deployment %q is not ready to adopt: handover annotation %t, paused %t, or its controller may still take it for paused",
			s.target.Name, vetoed(s.target), s.target.Spec.Paused)
	}
	if !ok || set.hash() != effect.Revision {
		return unmet("ReplicaSet %q is not the canary of revision %q", effect.Name, effect.Revision)
	}
	if err := s.full(effect.Revision); err != nil {
		return err
	}
	if err := pass.fence(set); err != nil {
		return err
	}
	before := set.DeepCopy()
	set.Labels = labels.Merge(set.Spec.Template.Labels, labels.Set{HashLabel: effect.Revision})
	delete(set.Annotations, v1alpha1.SeqAnnotation)
	return c.patch(ctx, pass, before, set.ReplicaSet)
}

const (
	// Reasons of a Deployment's condition Progressing.
	reasonPaused   = "DeploymentPaused"
	reasonTimedOut = "ProgressDeadlineExceeded"
	// noProgressDeadline is the progressDeadlineSeconds that means none.
	noProgressDeadline = math.MaxInt32
	// resumeGrace is how long the workload's controller gets to see that it may go
	// on, where it does not say so.
	resumeGrace = 5 * time.Second
)

// actsPaused says whether the workload's controller may still take it for paused.
// What it adopts then it scales with the other sets, and takes pods that serve.
//
// The controller says what it has seen in the condition Progressing, before it
// does anything else (checkPausedConditions in its sync.go). It does not keep that
// condition without a progress deadline, nor once that is exceeded. Then it gets a
// while from when this process first saw the workload resumed.
func (c *Client) actsPaused(d *appsv1.Deployment) bool {
	if d.Spec.Paused {
		return true
	}
	timedOut := false
	for _, condition := range d.Status.Conditions {
		if condition.Type == appsv1.DeploymentProgressing {
			if condition.Reason == reasonPaused {
				return true
			}
			timedOut = condition.Reason == reasonTimedOut
		}
	}
	if deadline := d.Spec.ProgressDeadlineSeconds; deadline != nil && *deadline != noProgressDeadline && !timedOut {
		return false
	}
	key := digestKey{d.UID, d.Generation}
	since, ok := c.resumed.Get(key)
	if !ok {
		since = c.now()
		c.resumed.Add(key, since)
	}
	at, ok := since.(time.Time)
	return !ok || c.now().Sub(at) < resumeGrace
}

// endHandOver takes the annotation off the workload. Where nothing was adopted,
// since the release ended in between, the workload's controller would now roll
// to a template that nobody has promoted: then the workload is paused again in
// the same write.
func (c *Client) endHandOver(ctx context.Context, pass Pass, _ decide.Effect) error {
	s, err := c.decidedOn(ctx, pass)
	if err != nil {
		return err
	}
	if s.target == nil || !vetoed(s.target) {
		return nil
	}
	runs := false
	for _, set := range s.sets {
		if set.owner == decide.OwnerNone {
			return unmet("ReplicaSet %q is labelled for Deployment %q and not adopted yet", set.Name, s.target.Name)
		}
		runs = runs || set.owner == decide.OwnerTarget && set.size() > 0 && set.digest == s.digest
	}
	before := s.target.DeepCopy()
	delete(s.target.Annotations, v1alpha1.HandoverAnnotation)
	if !runs {
		s.target.Spec.Paused = true
	}
	return c.patch(ctx, pass, before, s.target)
}

// unveto takes the annotation off a set, to which the workload's controller has
// copied it. Left there, kubectl rollout undo would bring it back.
func (c *Client) unveto(ctx context.Context, pass Pass, effect decide.Effect) error {
	set, err := c.replicaSet(ctx, pass, effect.Name)
	if apierrors.IsNotFound(err) || err == nil && !vetoed(set) {
		return nil
	}
	if err != nil {
		return err
	}
	target, err := c.target(ctx, pass)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && vetoed(target) {
		return unmet("Deployment %q still has the annotation %s and would copy it again", target.Name, v1alpha1.HandoverAnnotation)
	}
	before := set.DeepCopy()
	delete(set.Annotations, v1alpha1.HandoverAnnotation)
	return c.patch(ctx, pass, before, set)
}

// deleteTwin deletes an empty set of history.
func (c *Client) deleteTwin(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.readLive(ctx, pass.Rollout, allPods)
	if err != nil {
		return err
	}
	set, ok := s.named(effect.Name)
	if !ok || set.DeletionTimestamp != nil {
		return nil
	}
	if set.owner != decide.OwnerTarget || !set.empty() || s.hasPods(set) {
		return unmet("ReplicaSet %q is not an empty one of Deployment %q", set.Name, pass.Rollout.Spec.WorkloadRef.Name)
	}
	return c.remove(ctx, pass, set.ReplicaSet, metav1.DeletePropagationBackground)
}

// hasPods is true if pods of the set are there, be it on their way out.
func (s *snapshot) hasPods(set set) bool {
	for i := range s.pods {
		if c := metav1.GetControllerOfNoCopy(&s.pods[i]); c != nil && c.UID == set.UID {
			return true
		}
	}
	return false
}

// shrinkSet takes pods from one of two sets of the workload, where a third
// template has paused the workload in the middle of its roll from one to the
// other. The workload's controller gives them to the larger set.
func (c *Client) shrinkSet(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.readPaused(ctx, pass)
	if err != nil {
		return err
	}
	shrinking, ok := s.named(effect.Name)
	if !ok || shrinking.owner != decide.OwnerTarget || shrinking.size() <= effect.Size {
		return nil
	}
	if err := s.interrupted(shrinking, effect.Revision); err != nil {
		return err
	}
	before := shrinking.DeepCopy()
	shrinking.Spec.Replicas = &effect.Size
	return c.patch(ctx, pass, before, shrinking.ReplicaSet)
}

// readPaused reads a workload that is paused, so that its controller does not
// roll meanwhile.
func (c *Client) readPaused(ctx context.Context, pass Pass) (*snapshot, error) {
	s, err := c.readLive(ctx, pass.Rollout, noPods)
	if err != nil {
		return nil, err
	}
	if s.target == nil || !s.target.Spec.Paused {
		return nil, unmet("Deployment %q is not paused", pass.Rollout.Spec.WorkloadRef.Name)
	}
	return s, nil
}

// expelSet takes all pods of a set of the workload, while another one is there
// to get them. Where that has a size, the workload's controller gives them to it.
// Where it has none, the set has to go altogether, before the controller looks
// at another; that is done only when none of its pods serves.
func (c *Client) expelSet(ctx context.Context, pass Pass, effect decide.Effect) error {
	s, err := c.readPaused(ctx, pass)
	if err != nil {
		return err
	}
	expelled, ok := s.named(effect.Name)
	if !ok || expelled.owner != decide.OwnerTarget || expelled.DeletionTimestamp != nil {
		return nil
	}
	kept, ok := s.ownSet(effect.Revision)
	if !ok || kept.UID == expelled.UID {
		return unmet("Deployment %q has no ReplicaSet of revision %q that could take the place of %q", s.target.Name, effect.Revision, expelled.Name)
	}
	if kept.size() == 0 {
		return c.removeUseless(ctx, pass, expelled)
	}
	if expelled.size() == 0 {
		return nil
	}
	before := expelled.DeepCopy()
	expelled.Spec.Replicas = new(int32)
	return c.patch(ctx, pass, before, expelled.ReplicaSet)
}

// removeUseless deletes a set of which no pod is available.
func (c *Client) removeUseless(ctx context.Context, pass Pass, set set) error {
	if n := set.Status.AvailableReplicas; n > 0 {
		return unmet("ReplicaSet %q has available pods, %d, and the stable version has none that could take their place", set.Name, n)
	}
	return c.remove(ctx, pass, set.ReplicaSet, metav1.DeletePropagationBackground)
}

// ownSet finds the workload's own set of a hash.
func (s *snapshot) ownSet(hash string) (set, bool) {
	for _, set := range s.sets {
		if set.owner == decide.OwnerTarget && set.hash() == hash {
			return set, true
		}
	}
	return set{}, false
}

// interrupted makes sure that the set of the hash, which is to be kept, is the
// workload's and not smaller than the other one, and that the workload is not to
// go on with the roll between the two: that its template is not stable's or the
// canary's, which one of them has.
func (s *snapshot) interrupted(shrinking set, hash string) error {
	kept, ok := s.ownSet(hash)
	if !ok || kept.UID == shrinking.UID {
		return unmet("Deployment %q has no other ReplicaSet of revision %q", s.target.Name, hash)
	}
	revision, status := s.revision(s.digest), &s.rollout.Status
	awaited := revision == status.Stable.Revision || revision == status.Canary.Revision
	if awaited && (shrinking.digest == s.digest || kept.digest == s.digest) || kept.size() < shrinking.size() {
		return unmet("ReplicaSet %q of size %d is not to give way to %q of size %d: the template is revision %q",
			shrinking.Name, shrinking.size(), kept.Name, kept.size(), revision)
	}
	return nil
}
