package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment is the environment of a container.
type environment struct{ values map[string]string }

func (e environment) list() []string {
	list := make([]string, 0, len(e.values))
	for _, key := range slices.Sorted(maps.Keys(e.values)) {
		list = append(list, key+"="+e.values[key])
	}
	return list
}

// environment resolves a container's variables. Before them come those every
// container has here: POD_IP, since a program must listen on it, the tag of the
// image as VERSION for the demo app, and the pod's labels for a proxy, which it
// would find in a volume elsewhere.
func (w *worker) environment(ctx context.Context, spec *corev1.Container) (environment, error) {
	pod := w.current()
	_, tag := splitImage(spec.Image)
	labels, err := json.Marshal(pod.Labels)
	if err != nil {
		return environment{}, fmt.Errorf("cannot encode the labels: %w", err)
	}
	e := environment{values: map[string]string{
		"PATH":                    os.Getenv("PATH"),
		"HOME":                    os.Getenv("HOME"),
		"HOSTNAME":                pod.Name,
		"POD_NAME":                pod.Name,
		"POD_NAMESPACE":           pod.Namespace,
		"POD_IP":                  w.ip.String(),
		"POD_LABELS":              string(labels),
		"VERSION":                 tag,
		"KUBERNETES_SERVICE_HOST": "10.96.0.1",
		"KUBERNETES_SERVICE_PORT": "443",
	}}
	for _, from := range spec.EnvFrom {
		if err := w.addAll(ctx, e, pod.Namespace, from); err != nil {
			return e, err
		}
	}
	lookup := func(name string) (string, bool) {
		value, ok := e.values[name]
		return value, ok
	}
	for _, v := range spec.Env {
		if v.ValueFrom == nil {
			e.values[v.Name] = expand(v.Value, lookup)
			continue
		}
		value, ok, err := w.value(ctx, pod, spec, v.ValueFrom)
		if err != nil {
			return e, fmt.Errorf("cannot set %s: %w", v.Name, err)
		}
		if ok {
			e.values[v.Name] = value
		}
	}
	return e, nil
}

// addAll adds all keys of a ConfigMap or Secret.
func (w *worker) addAll(ctx context.Context, e environment, namespace string, from corev1.EnvFromSource) error {
	var data map[string]string
	var err error
	switch {
	case from.ConfigMapRef != nil:
		data, err = w.configMap(ctx, namespace, from.ConfigMapRef.Name, from.ConfigMapRef.Optional)
	case from.SecretRef != nil:
		data, err = w.secret(ctx, namespace, from.SecretRef.Name, from.SecretRef.Optional)
	}
	for key, value := range data {
		e.values[from.Prefix+key] = value
	}
	return err
}

// value resolves one variable. It reports false for an optional one that is not
// there.
func (w *worker) value(ctx context.Context, pod *corev1.Pod, spec *corev1.Container, s *corev1.EnvVarSource) (string, bool, error) {
	var data map[string]string
	var key string
	var optional *bool
	var err error
	switch {
	case s.FieldRef != nil:
		value, err := w.field(pod, s.FieldRef.FieldPath)
		return value, true, err
	case s.ResourceFieldRef != nil:
		value, err := resourceField(spec, s.ResourceFieldRef)
		return value, true, err
	case s.ConfigMapKeyRef != nil:
		key, optional = s.ConfigMapKeyRef.Key, s.ConfigMapKeyRef.Optional
		data, err = w.configMap(ctx, pod.Namespace, s.ConfigMapKeyRef.Name, optional)
	case s.SecretKeyRef != nil:
		key, optional = s.SecretKeyRef.Key, s.SecretKeyRef.Optional
		data, err = w.secret(ctx, pod.Namespace, s.SecretKeyRef.Name, optional)
	default:
		return "", false, errors.New("sources of this kind are not supported")
	}
	if err != nil {
		return "", false, err
	}
	value, ok := data[key]
	if !ok && !isTrue(optional) {
		return "", false, fmt.Errorf("no key %q", key)
	}
	return value, ok, nil
}

func isTrue(b *bool) bool { return b != nil && *b }

func (w *worker) configMap(ctx context.Context, namespace, name string, optional *bool) (map[string]string, error) {
	m, err := w.kubelet.client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return m.Data, nil
}

func (w *worker) secret(ctx context.Context, namespace, name string, optional *bool) (map[string]string, error) {
	s, err := w.kubelet.client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && isTrue(optional) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	data := map[string]string{}
	for key, value := range s.Data {
		data[key] = string(value)
	}
	return data, nil
}

// field resolves a path of the downward API.
func (w *worker) field(pod *corev1.Pod, path string) (string, error) {
	if value, ok := mapField(path, "metadata.labels", pod.Labels); ok {
		return value, nil
	}
	if value, ok := mapField(path, "metadata.annotations", pod.Annotations); ok {
		return value, nil
	}
	switch path {
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return w.node.address.String(), nil
	case "status.podIP", "status.podIPs":
		return w.ip.String(), nil
	default:
		return "", fmt.Errorf("unknown fieldPath %q", path)
	}
}

// mapField resolves base['key'].
func mapField(path, base string, values map[string]string) (string, bool) {
	key, ok := strings.CutPrefix(path, base+"['")
	if !ok {
		return "", false
	}
	key, ok = strings.CutSuffix(key, "']")
	return values[key], ok
}

// resourceField resolves a container's own request or limit, rounded up to the
// divisor as the real kubelet does.
func resourceField(spec *corev1.Container, s *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(s.Resource, ".")
	list := spec.Resources.Limits
	switch kind {
	case "limits":
	case "requests":
		list = spec.Resources.Requests
	default:
		return "", fmt.Errorf("unknown resource %q", s.Resource)
	}
	quantity := list[corev1.ResourceName(name)]
	divisor := s.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == string(corev1.ResourceCPU) {
		return fmt.Sprint(ceil(quantity.MilliValue(), divisor.MilliValue())), nil
	}
	return fmt.Sprint(ceil(quantity.Value(), divisor.Value())), nil
}

func ceil(a, b int64) int64 { return (a + b - 1) / b }

// expand replaces $(NAME) by the variable's value. $$ stands for $, and what
// names no variable stays as it is.
func expand(s string, lookup func(string) (string, bool)) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		if !found {
			return out.String()
		}
		s = after
		if rest, ok := strings.CutPrefix(s, "$"); ok {
			out.WriteByte('$')
			s = rest
			continue
		}
		name, rest, ok := strings.Cut(strings.TrimPrefix(s, "("), ")")
		if value, known := lookup(name); ok && strings.HasPrefix(s, "(") && known {
			out.WriteString(value)
			s = rest
			continue
		}
		out.WriteByte('$')
	}
}
