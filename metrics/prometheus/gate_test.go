package prometheus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestGateIsFair: a namespace with many queries and one with few take turns.
func TestGateIsFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if err := g.enter(t.Context(), "busy"); err != nil {
			t.Fatal(err)
		}
		var order []string
		var wait sync.WaitGroup
		for _, query := range []struct{ namespace, name string }{
			{"busy", "busy 1"}, {"busy", "busy 2"}, {"busy", "busy 3"}, {"calm", "calm 1"}, {"other", "other 1"}, {"calm", "calm 2"},
		} {
			wait.Go(func() {
				if err := g.enter(t.Context(), query.namespace); err != nil {
					t.Error(err)
				}
				order = append(order, query.name) // One at a time is in.
				g.leave()
			})
			synctest.Wait() // They arrive in this order.
		}
		g.leave()
		wait.Wait()
		want := []string{"busy 1", "calm 1", "other 1", "busy 2", "calm 2", "busy 3"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("namespaces take turns: -want, +got:\n%s", diff)
		}
		if g.free != 1 || len(g.waiting) != 0 || len(g.turns) != 0 {
			t.Errorf("nothing is left behind: %+v", g)
		}
	})
}

// TestGateGivesUp: a query that no longer waits holds up nobody.
func TestGateGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(1)
		if err := g.enter(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := g.enter(ctx, "b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the end of the context", err)
		}
		g.leave()
		if err := g.enter(t.Context(), "c"); err != nil {
			t.Error(err)
		}
		g.leave()
		if g.free != 1 || len(g.waiting) != 0 || len(g.turns) != 0 {
			t.Errorf("nothing is left behind: %+v", g)
		}
	})
}

// TestGateTurnOfNobody: a turn that comes in the moment in which a query gives up
// is another's.
func TestGateTurnOfNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			g := newGate(1)
			if err := g.enter(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				if g.enter(ctx, "b") == nil {
					g.leave()
				}
			}()
			synctest.Wait()
			cancel()
			g.leave()
			<-done
			if g.free != 1 {
				t.Fatalf("the turn is lost: %d are free", g.free)
			}
		}
	})
}

// TestGateBound: never more than its size are in, whoever gives up when, and in
// the end it is as free as at the beginning.
func TestGateBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(3)
		var mutex sync.Mutex
		inside, most, entered := 0, 0, 0
		var wait sync.WaitGroup
		for i := range 200 {
			wait.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%40)*time.Millisecond+time.Microsecond)
				defer cancel()
				if g.enter(ctx, fmt.Sprint(i%7)) != nil {
					return
				}
				defer g.leave()
				mutex.Lock()
				inside++
				entered++
				most = max(most, inside)
				mutex.Unlock()
				time.Sleep(time.Millisecond) // Of the bubble's clock.
				mutex.Lock()
				inside--
				mutex.Unlock()
			})
		}
		wait.Wait()
		if most != 3 || entered < 20 {
			t.Errorf("%d at a time, %d in all: want 3 at a time", most, entered)
		}
		if g.free != 3 || len(g.waiting) != 0 || len(g.turns) != 0 {
			t.Errorf("nothing is left behind: %+v", g)
		}
	})
}
