package workload

import (
	"context"
	"fmt"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/rollout/decide"
)

// Pass is what the effects of one decision rest on.
type Pass struct {
	// Rollout as it was recorded: its resourceVersion is that of the newest write
	// of the caller, and status.record.seq the stamp.
	Rollout *v1alpha1.Rollout
	// Services are the user's Services whose callers are split: Facts.Services.
	Services []string
	// Routes reads live what the routes send to the canary; nil without routes.
	Routes func(context.Context) (providers.Observation, error)
	// Facts are what the decision rests on, if they were read live and nothing
	// was done since that could change them.
	Facts *Facts
	// Recorded is when the pass began to write the Rollout as it is here, zero if
	// it has not written it.
	Recorded time.Time

	// confirm is asked between the read of an object and the write of it. raise
	// says that the effect raises.
	confirm func(context.Context) error
	raise   bool
	// decided is what Facts were taken from, as long as an effect may rest on it.
	decided *snapshot
}

// seq is the stamp of every write of the pass.
func (p Pass) seq() int64 { return p.Rollout.Status.Record.Seq }

// Handles is true for the effects that Apply performs: all but those on routes
// and on the Rollout itself.
func Handles(kind decide.EffectKind) bool {
	_, ok := performers[kind]
	return ok
}

// performers are the effects; see decide.EffectKind for what must be true
// before each.
var performers = map[decide.EffectKind]func(*Client, context.Context, Pass, decide.Effect) error{
	decide.EffectLabel:          (*Client).label,
	decide.EffectUnlabel:        (*Client).unlabel,
	decide.EffectPause:          (*Client).pause,
	decide.EffectUnpause:        (*Client).unpause,
	decide.EffectRevertTemplate: (*Client).revertTemplate,
	decide.EffectPin:            (*Client).pin,
	decide.EffectWiden:          (*Client).widen,
	decide.EffectEnsureBackend:  (*Client).ensureBackend,
	decide.EffectDeleteBackend:  (*Client).deleteBackend,
	decide.EffectShowPreview:    (*Client).showPreview,
	decide.EffectDeletePreview:  (*Client).deletePreview,
	decide.EffectCreateCanary:   (*Client).createCanary,
	decide.EffectScaleCanary:    (*Client).scaleCanary,
	decide.EffectSealCanary:     (*Client).sealCanary,
	decide.EffectDeleteCanary:   (*Client).deleteCanary,
	decide.EffectDeleteTwin:     (*Client).deleteTwin,
	decide.EffectShrinkSet:      (*Client).shrinkSet,
	decide.EffectExpelSet:       (*Client).expelSet,
	decide.EffectBeginHandOver:  (*Client).beginHandOver,
	decide.EffectAdopt:          (*Client).adopt,
	decide.EffectEndHandOver:    (*Client).endHandOver,
	decide.EffectUnveto:         (*Client).unveto,
}

// Apply performs one effect. It may be repeated: an effect that is in place
// already writes nothing. The error is an ErrPrecondition or ErrFenced, with
// nothing written; or a conflict or another error of the API server.
//
// Each write is confirmed: the object to write is read first, then the Rollout,
// and then the object is written on condition that it is as it was read. In any
// other order a process that was stopped for a while could write what a record
// of its past allowed.
func (c *Client) Apply(ctx context.Context, pass Pass, effect decide.Effect) error {
	perform, ok := performers[effect.Kind]
	if !ok {
		return fmt.Errorf("effect %q is not one on the workload or its Services", effect.Kind)
	}
	pass.raise = effect.Raise
	pass.confirm = func(ctx context.Context) error {
		if effect.Raise {
			return c.ConfirmRaise(ctx, pass)
		}
		return c.Confirm(ctx, pass)
	}
	if err := c.takeDecided(ctx, &pass); err != nil {
		return fmt.Errorf("cannot perform %s: %w", effect.Kind, err)
	}
	if err := perform(c, ctx, pass, effect); err != nil {
		return fmt.Errorf("cannot perform %s: %w", effect.Kind, missing(err))
	}
	return nil
}

// missing makes an ErrPrecondition of an error about an object that is not
// there.
func missing(err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w: %w", ErrPrecondition, err)
	}
	return err
}

// Confirm makes sure that nobody has recorded anything, or edited the Rollout,
// since the pass did.
func (c *Client) Confirm(ctx context.Context, pass Pass) error {
	// Its metadata suffice, and the API server sends them in its compact encoding.
	now := &metav1.PartialObjectMetadata{}
	now.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Rollout"))
	if err := c.live.Get(ctx, client.ObjectKeyFromObject(pass.Rollout), now); err != nil {
		return fmt.Errorf("cannot read Rollout %q: %w", pass.Rollout.Name, missing(err))
	}
	if now.UID != pass.Rollout.UID || now.ResourceVersion != pass.Rollout.ResourceVersion {
		return unmet("Rollout %q changed since its record", now.Name)
	}
	return nil
}

// ConfirmRaise is Confirm for effects that raise. In addition, the Rollout is
// not being deleted, and the workload's template is still the canary's.
func (c *Client) ConfirmRaise(ctx context.Context, pass Pass) error {
	if pass.Rollout.DeletionTimestamp != nil {
		return unmet("the Rollout is being deleted")
	}
	canary := pass.Rollout.Status.Canary.Revision
	target, err := c.target(ctx, pass)
	if err != nil {
		return missing(err)
	}
	digest, err := c.digest(ctx, deploymentKind, target)
	if err != nil {
		return err
	}
	if revisionOfDigest(digest) != canary || target.DeletionTimestamp != nil {
		// The name of a template may also be that of a set which has it.
		s, err := c.readLive(ctx, pass.Rollout, noPods)
		if err != nil {
			return err
		}
		if err := s.templateIs(canary); err != nil {
			return err
		}
	}
	return c.Confirm(ctx, pass)
}

// templateIs makes sure that the workload is there and its template is of the
// revision.
func (s *snapshot) templateIs(revision string) error {
	if s.target == nil {
		return unmet("Deployment %q does not exist", s.rollout.Spec.WorkloadRef.Name)
	}
	if s.target.DeletionTimestamp != nil {
		return unmet("Deployment %q is being deleted", s.target.Name)
	}
	if have := s.revision(s.digest); have != revision {
		return unmet("the template of Deployment %q is revision %q, not %q", s.target.Name, have, revision)
	}
	return nil
}

// named finds a set by name.
func (s *snapshot) named(name string) (set, bool) {
	for _, set := range s.sets {
		if set.Name == name {
			return set, true
		}
	}
	return set{}, false
}

// fence refuses objects with a newer stamp than the pass.
func (p Pass) fence(obj metav1.Object) error {
	if stamp := stampOf(obj); stamp > p.seq() {
		return fmt.Errorf("%w: %q has stamp %d, the record is %d", ErrFenced, obj.GetName(), stamp, p.seq())
	}
	return nil
}

// stamp sets the stamp of the pass on an object.
func (p Pass) stamp(obj metav1.Object) {
	annotate(obj, v1alpha1.SeqAnnotation, strconv.FormatInt(p.seq(), 10))
}

// annotate sets an annotation.
func annotate(obj metav1.Object, key, value string) {
	annotations := obj.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[key] = value
	obj.SetAnnotations(annotations)
}

// patch writes the difference between two states of an object, on condition
// that the object is still as it was read. Fields that this client library does
// not know are not in the difference, and stay.
func (c *Client) patch(ctx context.Context, pass Pass, before, after client.Object) error {
	if err := c.confirmChange(ctx, pass, before); err != nil {
		return err
	}
	if err := c.swap(ctx, before, after); err != nil {
		return err
	}
	c.keepDigest(before, after)
	return nil
}

// swap is patch without the confirmation, for objects that no Rollout stands for
// any more.
func (c *Client) swap(ctx context.Context, before, after client.Object) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := c.writer.Patch(ctx, after, patch, client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("cannot change %q: %w", after.GetName(), err)
	}
	return nil
}

// create makes an object. No stamp can fence that: the confirmation is all.
func (c *Client) create(ctx context.Context, pass Pass, obj client.Object) error {
	if err := pass.confirm(ctx); err != nil {
		return err
	}
	if err := c.writer.Create(ctx, obj, client.FieldOwner(FieldManager)); err != nil {
		return fmt.Errorf("cannot create %q: %w", obj.GetName(), err)
	}
	return nil
}

// remove deletes an object on condition that it is still as it was read.
func (c *Client) remove(ctx context.Context, pass Pass, obj client.Object, propagation metav1.DeletionPropagation) error {
	if err := pass.confirm(ctx); err != nil {
		return err
	}
	return c.discard(ctx, obj, propagation)
}

// discard is remove without the confirmation, for objects that no Rollout stands
// for any more.
func (c *Client) discard(ctx context.Context, obj client.Object, propagation metav1.DeletionPropagation) error {
	uid, version := obj.GetUID(), obj.GetResourceVersion()
	err := c.writer.Delete(ctx, obj,
		client.Preconditions{UID: &uid, ResourceVersion: &version},
		client.PropagationPolicy(propagation))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot delete %q: %w", obj.GetName(), err)
	}
	return nil
}
