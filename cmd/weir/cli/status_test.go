package cli

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// cluster has one Deployment at a generation, and a Rollout that changes with
// time: it is as the last state that is due says. A nil Rollout is an API server
// that is away.
type cluster struct {
	generation int64
	states     []stateAt
}

type stateAt struct {
	after   time.Duration
	rollout *v1alpha1.Rollout
}

// client reads the cluster from now on.
func (k cluster) client() client.Client {
	began := time.Now()
	builder := fake.NewClientBuilder().WithScheme(newScheme())
	if k.generation > 0 {
		builder.WithObjects(&appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web", UID: "w", Generation: k.generation,
		}})
	}
	return builder.WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
			r, ok := into.(*v1alpha1.Rollout)
			if !ok {
				return c.Get(ctx, key, into, opts...)
			}
			var due *v1alpha1.Rollout
			for _, state := range k.states {
				if time.Since(began) >= state.after {
					due = state.rollout
				}
			}
			if due == nil {
				return apierrors.NewServiceUnavailable("away")
			}
			due.DeepCopyInto(r)
			return nil
		},
	}).Build()
}

// seen is a Rollout in a state that rests on a generation of its workload.
func seen(reason string, generation int64) *v1alpha1.Rollout {
	return rolloutIn(reason, "", func(r *v1alpha1.Rollout) {
		r.Status.Workload = v1alpha1.WorkloadStatus{UID: "w", ObservedGeneration: generation}
	})
}

func TestAwaitOutcome(t *testing.T) {
	const timeout = 10 * time.Minute
	cases := map[string]struct {
		reason  string
		cluster cluster
		want    outcome
		// took is how long the wait was.
		took time.Duration
	}{
		"AtRest": {
			"a stable Rollout that has seen the newest workload is an outcome at once",
			cluster{2, []stateAt{{0, seen(v1alpha1.ReasonStable, 2)}}}, outcomeDone, 0,
		},
		"StableBefore": {
			"a status that was stable before the newest template came is not its outcome",
			cluster{3, []stateAt{
				{0, seen(v1alpha1.ReasonStable, 2)},
				{30 * time.Second, seen(v1alpha1.ReasonReleasing, 3)},
				{time.Minute, seen(v1alpha1.ReasonStable, 3)},
			}}, outcomeDone, time.Minute,
		},
		"StableForEver": {
			"where the controller does not run, an old success never becomes a new one",
			cluster{3, []stateAt{{0, seen(v1alpha1.ReasonStable, 2)}}}, outcomeWaiting, timeout,
		},
		"FailedBefore": {
			"a fix that is applied after a rollback is waited for, not answered with that rollback",
			cluster{3, []stateAt{
				{0, seen(v1alpha1.ReasonRolledBack, 2)},
				{5 * time.Second, seen(v1alpha1.ReasonReleasing, 3)},
				{time.Minute, seen(v1alpha1.ReasonStable, 3)},
			}}, outcomeDone, time.Minute,
		},
		"FailedAndScaled": {
			"a failure that lasts is one, though somebody has scaled the workload since",
			cluster{3, []stateAt{{0, seen(v1alpha1.ReasonRolledBack, 2)}}}, outcomeFailed, failureGrace,
		},
		"FailedAgain": {
			"the time in which a failure is not believed starts anew with each failure",
			cluster{3, []stateAt{
				{0, seen(v1alpha1.ReasonRolledBack, 2)},
				{9 * time.Second, seen(v1alpha1.ReasonReleasing, 2)},
				{20 * time.Second, seen(v1alpha1.ReasonRolledBack, 2)},
			}}, outcomeFailed, 20*time.Second + failureGrace,
		},
		"NoWorkload": {
			"without a workload there is nothing newer to see",
			cluster{0, []stateAt{{0, seen(v1alpha1.ReasonWorkloadNotFound, 0)}}}, outcomeFailed, 0,
		},
		"Away": {
			"an API server that is away is waited for",
			cluster{2, []stateAt{{0, nil}, {40 * time.Second, seen(v1alpha1.ReasonStable, 2)}}}, outcomeDone, 40 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), timeout)
				defer cancel()
				began := time.Now()
				got, err := awaitOutcome(ctx, tc.cluster.client(), seen(v1alpha1.ReasonStable, 1), func(standing) {})
				if err != nil {
					t.Fatalf("%s: %v", tc.reason, err)
				}
				if diff := cmp.Diff(tc.want, got.outcome); diff != "" {
					t.Errorf("%s: outcome: -want +got:\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(tc.took, time.Since(began)); diff != "" {
					t.Errorf("%s: time: -want +got:\n%s", tc.reason, diff)
				}
			})
		})
	}
}

func TestAwaitOutcomeEndsWhereNothingWillCome(t *testing.T) {
	gone := fake.NewClientBuilder().WithScheme(newScheme()).Build()
	_, err := awaitOutcome(t.Context(), gone, seen(v1alpha1.ReasonStable, 1), func(standing) {})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a Rollout that was deleted ends the wait: want NotFound, got %v", err)
	}
}

func TestProgress(t *testing.T) {
	var out strings.Builder
	say := progress(&out)
	waiting := seen(v1alpha1.ReasonWaitingForApproval, 1)
	waiting.Status.WaitingFor = "approval sre 0/1"
	for _, answer := range []standing{
		{rollout: seen(v1alpha1.ReasonReleasing, 1)}, {rollout: waiting}, {rollout: waiting}, {rollout: waiting, behind: "the API server is away"},
	} {
		say(answer)
	}
	want := "web: Releasing\nweb: WaitingForApproval, waiting for approval sre 0/1\nweb: the API server is away\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("each change is said once: -want +got:\n%s", diff)
	}
}

func TestStandingOfNamesTheGeneration(t *testing.T) {
	k := cluster{generation: 3}
	answer, err := standingOf(t.Context(), k.client(), seen(v1alpha1.ReasonStable, 2))
	if err != nil {
		t.Fatal(err)
	}
	if want := "generation 3 of Deployment web"; answer.outcome != outcomeWaiting || !strings.Contains(answer.behind, want) {
		t.Errorf("a status that is behind is no success, and says of what: got %v, %q", answer.outcome, answer.behind)
	}
}
