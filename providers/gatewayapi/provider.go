package gatewayapi

import (
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// Provider splits traffic in HTTPRoute and GRPCRoute. It keeps no state.
type Provider struct{ *split.Splitter }

var _ providers.Provider = Provider{}

// New makes a provider that reads from the cache of c, or from live where it
// must know, and writes through c.
func New(c client.Client, live client.Reader) Provider {
	return Provider{split.New(c, live, Part(live))}
}

// Part of a splitter that splits the provider's kinds of route beside others.
func Part(live client.Reader) split.Part {
	p := parents{live: live}
	return split.Part{
		Dialects: []split.Dialect{dialect{kind: "HTTPRoute", parents: p}, dialect{kind: grpcRoute, parents: p}},
		Attached: policies{live: live}.attached,
	}
}

// Name of the provider.
func (Provider) Name() v1alpha1.TrafficProvider { return v1alpha1.ProviderGatewayAPI }
