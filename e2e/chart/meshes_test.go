package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// What is asked of meshes: by which flags, with which files, through which ports.
func TestMeshes(t *testing.T) {
	type result struct {
		Flags   []string
		Volumes []string
		Ports   []int
	}
	cases := map[string]struct {
		reason, linkerd, istiod string
		want                    result
	}{
		"Nobody":  {reason: "nobody is asked unless told so"},
		"Linkerd": {"Linkerd is asked in plain text", "linkerd-dst.linkerd.svc:8086", "", result{[]string{"--linkerd-destination=linkerd-dst.linkerd.svc:8086"}, nil, []int{8086}}},
		"Plain":   {"the plain port of istiod needs no files", "", "istiod.istio-system.svc:15010", result{[]string{"--istiod=istiod.istio-system.svc:15010"}, nil, []int{15010}}},
		"TLS": {"the other one needs the CA and a token", "", "istiod.istio-system.svc:15012", result{
			[]string{"--istiod=istiod.istio-system.svc:15012", "--istiod-ca=/var/run/weir/istio/root-cert.pem", "--istiod-token=/var/run/weir/istio/token"},
			[]string{"token for istio-ca, root-cert.pem of istio-ca-root-cert"}, []int{15012},
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := mustRender(t, map[string]any{"linkerd": map[string]any{"destination": tc.linkerd}, "istio": map[string]any{"istiod": tc.istiod}}, modern)
			pod := find[appsv1.Deployment](t, objects, "Deployment", "weir").Spec.Template.Spec
			got := result{}
			for _, arg := range pod.Containers[0].Args {
				if strings.HasPrefix(arg, "--istiod") || strings.HasPrefix(arg, "--linkerd") {
					got.Flags = append(got.Flags, arg)
				}
			}
			for _, v := range pod.Volumes {
				sources := v.Projected.Sources
				got.Volumes = append(got.Volumes, sources[0].ServiceAccountToken.Path+" for "+sources[0].ServiceAccountToken.Audience+
					", "+sources[1].ConfigMap.Items[0].Path+" of "+sources[1].ConfigMap.Name)
			}
			usual := []int{53, 443, 6443, 9090}
			for _, e := range find[networkingv1.NetworkPolicy](t, objects, "NetworkPolicy", "weir").Spec.Egress {
				for _, p := range e.Ports {
					if port := p.Port.IntValue(); !slices.Contains(usual, port) {
						got.Ports = append(got.Ports, port)
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
	for _, value := range []string{"istiod", "https://istiod:15012", "istiod:port"} {
		if _, err := Render(map[string]any{"istio": map[string]any{"istiod": value}}, modern); err == nil {
			t.Errorf("istio.istiod %q is taken", value)
		}
	}
}
