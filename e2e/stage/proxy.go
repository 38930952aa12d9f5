package stage

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Proxy is a proxy of a mesh, as a pod of a shop.
type Proxy struct {
	Name string
	// Image and Args of the container.
	Image string
	Args  []string
	// Labels of the pod.
	Labels map[string]string
	// ReadyPath and ReadyPort tell when it knows what it needs.
	ReadyPath string
	ReadyPort int32
}

// metricsOf are the path and the port of each image's metrics.
var metricsOf = map[string][2]string{
	"weir.dev/envoy":            {"/stats/prometheus", "15020"},
	"weir.dev/linkerd-outbound": {"/metrics", "4191"},
}

// StartProxy starts a proxy and gives its address when it is ready.
func (s *Shop) StartProxy(ctx context.Context, p Proxy) (address string, err error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: p.Name, Labels: p.Labels,
			Annotations: map[string]string{
				"prometheus.io/scrape": "true", "prometheus.io/path": metricsOf[p.Image][0], "prometheus.io/port": metricsOf[p.Image][1],
			},
		},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](20),
			Containers: []corev1.Container{{
				Name: "proxy", Image: p.Image, Args: p.Args,
				ReadinessProbe: &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: p.ReadyPath, Port: intstr.FromInt32(p.ReadyPort)}},
					PeriodSeconds: 1,
				},
			}},
		},
	}
	if err := s.Admin.Create(ctx, pod); err != nil {
		return "", fmt.Errorf("cannot create proxy %s: %w", p.Name, err)
	}
	err = wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		if err := s.Admin.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil {
			return false, fmt.Errorf("cannot read proxy %s: %w", p.Name, err)
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("cannot wait for proxy %s: %w; its status is %+v", p.Name, err, pod.Status.ContainerStatuses)
	}
	return pod.Status.PodIP, nil
}
