// Command sandbox-linkerd is Linkerd's destination controller, which tells
// proxies how to share the requests for a Service and where its endpoints are.
//
// It is the real one of April 2020: later versions are not to be had as a Go
// module. What it reads of ServiceProfiles and what it streams of them is the
// same as of today's Linkerd; Services are another matter, whose endpoints it
// reads from Endpoints objects and not from EndpointSlices.
package main

import (
	"os"

	"github.com/linkerd/linkerd2/controller/cmd/destination"
)

func main() { destination.Main(os.Args[1:]) }
