package workload

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// decidedAge is how old what was read for a decision may be for an effect of
	// it to rest on that.
	decidedAge = 2 * time.Second
	// recordAge is for how long a record confirms what was read before it.
	recordAge = time.Second
)

// takeDecided gives the effect what was read for the decision, named by what was
// recorded since.
//
// That serves as well as another read. What an effect writes, it writes on
// condition that it is as it was read, so that an earlier read makes the
// condition stricter. Other controllers are excluded by the confirmation, which
// comes later. What people and the cluster do to other objects can come between
// any read and the write; only the handover, which cannot be taken back, reads
// anew to make that moment short.
func (c *Client) takeDecided(ctx context.Context, pass *Pass) error {
	if pass.Facts == nil || pass.Facts.snapshot == nil || c.now().Sub(pass.Facts.snapshot.read) > decidedAge {
		return nil
	}
	s := *pass.Facts.snapshot
	s.rollout, s.sets = pass.Rollout, slices.Clone(s.sets)
	if err := c.readDigests(ctx, &s); err != nil {
		return err
	}
	pass.decided = &s
	return nil
}

// decidedOn is what was read for the decision, or what is read now if that is no
// longer of use.
func (c *Client) decidedOn(ctx context.Context, pass Pass) (*snapshot, error) {
	if pass.decided != nil {
		return pass.decided, nil
	}
	return c.readLive(ctx, pass.Rollout, noPods)
}

// renewed is what was read for the decision, with the workload and its sets that
// have a size read anew. It gets them one by one: a list waits until the cache of
// the API server is known to be up to date, which may take a tenth of a second.
func (c *Client) renewed(ctx context.Context, pass Pass) (*snapshot, error) {
	if pass.decided == nil || pass.decided.target == nil || pass.decided.podsOf != pass.Rollout.Status.Canary.Revision {
		return c.readLive(ctx, pass.Rollout, canaryPods)
	}
	s := *pass.decided
	s.sets = slices.Clone(s.sets)
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		s.target, err = c.target(groupCtx, pass)
		return err
	})
	for i := range s.sets {
		if s.sets[i].size() > 0 {
			group.Go(func() (err error) {
				s.sets[i].ReplicaSet, err = c.liveSet(groupCtx, pass, s.sets[i].Name)
				return err
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err //nolint:wrapcheck // they say what could not be read
	}
	if s.target.UID != pass.decided.target.UID {
		return nil, unmet("Deployment %q is another one", s.target.Name)
	}
	for i, old := range pass.decided.sets {
		owner, ok := s.ownerOf(s.sets[i].ReplicaSet)
		if !ok || s.sets[i].UID != old.UID {
			return nil, unmet("ReplicaSet %q is another one", old.Name)
		}
		s.sets[i].owner = owner
	}
	return &s, c.readDigests(ctx, &s)
}

// confirmChange confirms the change of an object that exists. A record that was
// made after the object was read is a confirmation by itself: the Rollout was
// written on condition that nobody had recorded anything else. It counts only for
// a moment, since a process may have been stopped in between. What raises is
// confirmed in any case: the Rollout may be deleted, and the template another.
func (c *Client) confirmChange(ctx context.Context, pass Pass, obj client.Object) error {
	s := pass.decided
	if pass.raise || s == nil || !s.holds(obj) || pass.Recorded.IsZero() || c.now().Sub(pass.Recorded) > recordAge {
		return pass.confirm(ctx)
	}
	return nil
}

// holds is true if the object is in the snapshot, in the same version.
func (s *snapshot) holds(obj client.Object) bool {
	same := func(have client.Object) bool {
		return have.GetUID() == obj.GetUID() && have.GetResourceVersion() == obj.GetResourceVersion()
	}
	return s.target != nil && same(s.target) || slices.ContainsFunc(s.sets, func(set set) bool { return same(set.ReplicaSet) })
}

// keepDigest remembers the digest of an object that was changed just now: no
// effect that goes through patch changes the template. Where admission did, it
// differs also in fields that are known here.
func (c *Client) keepDigest(before, after client.Object) {
	digest, ok := c.digests.Get(digestKey{before.GetUID(), before.GetGeneration()})
	if !ok || before.GetUID() != after.GetUID() {
		return
	}
	switch after := after.(type) {
	case *appsv1.Deployment:
		if old, ok := before.(*appsv1.Deployment); !ok || !equalAsKnown(&old.Spec.Template, &after.Spec.Template) {
			return
		}
	case *appsv1.ReplicaSet:
		if old, ok := before.(*appsv1.ReplicaSet); !ok || !equalAsKnown(&old.Spec.Template, &after.Spec.Template) {
			return
		}
	default:
		return
	}
	c.digests.Add(digestKey{after.GetUID(), after.GetGeneration()}, digest)
}
