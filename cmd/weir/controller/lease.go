package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// unheldPause is after what time a pass is tried again that found the lease not
// held.
const unheldPause = time.Second

// lease knows when it was last renewed. A process that was frozen for longer
// than the lease lasts learns only at its next attempt to renew it that another
// one leads; until then it must not act. Whatever it does is fenced, but two
// leaders that take over from each other in turn help nobody.
type lease struct {
	resourcelock.Interface
	duration time.Duration

	mutex   sync.Mutex
	renewed time.Time
}

// newLease makes the lease of a process.
func newLease(config *rest.Config, process string, options Options) (*lease, error) {
	lock, err := resourcelock.NewFromKubeconfig(resourcelock.LeasesResourceLock, options.Namespace, name,
		resourcelock.ResourceLockConfig{Identity: process}, rest.AddUserAgent(config, "leader-election"), renewDeadline(options))
	if err != nil {
		return nil, fmt.Errorf("cannot make the lease: %w", err)
	}
	return &lease{Interface: lock, duration: options.LeaseDuration}, nil
}

// renewDeadline is how long a leader that cannot renew its lease goes on.
func renewDeadline(options Options) time.Duration { return options.LeaseDuration * 2 / 3 }

// Create implements resourcelock.Interface.
func (l *lease) Create(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(func() error { return l.Interface.Create(ctx, record) })
}

// Update implements resourcelock.Interface.
func (l *lease) Update(ctx context.Context, record resourcelock.LeaderElectionRecord) error {
	return l.note(func() error { return l.Interface.Update(ctx, record) })
}

// note remembers when a write that succeeded was begun: others count from when
// they see it, which is later.
func (l *lease) note(write func() error) error {
	began := time.Now()
	if err := write(); err != nil {
		return err
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.renewed = began
	return nil
}

// held tells whether nobody else can have the lease.
func (l *lease) held() bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return time.Since(l.renewed) < l.duration
}

// whileHeld makes passes only while the lease is held.
func whileHeld(l *lease, next reconcile.Reconciler) reconcile.Reconciler {
	return reconcile.Func(func(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
		if !l.held() {
			return reconcile.Result{RequeueAfter: unheldPause}, nil
		}
		return next.Reconcile(ctx, request)
	})
}
