package controller

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// lock answers every write with an error, or none.
type lock struct {
	resourcelock.Interface
	err error
}

func (l *lock) Create(context.Context, resourcelock.LeaderElectionRecord) error { return l.err }
func (l *lock) Update(context.Context, resourcelock.LeaderElectionRecord) error { return l.err }

func TestNoPassWithoutTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &lock{}
		l := &lease{Interface: server, duration: 15 * time.Second}
		passes := 0
		guarded := whileHeld(l, reconcile.Func(func(context.Context, reconcile.Request) (reconcile.Result, error) {
			passes++
			return reconcile.Result{}, nil
		}))
		pass := func(reason string, want int) {
			t.Helper()
			result, err := guarded.Reconcile(t.Context(), reconcile.Request{})
			if err != nil || passes != want {
				t.Errorf("%s: %d passes, %v, want %d", reason, passes, err, want)
			}
			if acted := result.RequeueAfter == 0; acted != (passes > 0 && l.held()) {
				t.Errorf("%s: comes back after %s", reason, result.RequeueAfter)
			}
		}
		pass("who never had the lease does nothing", 0)
		if err := l.Create(t.Context(), resourcelock.LeaderElectionRecord{}); err != nil {
			t.Fatal(err)
		}
		pass("who has it acts", 1)
		time.Sleep(20 * time.Second) // Frozen, as far as the process knows.
		pass("who was frozen for longer than it lasts does nothing", 1)
		server.err = errors.New("held by another")
		if err := l.Update(t.Context(), resourcelock.LeaderElectionRecord{}); err == nil {
			t.Fatal("the lease's error is the caller's")
		}
		pass("a renewal that failed is none", 1)
		server.err = nil
		if err := l.Update(t.Context(), resourcelock.LeaderElectionRecord{}); err != nil {
			t.Fatal(err)
		}
		pass("one that succeeded is", 2)
	})
}
