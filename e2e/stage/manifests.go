package stage

import (
	"bytes"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"
)

// Manifests are what is in Git of a shop: its Deployment at a version, its
// Service, and its route if that is in Git, too, as YAML.
func (s *Shop) Manifests(version string, withRoute bool) (string, error) {
	deployment := s.deployment(ShopOptions{Replicas: defaultReplicas, Deployment: func(d *appsv1.Deployment) {
		container := &d.Spec.Template.Spec.Containers[0]
		container.Image = "weir.dev/shop:" + version
		container.Env = []corev1.EnvVar{{Name: "VERSION", Value: version}}
	}})
	objects := []client.Object{s.service(), deployment}
	if withRoute {
		objects = append(objects, s.route())
	}
	var b bytes.Buffer
	for _, o := range objects {
		text, err := manifest(o)
		if err != nil {
			return "", err
		}
		b.WriteString("---\n")
		b.Write(text)
	}
	return b.String(), nil
}

// manifest is an object as people write it: with its kind, without a status.
func manifest(o client.Object) ([]byte, error) {
	kind, err := apiutil.GVKForObject(o, Scheme())
	if err != nil {
		return nil, fmt.Errorf("cannot write a manifest: %w", err)
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("cannot write a manifest: %w", err)
	}
	content["apiVersion"], content["kind"] = kind.GroupVersion().String(), kind.Kind
	delete(content, "status")
	return yaml.Marshal(content)
}
