package envoy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// env is the environment of a pod's container.
func env(overrides map[string]string) func(string) string {
	values := map[string]string{
		"POD_NAME": "client", "POD_NAMESPACE": "shop", "POD_IP": "10.244.1.4", "POD_LABELS": `{"app":"client: \"x\""}`,
	}
	for k, v := range overrides {
		values[k] = v
	}
	return func(name string) string { return values[name] }
}

// decoded is what the tests look at of a bootstrap.
type decoded struct {
	Node struct {
		ID       string         `json:"id"`
		Cluster  string         `json:"cluster"`
		Metadata map[string]any `json:"metadata"`
	} `json:"node"`
	Dynamic map[string]any `json:"dynamic_resources"`
	Static  struct {
		Listeners []struct {
			Name    string `json:"name"`
			Address struct {
				Socket struct {
					Address string `json:"address"`
					Port    int    `json:"port_value"`
				} `json:"socket_address"`
			} `json:"address"`
			Chains []struct {
				Filters []struct {
					Config struct {
						RDS struct {
							Name string `json:"route_config_name"`
						} `json:"rds"`
					} `json:"typed_config"`
				} `json:"filters"`
			} `json:"filter_chains"`
		} `json:"listeners"`
	} `json:"static_resources"`
}

func TestBootstrap(t *testing.T) {
	type listening struct {
		Address string
		Port    int
		Routes  string
	}
	type want struct {
		ID        string
		Labels    any
		Listeners []listening
		LDS       bool
	}
	labels := map[string]any{"app": `client: "x"`}
	cases := map[string]struct {
		reason string
		flags  flags
		want   want
	}{
		"Sidecar": {
			reason: "a sidecar serves the routes of port 80 of its Services",
			flags:  flags{role: "sidecar", istiod: "10.0.0.6:15010"},
			want: want{
				ID: "sidecar~10.244.1.4~client.shop~shop.svc.cluster.local", Labels: labels,
				Listeners: []listening{{"10.244.1.4", 15080, "80"}},
			},
		},
		"Gateway": {
			reason: "a gateway is a router, and its routes have other names",
			flags:  flags{role: "gateway", istiod: "10.0.0.6:15010"},
			want: want{
				ID: "router~10.244.1.4~client.shop~shop.svc.cluster.local", Labels: labels,
				Listeners: []listening{{"10.244.1.4", 80, "http.80"}},
			},
		},
		"Ports": {
			reason: "the ports that are asked for are all there are",
			flags:  flags{role: "sidecar", istiod: "10.0.0.6:15010", http: []string{"15080=8080", "15090=web.shop.svc.cluster.local:9000"}},
			want: want{
				ID: "sidecar~10.244.1.4~client.shop~shop.svc.cluster.local", Labels: labels,
				Listeners: []listening{{"10.244.1.4", 15080, "8080"}, {"10.244.1.4", 15090, "web.shop.svc.cluster.local:9000"}},
			},
		},
		"TCP": {
			reason: "istiod's listeners are taken only when asked for",
			flags:  flags{role: "sidecar", istiod: "10.0.0.6:15010", tcp: true},
			want: want{
				ID: "sidecar~10.244.1.4~client.shop~shop.svc.cluster.local", Labels: labels,
				Listeners: []listening{{"10.244.1.4", 15080, "80"}}, LDS: true,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := tc.flags.config(env(nil))
			if err != nil {
				t.Fatal(err)
			}
			text, err := bootstrap(c)
			if err != nil {
				t.Fatal(err)
			}
			var d decoded
			if err := yaml.Unmarshal(text, &d); err != nil {
				t.Fatalf("%v in:\n%s", err, text)
			}
			_, lds := d.Dynamic["lds_config"]
			got := want{ID: d.Node.ID, Labels: d.Node.Metadata["LABELS"], LDS: lds}
			for _, l := range d.Static.Listeners {
				got.Listeners = append(got.Listeners, listening{
					l.Address.Socket.Address, l.Address.Socket.Port, l.Chains[0].Filters[0].Config.RDS.Name,
				})
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		flags  flags
		env    map[string]string
		want   string
	}{
		"Role":      {"an unknown role is refused", flags{role: "router"}, nil, `invalid --role "router"`},
		"Drain":     {"time does not run backwards", flags{role: "sidecar", drain: -1}, nil, "invalid --drain"},
		"NoRoutes":  {"a port needs routes", flags{role: "sidecar", http: []string{"80"}}, nil, `invalid --http "80"`},
		"EmptyName": {"routes have a name", flags{role: "sidecar", http: []string{"80="}}, nil, `invalid --http "80="`},
		"NoPort":    {"port 0 is none", flags{role: "sidecar", http: []string{"0=80"}}, nil, `invalid --http "0=80"`},
		"NoPod":     {"istiod must know the pod", flags{role: "sidecar"}, map[string]string{"POD_NAME": ""}, "invalid POD_NAME"},
		"NoAddress": {"an address is needed to listen on", flags{role: "sidecar"}, map[string]string{"POD_IP": "x"}, `invalid POD_IP "x"`},
		"Labels":    {"labels are strings", flags{role: "sidecar"}, map[string]string{"POD_LABELS": `{"a":1}`}, "invalid POD_LABELS"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := tc.flags.config(env(tc.env))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestBootstrapNeedsAnAddress(t *testing.T) {
	for _, istiod := range []string{"istiod", "istiod:xds"} {
		if _, err := bootstrap(config{istiod: istiod}); err == nil || !strings.Contains(err.Error(), "--istiod") {
			t.Errorf("%s: got error %v, want one of --istiod", istiod, err)
		}
	}
}
