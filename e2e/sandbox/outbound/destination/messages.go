package destination

import (
	"cmp"
	"encoding/binary"
	"math"
	"net/netip"
	"slices"

	pb "github.com/linkerd/linkerd2-proxy-api/go/destination"
	pbnet "github.com/linkerd/linkerd2-proxy-api/go/net"
)

// Target is an authority that gets a share of the requests for another one.
type Target struct {
	// Authority is as the ServiceProfile has it.
	Authority string
	// Weight is 1000 for each 100m of the ServiceProfile's: 10000 for 1.
	Weight uint32
}

// targets are the dstOverrides of a profile.
func targets(profile *pb.DestinationProfile) []Target {
	var list []Target
	for _, o := range profile.GetDstOverrides() {
		list = append(list, Target{Authority: o.GetAuthority(), Weight: o.GetWeight()})
	}
	return list
}

// Endpoint is where requests for an authority may go.
type Endpoint struct {
	// Address is the IP and port.
	Address netip.AddrPort
	// Pod is the name of the pod behind it, if the controller knows it.
	Pod string
}

// endpoints are those that one stream has told, with the names of their pods.
type endpoints map[netip.AddrPort]string

// apply takes in a message of the stream.
func (e endpoints) apply(u *pb.Update) {
	switch {
	case u.GetNoEndpoints() != nil:
		clear(e)
	case u.GetAdd() != nil:
		for _, a := range u.GetAdd().GetAddrs() {
			if at, ok := address(a.GetAddr()); ok {
				e[at] = a.GetMetricLabels()["pod"]
			}
		}
	case u.GetRemove() != nil:
		for _, a := range u.GetRemove().GetAddrs() {
			if at, ok := address(a); ok {
				delete(e, at)
			}
		}
	}
}

// list returns the endpoints in order of their addresses.
func (e endpoints) list() []Endpoint {
	list := make([]Endpoint, 0, len(e))
	for at, pod := range e {
		list = append(list, Endpoint{Address: at, Pod: pod})
	}
	slices.SortFunc(list, func(a, b Endpoint) int {
		return cmp.Or(a.Address.Addr().Compare(b.Address.Addr()), cmp.Compare(a.Address.Port(), b.Address.Port()))
	})
	return list
}

// address reads an address, and tells whether it is one.
func address(a *pbnet.TcpAddress) (netip.AddrPort, bool) {
	if a.GetPort() == 0 || a.GetPort() > math.MaxUint16 {
		return netip.AddrPort{}, false
	}
	var ip netip.Addr
	switch i := a.GetIp().GetIp().(type) {
	case *pbnet.IPAddress_Ipv4:
		ip = netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, i.Ipv4)))
	case *pbnet.IPAddress_Ipv6:
		high := binary.BigEndian.AppendUint64(nil, i.Ipv6.GetFirst())
		ip = netip.AddrFrom16([16]byte(binary.BigEndian.AppendUint64(high, i.Ipv6.GetLast())))
	default:
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(a.GetPort())), true
}
