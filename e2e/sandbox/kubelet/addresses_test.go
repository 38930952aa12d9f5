package kubelet

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

func TestAddresses(t *testing.T) {
	// A range for five pods: 10.0.0.2 to 10.0.0.6.
	type step struct {
		get, release types.UID
		reserve      string // with get: the address the pod had
		want         string // "" means there is none left
	}
	cases := map[string]struct {
		reason string
		steps  []step
	}{
		"Stable": {
			reason: "a pod keeps its address",
			steps:  []step{{get: "a", want: "10.0.0.2"}, {get: "b", want: "10.0.0.3"}, {get: "a", want: "10.0.0.2"}},
		},
		"LateReuse": {
			reason: "a released address is used again only after all others",
			steps: []step{
				{get: "a", want: "10.0.0.2"}, {release: "a"},
				{get: "b", want: "10.0.0.3"}, {get: "c", want: "10.0.0.4"}, {get: "d", want: "10.0.0.5"}, {get: "e", want: "10.0.0.6"},
				{get: "f", want: "10.0.0.2"},
			},
		},
		"Exhausted": {
			reason: "a full range gives nothing, and goes on when one is released",
			steps: []step{
				{get: "a", want: "10.0.0.2"}, {get: "b", want: "10.0.0.3"}, {get: "c", want: "10.0.0.4"}, {get: "d", want: "10.0.0.5"},
				{get: "e", want: "10.0.0.6"}, {get: "f"}, {release: "c"}, {get: "f", want: "10.0.0.4"},
			},
		},
		"Reserved": {
			reason: "addresses of pods from before a restart are theirs",
			steps: []step{
				{get: "old", reserve: "10.0.0.2", want: "10.0.0.2"}, {get: "new", want: "10.0.0.3"},
			},
		},
		"ReservedElsewhere": {
			reason: "an address outside of the range, or of another pod, cannot be reserved",
			steps: []step{
				{get: "a", reserve: "10.9.9.9", want: "10.0.0.2"}, {get: "b", reserve: "10.0.0.2", want: "10.0.0.3"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := newAddresses(netip.MustParsePrefix("10.0.0.0/29"))
			for i, s := range tc.steps {
				if s.release != "" {
					a.release(s.release)
					continue
				}
				if s.reserve != "" {
					a.reserve(s.get, s.reserve)
				}
				got := ""
				if ip, err := a.get(s.get); err == nil {
					got = ip.String()
				}
				if diff := cmp.Diff(s.want, got); diff != "" {
					t.Fatalf("step %d, %s: address of %s (-want +got):\n%s", i, tc.reason, s.get, diff)
				}
			}
		})
	}
}

func TestMakeNodes(t *testing.T) {
	nodes, err := makeNodes(200, maxBulkNodes)
	if err != nil {
		t.Fatal(err)
	}
	bulkRange := netip.MustParsePrefix("10.200.0.0/13")
	hosts := map[netip.Addr]string{}
	for i, n := range nodes {
		if other, ok := hosts[n.address]; ok {
			t.Errorf("nodes %s and %s share address %s", other, n.name, n.address)
		}
		hosts[n.address] = n.name
		if n.bulk != bulkRange.Contains(n.pods.Addr()) {
			t.Errorf("node %s (bulk: %t) has pods in %s", n.name, n.bulk, n.pods)
		}
		for _, other := range nodes[:i] {
			if n.pods.Overlaps(other.pods) {
				t.Errorf("nodes %s and %s share pod addresses: %s and %s", other.name, n.name, other.pods, n.pods)
			}
		}
	}
	for _, invalid := range [][2]int{{0, 0}, {201, 0}, {1, -1}, {1, maxBulkNodes + 1}} {
		if _, err := makeNodes(invalid[0], invalid[1]); err == nil {
			t.Errorf("%d nodes and %d bulk nodes are accepted", invalid[0], invalid[1])
		}
	}
}
