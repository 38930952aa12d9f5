package istio

import "testing"

func TestServiceOf(t *testing.T) {
	cases := map[string]struct{ reason, host, want string }{
		"Short":          {"a name without dots is a Service of the namespace", "web", "web"},
		"Full":           {"so is its full name", "web.shop.svc.cluster.local", "web"},
		"OtherDomain":    {"clusters may have a domain of their own", "web.shop.svc.example.org", "web"},
		"NoDomain":       {"or leave it away", "web.shop.svc", "web"},
		"NameSpace":      {"Istio takes a name with one dot for a full one", "web.shop", ""},
		"OtherNamespace": {"a Service of the same name elsewhere is another one", "web.elsewhere.svc.cluster.local", ""},
		"External":       {"a host outside is none", "www.example.com", ""},
		"Prefix":         {"a namespace is not the beginning of another", "web.shop.svcs.local", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := serviceOf(tc.host, "shop"); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
			if tc.want == "" {
				return
			}
			if got := serviceOf(hostOf(tc.host, "web-canary"), "shop"); got != "web-canary" {
				t.Errorf("%s: the canary's host %q names %q", tc.reason, hostOf(tc.host, "web-canary"), got)
			}
		})
	}
}
