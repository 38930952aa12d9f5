package pods

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

var web = types.NamespacedName{Namespace: "shop", Name: "web"}

// newPod is a running pod of a revision.
func newPod(name, revision string, with ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{hashLabel: revision}}}
	for _, f := range with {
		f(p)
	}
	return p
}

func restarted(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", RestartCount: n}}
	}
}

func waiting(reason string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
		}}
	}
}

func unschedulable(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable"}}
}

func terminating(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }

func TestTrouble(t *testing.T) {
	cases := map[string]struct {
		reason string
		before *corev1.Pod
		after  *corev1.Pod
		gone   bool
		calls  int
	}{
		"New":           {reason: "a pod without trouble is no news", after: newPod("p", "w1"), calls: 0},
		"Starting":      {reason: "every pod waits for its image", after: newPod("p", "w1", waiting("ContainerCreating")), calls: 0},
		"Crash":         {reason: "a restart is trouble", before: newPod("p", "w1"), after: newPod("p", "w1", restarted(1)), calls: 1},
		"CrashAgain":    {reason: "so is every further one", before: newPod("p", "w1", restarted(1)), after: newPod("p", "w1", restarted(2)), calls: 1},
		"Same":          {reason: "an update that changes no trouble is no news", before: newPod("p", "w1", restarted(1)), after: newPod("p", "w1", restarted(1)), calls: 0},
		"Image":         {reason: "an image that cannot be pulled is trouble", after: newPod("p", "w1", waiting("ImagePullBackOff")), calls: 1},
		"Unschedulable": {reason: "a pod that no node takes is trouble", after: newPod("p", "w1", unschedulable), calls: 1},
		"Scheduled":     {reason: "its end is news too", before: newPod("p", "w1", unschedulable), after: newPod("p", "w1"), calls: 1},
		"Terminating":   {reason: "a pod on its way out is news", before: newPod("p", "w1"), after: newPod("p", "w1", terminating), calls: 1},
		"Gone":          {reason: "a pod that is gone is news", before: newPod("p", "w1"), after: newPod("p", "w1"), gone: true, calls: 1},
		"Stable":        {reason: "the stable version's troubles are its own", before: newPod("p", "a"), after: newPod("p", "a", restarted(1)), calls: 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			calls := 0
			f := &followed{
				rollout: web, release: Release{Number: 1, Stable: "a", Canary: "w1"},
				seen: map[string]pod{}, number: map[string]int{}, trouble: func(types.NamespacedName) { calls++ },
			}
			if tc.before != nil {
				if err := f.Replace([]any{tc.before}, ""); err != nil {
					t.Fatal(err)
				}
			}
			calls = 0
			write := f.Update
			if tc.gone {
				write = f.Delete
			}
			if err := write(tc.after); err != nil {
				t.Fatal(err)
			}
			if calls != tc.calls {
				t.Errorf("%s: %d calls, want %d", tc.reason, calls, tc.calls)
			}
		})
	}
}

func TestNamesKeepThoseThatAreGone(t *testing.T) {
	f := &followed{rollout: web, release: Release{Stable: "a", Canary: "w1"}, seen: map[string]pod{}, number: map[string]int{}, trouble: func(types.NamespacedName) {}}
	if _, _, ok := f.names(); ok {
		t.Error("before the first list nothing is known")
	}
	for _, err := range []error{
		f.Replace([]any{newPod("b", "w1"), newPod("s", "a"), newPod("x", "other")}, ""),
		f.Add(newPod("a", "w1")),
		f.Delete(newPod("b", "w1")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	stable, canary, ok := f.names()
	if diff := cmp.Diff([][]string{{"s"}, {"a", "b"}}, [][]string{stable, canary}); diff != "" || !ok {
		t.Errorf("pods that are gone served too: -want, +got:\n%s", diff)
	}
	if err := f.Add("no pod"); err == nil || !strings.Contains(err.Error(), "got a string") {
		t.Errorf("what is no pod is an error: got %v", err)
	}
}

func TestNamesAreBoundedByVersion(t *testing.T) {
	f := &followed{rollout: web, release: Release{Stable: "a", Canary: "w1"}, seen: map[string]pod{}, number: map[string]int{}, trouble: func(types.NamespacedName) {}}
	var pods []any
	for i := range maxNames + 1 {
		pods = append(pods, newPod(fmt.Sprintf("s%d", i), "a"))
	}
	if err := f.Replace(append(pods, newPod("c", "w1")), ""); err != nil {
		t.Fatal(err)
	}
	stable, canary, _ := f.names()
	if len(stable) != maxNames || cmp.Diff([]string{"c"}, canary) != "" {
		t.Errorf("many pods of one version leave room for those of the other: got %d of stable, canary %v", len(stable), canary)
	}
}

func TestWatch(t *testing.T) {
	c := noBookmarks{fake.NewClientBuilder().WithObjects(newPod("c1", "w1"), newPod("s1", "a"), newPod("x", "other")).Build()}
	trouble := make(chan types.NamespacedName, 10)
	w := New(c, func(rollout types.NamespacedName) { trouble <- rollout })
	w.Follow(web, Release{Number: 1, Stable: "a", Canary: "w1"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	crashed := newPod("c2", "w1", restarted(1))
	if err := c.Create(ctx, crashed); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-trouble:
		if got != web {
			t.Errorf("trouble names the Rollout: got %s", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("a crash of the canary calls: no call within 30 s")
	}
	if !w.Trouble(web) || w.Trouble(web) {
		t.Error("trouble is told once")
	}
	w.TellAgain(web)
	if !w.Trouble(web) {
		t.Error("trouble that nobody could look at is told again")
	}
	stable, canary, ok := w.Names(web)
	if !ok || !slices.Equal(stable, []string{"s1"}) || !slices.Equal(canary, []string{"c1", "c2"}) {
		t.Errorf("pods of both versions are known: got %v, %v, %t", stable, canary, ok)
	}
	w.Follow(web, Release{Number: 2, Stable: "w1", Canary: "w2"})
	if _, _, ok := w.Names(web); ok {
		if _, canary, _ := w.Names(web); len(canary) > 0 {
			t.Errorf("another release begins anew: got %v", canary)
		}
	}
	w.Forget(web)
	if _, _, ok := w.Names(web); ok {
		t.Error("what is forgotten has no pods")
	}
}

// noBookmarks says what the fake client cannot do, so that the reflector lists
// and then watches.
type noBookmarks struct{ client.WithWatch }

func (noBookmarks) IsWatchListSemanticsUnSupported() bool { return true }
