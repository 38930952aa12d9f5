// Command sandbox-linkerd is Linkerd's destination controller, which tells
// proxies how to share the requests for a Service and where its endpoints are.
//
// It is the real one, of April 2020. Later versions make the same weights of a
// ServiceProfile's dstOverrides. Unlike them it reads the endpoints of Services
// from Endpoints and not from EndpointSlices, and weights from TrafficSplits, too.
package main

import (
	"os"

	"github.com/linkerd/linkerd2/controller/cmd/destination"
)

func main() { destination.Main(os.Args[1:]) }
