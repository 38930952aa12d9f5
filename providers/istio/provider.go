package istio

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// Group of Istio's traffic API, and the version of it that is used here, which
// Istio serves since 1.22.
const (
	Group   = "networking.istio.io"
	version = "v1"
)

// Provider splits traffic in VirtualServices. It keeps no state.
type Provider struct{ *split.Splitter }

var _ providers.Provider = Provider{}

// New makes a provider that reads from the cache of c, or from live where it
// must know, and writes through c.
func New(c client.Client, live client.Reader) Provider {
	return Provider{split.New(c, live, Part(live, nil))}
}

// Part of a splitter that splits the provider's kind of route beside others. In a
// mesh its policies are for routes of any kind. What istiod serves to proxies is
// evidence that weights are in force; proxies may be nil.
func Part(live client.Reader, proxies Proxies) split.Part {
	return split.Part{
		Dialects: []split.Dialect{dialect{proxies: proxies, live: live}}, Attached: policies{live: live}.attached, Counters: counters(),
	}
}

// Name of the provider.
func (Provider) Name() v1alpha1.TrafficProvider { return v1alpha1.ProviderIstio }

// istioKind is a kind of Istio's traffic API.
func istioKind(kind string) schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: Group, Version: version, Kind: kind}
}
