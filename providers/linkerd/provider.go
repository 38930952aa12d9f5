package linkerd

import (
	"github.com/linkerd/linkerd2/controller/gen/apis/serviceprofile"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/split"
)

// Group of Linkerd's ServiceProfile.
const Group = serviceprofile.GroupName

// profileKind is ServiceProfile in the version that Linkerd serves.
func profileKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: Group, Version: "v1alpha2", Kind: "ServiceProfile"}
}

// Provider splits traffic in ServiceProfiles. It keeps no state.
type Provider struct{ *split.Splitter }

var _ providers.Provider = Provider{}

// New makes a provider that reads from the cache of c, or from live where it
// must know, and writes through c.
func New(c client.Client, live client.Reader) Provider {
	return Provider{split.New(c, live, Part(live, nil))}
}

// Part of a splitter that splits the provider's kind of route beside others, and
// that says where Linkerd would pass over those. What the destination controller
// streams is evidence that weights are in force; streams may be nil.
func Part(live client.Reader, streams Streams) split.Part {
	return split.Part{Dialects: []split.Dialect{profile{streams: streams}}, Attached: routes{live: live}.attached, Counters: counters()}
}

// Name of the provider.
func (Provider) Name() v1alpha1.TrafficProvider { return v1alpha1.ProviderLinkerd }
