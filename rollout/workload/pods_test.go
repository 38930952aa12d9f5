package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestStuck(t *testing.T) {
	waits := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	const noImage = `container web of pod web-0 cannot get its image "web:gone"`
	cases := map[string]struct {
		reason string
		state  corev1.ContainerState
		want   string
	}{
		"Running":  {reason: "A container that runs is not stuck.", state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		"Creating": {reason: "Nor is one that is being created.", state: waits("ContainerCreating")},
		"Pull":     {reason: "An image that cannot be pulled is named.", state: waits("ErrImagePull"), want: noImage},
		"BackOff":  {reason: "By one text, whatever the kubelet is at.", state: waits("ImagePullBackOff"), want: noImage},
		"Config":   {reason: "A missing Secret is the kubelet's reason.", state: waits("CreateContainerConfigError"), want: "container web of pod web-0 cannot be started (CreateContainerConfigError)"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Name: "web-0"},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:gone"}}},
				Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "web", State: tc.state}}},
			}
			if diff := cmp.Diff(tc.want, stuck(pod)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
