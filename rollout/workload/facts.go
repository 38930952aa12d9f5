package workload

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// Facts are what Observe found: the parts of decide.Input that this package
// knows of.
type Facts struct {
	Target   decide.Target
	Sets     []decide.Set
	Backends []decide.Backend
	Preview  *decide.Backend
	Problems []decide.Problem

	// snapshot that they were taken from, nil if from the caches.
	snapshot *snapshot
}

// Services are the user's Services whose callers are split.
func (f Facts) Services() []string {
	var names []string
	for _, b := range f.Backends {
		if !b.Canary {
			names = append(names, b.Name)
		}
	}
	return names
}

// Observe reads the workload of a Rollout. services are the Services that were
// found behind its routes; those that do not select the workload's pods are
// left out of the Facts. Without routes it is empty, and so are the Backends.
//
// With live everything is read from the API server; of the pods, those of the
// canary. Without, the Facts come
// from the informers and are less: no pods, so no crashes, obstacles, ready
// endpoints or terminating pods; only those sets and Services that the caches
// hold; and no Problems. Target.Hold is the caller's to fill in.
//
// An ErrPrecondition says that something changed while it was read: read again.
func (c *Client) Observe(ctx context.Context, rollout *v1alpha1.Rollout, services []string, live bool) (Facts, error) {
	var (
		s   *snapshot
		err error
	)
	if live {
		s, err = c.readLive(ctx, rollout, canaryPods)
	} else {
		s, err = c.readCached(ctx, rollout)
	}
	if err != nil {
		return Facts{}, err
	}
	facts := Facts{Target: s.targetFacts(), Sets: s.setFacts()}
	found, err := c.observeServices(ctx, s, services)
	if err != nil {
		return Facts{}, err
	}
	facts.Backends, facts.Preview = found.backends, found.previewFacts
	if live {
		facts.snapshot = s
		facts.Target.ActsPaused = s.target != nil && c.actsPaused(s.target)
		if facts.Problems, err = c.problems(ctx, s, found); err != nil {
			return Facts{}, err
		}
	}
	return facts, nil
}

// targetFacts are the facts of the Deployment. It has no UID when there is none.
func (s *snapshot) targetFacts() decide.Target {
	if s.target == nil {
		return decide.Target{}
	}
	t := s.target
	author := t.Annotations[v1alpha1.ChangeAuthorAnnotation]
	if author == "" {
		author = t.Annotations[v1alpha1.ChangedByAnnotation]
	}
	return decide.Target{
		UID:                t.UID,
		Generation:         t.Generation,
		ObservedGeneration: t.Status.ObservedGeneration,
		Revision:           s.revision(s.digest),
		Replicas:           replicas(t.Spec.Replicas),
		MaxUnavailable:     maxUnavailable(t),
		Paused:             t.Spec.Paused,
		ActsPaused:         t.Spec.Paused, // More of that is known live.
		Vetoed:             vetoed(t),
		Label:              t.Labels[v1alpha1.RolloutLabel],
		ChangeAuthor:       author,
		ChangedBy:          t.Annotations[v1alpha1.ChangedByAnnotation],
	}
}

// maxUnavailable is how many pods the workload's own strategy may do without, as
// its controller counts: rounded down, at least one where it may not surge
// either, and at most all.
func maxUnavailable(d *appsv1.Deployment) int32 {
	rolling := d.Spec.Strategy.RollingUpdate
	if rolling == nil || rolling.MaxUnavailable == nil || replicas(d.Spec.Replicas) == 0 {
		return 0
	}
	size := replicas(d.Spec.Replicas)
	surge, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(rolling.MaxSurge, intstr.FromInt32(0)), int(size), true)
	if err != nil {
		return 0
	}
	unavailable, err := intstr.GetScaledValueFromIntOrPercent(rolling.MaxUnavailable, int(size), false)
	if err != nil {
		return 0
	}
	if surge == 0 && unavailable == 0 {
		return 1
	}
	return min(int32(unavailable), size)
}

// setFacts are the facts of the ReplicaSets, by name.
func (s *snapshot) setFacts() []decide.Set {
	facts := make([]decide.Set, 0, len(s.sets))
	for _, set := range s.sets {
		fact := decide.Set{
			Name:      set.Name,
			UID:       set.UID,
			Revision:  s.revisionOf(set),
			Hash:      set.hash(),
			Owner:     set.owner,
			Size:      set.size(),
			Pods:      set.Status.Replicas,
			Available: set.Status.AvailableReplicas,
			Created:   set.CreationTimestamp.Time,
			Stamp:     stampOf(set),
			Vetoed:    vetoed(set),
			Labelled:  set.owner != decide.OwnerWeir,
		}
		if set.DeletionTimestamp != nil {
			fact.Size = 0 // it makes no pods any more, whatever its spec says
		}
		if s.hasPodsOf(set) {
			s.podFacts(set, &fact)
		}
		facts = append(facts, fact)
	}
	return facts
}

// podFacts adds what the pods of a set tell. Its status is counted by another
// controller a moment later than they change, so of the two numbers of
// available pods the smaller one holds.
func (s *snapshot) podFacts(set set, fact *decide.Set) {
	var ready int32
	var unscheduled string
	for i := range s.pods {
		pod := &s.pods[i]
		if c := metav1.GetControllerOfNoCopy(pod); c == nil || c.UID != set.UID {
			continue
		}
		if pod.DeletionTimestamp != nil {
			continue
		}
		if podReady(pod) {
			ready++
		}
		if unscheduled == "" {
			unscheduled = unschedulable(pod)
		}
		if fact.Stuck == "" {
			fact.Stuck = stuck(pod)
		}
		fact.Crash = worse(fact.Crash, crashOf(pod))
	}
	fact.Available = min(fact.Available, ready)
	if fact.Obstacle = createFailure(set.ReplicaSet); fact.Obstacle == "" {
		fact.Obstacle = unscheduled
	}
}

// stampOf reads an object's stamp; 0 when it has none.
func stampOf(obj metav1.Object) int64 {
	n, err := strconv.ParseInt(obj.GetAnnotations()[v1alpha1.SeqAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// vetoed is true for an object with the handover annotation.
func vetoed(obj metav1.Object) bool {
	_, ok := obj.GetAnnotations()[v1alpha1.HandoverAnnotation]
	return ok
}

// podReady is true for a pod that takes traffic.
func podReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
