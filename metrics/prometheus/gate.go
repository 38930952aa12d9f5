package prometheus

import (
	"context"
	"slices"
	"sync"
)

// gate lets a number of queries run at a time. Those that wait are taken in
// turn by namespace, and within a namespace in order of arrival: a namespace
// with a thousand releases makes its own wait, not those of others.
type gate struct {
	mutex sync.Mutex
	free  int
	// waiting are the queries of each namespace that has any; turns are those
	// namespaces, the next one first.
	waiting map[string][]chan struct{}
	turns   []string
}

func newGate(size int) *gate {
	return &gate{free: size, waiting: map[string][]chan struct{}{}}
}

// enter waits for a turn. The caller leaves when enter returned no error.
func (g *gate) enter(ctx context.Context, namespace string) error {
	g.mutex.Lock()
	if g.free > 0 {
		g.free--
		g.mutex.Unlock()
		return nil
	}
	turn := make(chan struct{})
	if len(g.waiting[namespace]) == 0 {
		g.turns = append(g.turns, namespace)
	}
	g.waiting[namespace] = append(g.waiting[namespace], turn)
	g.mutex.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	if !g.abandon(namespace, turn) {
		g.leave() // The turn came in the same moment: it is another's.
	}
	return ctx.Err() //nolint:wrapcheck // Callers compare it.
}

// abandon takes a query out of the queue. It is false when it is no longer there.
func (g *gate) abandon(namespace string, turn chan struct{}) bool {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	i := slices.Index(g.waiting[namespace], turn)
	if i < 0 {
		return false
	}
	g.waiting[namespace] = slices.Delete(g.waiting[namespace], i, i+1)
	if len(g.waiting[namespace]) == 0 {
		delete(g.waiting, namespace)
		g.turns = slices.DeleteFunc(g.turns, func(other string) bool { return other == namespace })
	}
	return true
}

// leave gives the turn to the next.
func (g *gate) leave() {
	g.mutex.Lock()
	defer g.mutex.Unlock()
	if len(g.turns) == 0 {
		g.free++
		return
	}
	namespace := g.turns[0]
	g.turns = g.turns[1:]
	queue := g.waiting[namespace]
	close(queue[0])
	if len(queue) == 1 {
		delete(g.waiting, namespace)
		return
	}
	g.waiting[namespace] = queue[1:]
	g.turns = append(g.turns, namespace)
}
