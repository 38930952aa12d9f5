package outbound

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/e2e/sandbox/outbound/destination"
)

func TestCanonical(t *testing.T) {
	const web = "web.shop.svc.cluster.local"
	cases := map[string]struct{ reason, authority, want string }{
		"Full":          {"it is that already", web + ":80", web + ":80"},
		"DefaultPort":   {"80 is the port of HTTP", web, web + ":80"},
		"OtherPort":     {"ports are kept apart", web + ":8080", web + ":8080"},
		"Dot":           {"an absolute name is the same", web + ".:80", web + ":80"},
		"DotNoPort":     {"an absolute name is the same", web + ".", web + ":80"},
		"UpperCase":     {"names have no case", "Web.Shop.SVC.cluster.local", web + ":80"},
		"PortZero":      {"no server has it", web + ":0", ""},
		"PortWord":      {"a port is a number", web + ":http", ""},
		"Short":         {"proxies know full names", "web.shop", ""},
		"NoService":     {"a namespace is no Service", "shop.svc.cluster.local", ""},
		"EmptyService":  {"a name has letters", ".shop.svc.cluster.local", ""},
		"Pod":           {"a pod of a Service is another matter", "web-0.web.shop.svc.cluster.local", ""},
		"IP":            {"an address has no profile", "10.0.0.1:80", ""},
		"Empty":         {"nothing was asked for", "", ""},
		"ForeignDomain": {"that is not of the cluster", "example.com", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := canonical(tc.authority)
			if got != tc.want || ok != (tc.want != "") {
				t.Errorf("%s: got %q and %v, want %q", tc.reason, got, ok, tc.want)
			}
		})
	}
}

func TestProfileOf(t *testing.T) {
	namespace, name := profileOf("web.shop.svc.cluster.local:80")
	if namespace != "shop" || name != "web.shop.svc.cluster.local" {
		t.Errorf("got %q in %q, want web.shop.svc.cluster.local in shop", name, namespace)
	}
}

func TestShares(t *testing.T) {
	const web, stable, canary = "web.shop.svc.cluster.local:80", "stable.shop.svc.cluster.local:80", "canary.shop.svc.cluster.local:80"
	self := []share{{web, 1}}
	cases := map[string]struct {
		reason  string
		targets []destination.Target
		want    []share
	}{
		"None":    {"without a profile nothing is overridden", nil, self},
		"Two":     {"weights are as they came", []destination.Target{{Authority: stable, Weight: 9000}, {Authority: canary, Weight: 1000}}, []share{{stable, 9000}, {canary, 1000}}},
		"Zero":    {"what has no weight gets nothing", []destination.Target{{Authority: stable, Weight: 10000}, {Authority: canary}}, []share{{stable, 10000}}},
		"AllZero": {"no weight at all is no override", []destination.Target{{Authority: stable}, {Authority: canary}}, self},
		"Forms":   {"forms of an authority are one", []destination.Target{{Authority: "stable.shop.svc.cluster.local.", Weight: 1}}, []share{{stable, 1}}},
		"Invalid": {"what is no authority is passed over", []destination.Target{{Authority: "stable", Weight: 1}, {Authority: canary, Weight: 1}}, []share{{canary, 1}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, shares(web, tc.targets), cmp.AllowUnexported(share{})); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
