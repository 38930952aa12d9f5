package rollout

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// written are the Rollouts as they were written last, until the cache has them:
// a pass that begins before the echo of a write has arrived rests on the write.
// The zero value is ready for use.
type written struct {
	mutex    sync.Mutex
	rollouts map[types.NamespacedName]*v1alpha1.Rollout
}

// keep a Rollout that was written just now. It must not be changed any more.
func (w *written) keep(rollout *v1alpha1.Rollout) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.rollouts == nil {
		w.rollouts = map[types.NamespacedName]*v1alpha1.Rollout{}
	}
	w.rollouts[key(rollout)] = rollout
}

// forget a Rollout.
func (w *written) forget(name types.NamespacedName) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	delete(w.rollouts, name)
}

// newest is what was written, if that is newer than what the cache has.
func (w *written) newest(cached *v1alpha1.Rollout) *v1alpha1.Rollout {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	kept := w.rollouts[key(cached)]
	if kept == nil {
		return cached
	}
	age, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, kept.ResourceVersion)
	if err == nil && age < 0 && kept.UID == cached.UID {
		return kept
	}
	delete(w.rollouts, key(cached))
	return cached
}
