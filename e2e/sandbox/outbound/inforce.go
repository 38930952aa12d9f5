package outbound

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

// InForce returns the targets by which a proxy shares the requests for an
// authority that arrive from now on; none when it has not been asked for that
// authority yet. The address is that of the proxy's admin port.
func InForce(ctx context.Context, dial destination.Dialer, adminAddress, authority string) ([]destination.Target, error) {
	host, ok := canonical(authority)
	if !ok {
		return nil, fmt.Errorf("%q is not the authority of a Service", authority)
	}
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+adminAddress+"/debug/config", nil)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the proxy: %w", err)
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	answer, err := client.Do(q)
	if err != nil {
		return nil, fmt.Errorf("cannot ask the proxy: %w", err)
	}
	defer answer.Body.Close() //nolint:errcheck // it is read here
	var list []proxy.Description
	if err := json.NewDecoder(answer.Body).Decode(&list); err != nil {
		return nil, fmt.Errorf("cannot read what the proxy says: %w", err)
	}
	var targets []destination.Target
	for _, d := range list {
		if d.Host != host {
			continue
		}
		for _, b := range d.Backends {
			targets = append(targets, destination.Target{Authority: b.Service, Weight: uint32(b.Weight)})
		}
	}
	return targets, nil
}
