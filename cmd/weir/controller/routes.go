package controller

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/providers/gatewayapi"
	"github.com/weir-dev/weir/providers/istio"
	istioserved "github.com/weir-dev/weir/providers/istio/served"
	"github.com/weir-dev/weir/providers/linkerd"
	linkerdserved "github.com/weir-dev/weir/providers/linkerd/served"
	"github.com/weir-dev/weir/providers/split"
)

// routeGroups are the API groups of all kinds of route.
func routeGroups() []string { return []string{gatewayv1.GroupName, istio.Group, linkerd.Group} }

// newRouter splits routes of every kind that Weir knows. One Rollout may have had
// routes of one kind and have others now, both of which have to be given back. The
// control planes of meshes are asked what is in force where options say so, for as
// long as the manager runs.
func newRouter(mgr manager.Manager, options Options) (*split.Splitter, error) {
	var streams linkerd.Streams
	if options.LinkerdDestination != "" {
		asked := linkerdserved.New(linkerdserved.Options{Address: options.LinkerdDestination})
		if err := mgr.Add(asked); err != nil {
			return nil, fmt.Errorf("cannot ask Linkerd's destination controller: %w", err)
		}
		streams = asked
	}
	var proxies istio.Proxies
	if options.Istiod != "" {
		asked := istioserved.New(istioserved.Options{
			Address: options.Istiod, CA: options.IstiodCA, Token: options.IstiodToken,
			Namespace: options.Namespace, Domain: clusterDomain(resolverConfig),
		})
		if err := mgr.Add(asked); err != nil {
			return nil, fmt.Errorf("cannot ask istiod: %w", err)
		}
		proxies = asked
	}
	return routerOf(mgr.GetClient(), mgr.GetAPIReader(), streams, proxies), nil
}

// routerOf makes the router of what it needs.
func routerOf(c client.Client, live client.Reader, streams linkerd.Streams, proxies istio.Proxies) *split.Splitter {
	return split.New(c, live, gatewayapi.Part(live), istio.Part(live, proxies), linkerd.Part(live, streams))
}

const (
	// resolverConfig is where the kubelet writes in which domains names are looked up.
	resolverConfig = "/etc/resolv.conf"
	// defaultDomain of clusters.
	defaultDomain = "cluster.local"
)

// clusterDomain is the domain of the cluster that the process runs in: names are looked
// up in svc.DOMAIN there. Elsewhere it is the one that clusters have by default.
func clusterDomain(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return defaultDomain
	}
	defer func() { _ = file.Close() }() // It was only read.
	return searchedDomain(file)
}

// searchedDomain of a resolver's configuration.
func searchedDomain(config io.Reader) string {
	for lines := bufio.NewScanner(config); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if len(words) == 0 || words[0] != "search" {
			continue
		}
		for _, w := range words[1:] {
			if domain, ok := strings.CutPrefix(w, "svc."); ok {
				return strings.TrimSuffix(domain, ".")
			}
		}
	}
	return defaultDomain
}
