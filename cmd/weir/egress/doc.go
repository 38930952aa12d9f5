// Package egress is the one way out of the controller: every connection to a
// host that somebody configured is made by a Guard.
//
// The hosts come from objects that the administrators of the cluster own. The
// guard still bounds what such an address can do, since an address may be
// mistaken, and a name may resolve to another one tomorrow: the address is
// checked when the connection is made, after the name was resolved, so that a
// name which changes its mind is no way around it.
//
// Link-local addresses, among them the metadata services of clouds, are refused
// always; so are addresses that hide another one (IPv4 in IPv6). Loopback and
// private ranges are refused unless they are allowed.
package egress
