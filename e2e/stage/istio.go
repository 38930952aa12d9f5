package stage

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// SidecarHTTP is where a sidecar takes requests for Services' port 80.
const SidecarHTTP = "15080"

// Sidecar is a stock Envoy that istiod configures as a caller's, with further ports as
// PORT=ROUTES.
func Sidecar(name string, ports ...string) Proxy {
	args := []string{"--role=sidecar", "--http=" + SidecarHTTP + "=80"}
	for _, port := range ports {
		args = append(args, "--http="+port)
	}
	return Proxy{
		Name: name, Image: "weir.dev/envoy", Args: args, Labels: map[string]string{"app": name},
		ReadyPath: "/ready", ReadyPort: 15000,
	}
}

// Object of the shop's namespace, from YAML.
func (s *Shop) Object(text string) (*unstructured.Unstructured, error) {
	raw, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("cannot read YAML: %w", err)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("cannot read an object: %w", err)
	}
	u.SetNamespace(s.Namespace)
	return u, nil
}
