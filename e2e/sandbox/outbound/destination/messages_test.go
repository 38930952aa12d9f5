package destination

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pbnet "github.com/linkerd/linkerd2-proxy-api/go/net"
)

func ipv4(ip, port uint32) *pbnet.TcpAddress {
	return &pbnet.TcpAddress{Ip: &pbnet.IPAddress{Ip: &pbnet.IPAddress_Ipv4{Ipv4: ip}}, Port: port}
}

func add(addresses ...*pbnet.TcpAddress) *pb.Update {
	set := &pb.WeightedAddrSet{}
	for _, a := range addresses {
		set.Addrs = append(set.Addrs, &pb.WeightedAddr{Addr: a, MetricLabels: map[string]string{"pod": "web"}})
	}
	return &pb.Update{Update: &pb.Update_Add{Add: set}}
}

func remove(addresses ...*pbnet.TcpAddress) *pb.Update {
	return &pb.Update{Update: &pb.Update_Remove{Remove: &pb.AddrSet{Addrs: addresses}}}
}

func TestEndpoints(t *testing.T) {
	one, two := ipv4(0x0af40101, 8080), ipv4(0x0af40102, 8080)
	six := &pbnet.TcpAddress{Ip: &pbnet.IPAddress{Ip: &pbnet.IPAddress_Ipv6{Ipv6: &pbnet.IPv6{First: 0xfd00 << 48, Last: 7}}}, Port: 80}
	none := &pb.Update{Update: &pb.Update_NoEndpoints{NoEndpoints: &pb.NoEndpoints{Exists: true}}}
	cases := map[string]struct {
		reason  string
		updates []*pb.Update
		want    []string
	}{
		"Added":     {"in order of their addresses", []*pb.Update{add(two), add(one)}, []string{"10.244.1.1:8080", "10.244.1.2:8080"}},
		"Repeated":  {"an endpoint is there once", []*pb.Update{add(one), add(one)}, []string{"10.244.1.1:8080"}},
		"Removed":   {"others stay", []*pb.Update{add(one, two), remove(one)}, []string{"10.244.1.2:8080"}},
		"Unknown":   {"what is not there can be removed", []*pb.Update{add(one), remove(two)}, []string{"10.244.1.1:8080"}},
		"None":      {"all are gone at once", []*pb.Update{add(one, two), none}, nil},
		"IPv6":      {"two halves make an address", []*pb.Update{add(six)}, []string{"[fd00::7]:80"}},
		"OtherPort": {"a port makes another endpoint", []*pb.Update{add(one, ipv4(0x0af40101, 80))}, []string{"10.244.1.1:80", "10.244.1.1:8080"}},
		"NoPort":    {"an address without a port is none", []*pb.Update{add(ipv4(0x0af40101, 0), ipv4(0x0af40101, 1<<16))}, nil},
		"NoIP":      {"a port without an address is none", []*pb.Update{add(&pbnet.TcpAddress{Port: 80})}, nil},
		"Nothing":   {"a message of a later version is passed over", []*pb.Update{add(one), {}}, []string{"10.244.1.1:8080"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			known := endpoints{}
			for _, u := range tc.updates {
				known.apply(u)
			}
			var got []string
			for _, e := range known.list() {
				got = append(got, e.Address.String())
				if e.Pod != "web" {
					t.Errorf("%s: endpoint %v has not the name of its pod", tc.reason, e)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTargets(t *testing.T) {
	profile := &pb.DestinationProfile{DstOverrides: []*pb.WeightedDst{{Authority: "a:80", Weight: 10000}, {Authority: "b:80"}}}
	want := []Target{{"a:80", 10000}, {"b:80", 0}}
	if diff := cmp.Diff(want, targets(profile)); diff != "" {
		t.Errorf("targets, also those without weight (-want +got):\n%s", diff)
	}
	if got := targets(&pb.DestinationProfile{}); len(got) != 0 {
		t.Errorf("targets of a profile without overrides: %v", got)
	}
}
