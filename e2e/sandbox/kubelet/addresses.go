package kubelet

import (
	"fmt"
	"net/netip"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// addresses hands out the pod addresses of one node. An address that was given
// back is used again as late as possible, so that a client which still knows a
// dead pod's address gets a refusal and not another pod.
type addresses struct {
	mu    sync.Mutex
	pods  netip.Prefix
	next  netip.Addr
	taken map[netip.Addr]types.UID
	of    map[types.UID]netip.Addr
}

func newAddresses(pods netip.Prefix) *addresses {
	return &addresses{
		pods:  pods,
		next:  first(pods),
		taken: map[netip.Addr]types.UID{},
		of:    map[types.UID]netip.Addr{},
	}
}

// first skips the network's own address and the one a bridge would have.
func first(pods netip.Prefix) netip.Addr { return pods.Addr().Next().Next() }

// get returns the address of a pod, a new one at its first call.
func (a *addresses) get(uid types.UID) (netip.Addr, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip, ok := a.of[uid]; ok {
		return ip, nil
	}
	ip := a.next
	for {
		// The address after the last in use is the broadcast address.
		following := ip.Next()
		if !a.pods.Contains(following.Next()) {
			following = first(a.pods)
		}
		if _, ok := a.taken[ip]; !ok {
			a.next = following
			a.take(uid, ip)
			return ip, nil
		}
		if following == a.next {
			return netip.Addr{}, fmt.Errorf("no address left in %s", a.pods)
		}
		ip = following
	}
}

// reserve gives a pod the address it has had, unless another pod has it.
func (a *addresses) reserve(uid types.UID, text string) {
	ip, err := netip.ParseAddr(text)
	if err != nil || !a.pods.Contains(ip) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.taken[ip]; !ok {
		a.take(uid, ip)
	}
}

func (a *addresses) take(uid types.UID, ip netip.Addr) {
	a.taken[ip] = uid
	a.of[uid] = ip
}

// release gives a pod's address back.
func (a *addresses) release(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if ip, ok := a.of[uid]; ok {
		delete(a.taken, ip)
		delete(a.of, uid)
	}
}
