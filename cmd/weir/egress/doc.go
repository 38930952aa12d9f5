// Package egress is the one way out of the controller: every HTTP request to a
// host that somebody configured goes through a Guard.
//
// The hosts come from objects that the administrators of the cluster own. The
// guard still bounds what such an address can do, since an address may be
// mistaken, may resolve to another one tomorrow, and may answer with a redirect:
//
//   - The address is checked when the connection is made, after the name was
//     resolved, so that a name which changes its mind is no way around it.
//     Link-local addresses, among them the metadata services of clouds, are
//     refused always; so are addresses that hide another one (IPv4 in IPv6).
//     Loopback and private ranges are refused unless they are allowed.
//   - Redirects stay on the host that was asked.
//   - Requests take no longer than a time-out, bodies are no larger than a limit.
//   - Nothing ambient is used: no proxy from the environment, no cookies.
//
// No other package builds an http.Client.
package egress
