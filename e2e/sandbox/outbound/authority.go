package outbound

import (
	"net"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// serviceSuffix ends the names of all Services.
const serviceSuffix = ".svc.cluster.local"

// canonical returns the one form of an authority that all its forms mean, in
// lower case, without the dot at the end of the name, with the port. It returns
// false for what is no Service's.
func canonical(authority string) (string, bool) {
	name, port, err := net.SplitHostPort(authority)
	if err != nil {
		name, port = authority, "80" // it has no port
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return "", false
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	service, ok := strings.CutSuffix(name, serviceSuffix)
	service, namespace, hasNamespace := strings.Cut(service, ".")
	if !ok || !hasNamespace || service == "" || namespace == "" || strings.ContainsAny(namespace, ".:") {
		return "", false
	}
	return name + ":" + port, true
}

// profileOf returns namespace and name of the ServiceProfile that a canonical
// authority has.
func profileOf(authority string) (namespace, name string) {
	name, _, _ = strings.Cut(authority, ":")
	_, namespace, _ = strings.Cut(strings.TrimSuffix(name, serviceSuffix), ".")
	return namespace, name
}

// share is a target with what it weighs.
type share struct {
	authority string // canonical
	weight    int64
}

// shares are what the targets of an authority come to. As in Linkerd's proxy,
// those without weight are left out, and without any the authority itself is
// the target.
func shares(authority string, targets []destination.Target) []share {
	var list []share
	for _, t := range targets {
		to, ok := canonical(t.Authority)
		if ok && t.Weight > 0 {
			list = append(list, share{to, int64(t.Weight)})
		}
	}
	if len(list) == 0 {
		return []share{{authority, 1}}
	}
	return list
}

// serviceOf returns namespace and name of the Service that a canonical authority is
// of.
func serviceOf(authority string) (namespace, name string) {
	namespace, name = profileOf(authority)
	name, _, _ = strings.Cut(name, ".")
	return namespace, name
}
