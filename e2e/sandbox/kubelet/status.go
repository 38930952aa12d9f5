package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

const (
	// writeTimeout bounds one write, so that a paused API server is tried
	// again when it is back.
	writeTimeout = 5 * time.Second
	// writeRetry is the pause after a failed write.
	writeRetry = 500 * time.Millisecond
)

// report writes the pod's status whenever it changes, and deletes the object of
// a terminating pod when its last container has ended. It ends when the object
// is gone.
func (w *worker) report() {
	var sent *corev1.PodStatus
	for {
		select {
		case <-w.changed:
		case <-w.kill.Done():
			return
		}
		status := w.status(sent)
		if sent == nil || !equality.Semantic.DeepEqual(*sent, status) {
			if !w.write(func(ctx context.Context) error { return w.patch(ctx, status) }) {
				return
			}
			sent = &status
		}
		if w.over() {
			w.write(w.delete)
			return
		}
	}
}

// over reports whether the pod is to be deleted and nothing of it runs.
func (w *worker) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended && w.pod.DeletionTimestamp != nil
}

// write tries until it succeeds. It reports false when the object is gone.
func (w *worker) write(do func(ctx context.Context) error) bool {
	for {
		ctx, cancel := context.WithTimeout(w.kill, writeTimeout)
		err := do(ctx)
		cancel()
		switch {
		case err == nil:
			return true
		case apierrors.IsNotFound(err), apierrors.IsConflict(err): // another pod of the name is a conflict
			return false
		}
		log.Printf("cannot write pod %s: %v", w.current().Name, err)
		if !sleep(w.kill, writeRetry) {
			return false
		}
	}
}

func (w *worker) patch(ctx context.Context, status corev1.PodStatus) error {
	pod := w.current()
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": pod.UID},
		"status":   status,
	})
	if err != nil {
		return fmt.Errorf("cannot encode status: %w", err)
	}
	// A strategic merge leaves conditions of others alone.
	_, err = w.kubelet.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name,
		types.StrategicMergePatchType, data, metav1.PatchOptions{}, "status")
	return err
}

func (w *worker) delete(ctx context.Context) error {
	pod := w.current()
	return w.kubelet.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: ptr.To[int64](0),
		Preconditions:      metav1.NewUIDPreconditions(string(pod.UID)),
	})
}

// status makes the pod's status. The times of unchanged conditions are taken
// from the status before.
func (w *worker) status(before *corev1.PodStatus) corev1.PodStatus {
	w.mu.Lock()
	pod, initialized, ended := w.pod, w.initialized, w.ended
	w.mu.Unlock()
	if before == nil {
		before = &pod.Status
	}
	if w.ipErr != nil {
		return corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfAddresses", Message: w.ipErr.Error(), StartTime: &w.started}
	}
	host := w.node.address.String()
	s := corev1.PodStatus{
		ObservedGeneration:    pod.Generation,
		StartTime:             &w.started,
		HostIP:                host,
		HostIPs:               []corev1.HostIP{{IP: host}},
		PodIP:                 w.ip.String(),
		PodIPs:                []corev1.PodIP{{IP: w.ip.String()}},
		InitContainerStatuses: statuses(w.init),
		ContainerStatuses:     statuses(w.main),
	}
	s.Phase = phase(s, initialized, ended)
	for _, c := range conditions(pod, s, initialized) {
		c.ObservedGeneration = pod.Generation
		c.LastTransitionTime = metav1.Now()
		i := slices.IndexFunc(before.Conditions, func(b corev1.PodCondition) bool { return b.Type == c.Type && b.Status == c.Status })
		if i >= 0 {
			c.LastTransitionTime = before.Conditions[i].LastTransitionTime
		}
		s.Conditions = append(s.Conditions, c)
	}
	return s
}

func statuses(containers []*container) []corev1.ContainerStatus {
	var list []corev1.ContainerStatus
	for _, c := range containers {
		list = append(list, c.status())
	}
	return list
}

func (c *container) status() corev1.ContainerStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := corev1.ContainerStatus{
		Name:                 c.spec.Name,
		Image:                c.spec.Image,
		ImageID:              c.spec.Image,
		State:                c.state,
		LastTerminationState: c.last,
		RestartCount:         c.restarts,
		Started:              ptr.To(c.started),
		Ready:                c.ready,
	}
	if c.init && !c.sidecar() {
		// An init container is ready when it is done.
		s.Ready = c.state.Terminated != nil && c.state.Terminated.ExitCode == 0
	}
	if c.state.Running != nil || c.state.Terminated != nil {
		s.ContainerID = fmt.Sprintf("process://%s/%s/%d", c.worker.current().UID, c.spec.Name, c.restarts)
	}
	return s
}

// phase sums the containers up.
func phase(s corev1.PodStatus, initialized, ended bool) corev1.PodPhase {
	if ended {
		for _, c := range slices.Concat(s.ContainerStatuses, s.InitContainerStatuses) {
			if t := c.State.Terminated; t == nil || t.ExitCode != 0 {
				return corev1.PodFailed
			}
		}
		return corev1.PodSucceeded
	}
	if !initialized {
		return corev1.PodPending
	}
	for _, c := range s.ContainerStatuses {
		if c.State.Waiting != nil && c.LastTerminationState.Terminated == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// conditions makes the conditions that are the kubelet's to set.
func conditions(pod *corev1.Pod, s corev1.PodStatus, initialized bool) []corev1.PodCondition {
	containers := condition(corev1.ContainersReady, true, "", "")
	if unready := unready(s); terminal(s.Phase) {
		containers = condition(corev1.ContainersReady, false, "PodCompleted", "")
	} else if len(unready) > 0 {
		containers = condition(corev1.ContainersReady, false, "ContainersNotReady",
			fmt.Sprintf("containers with unready status: [%s]", strings.Join(unready, " ")))
	}
	ready := containers
	ready.Type = corev1.PodReady
	if missing := missingGates(pod); ready.Status == corev1.ConditionTrue && len(missing) > 0 {
		ready = condition(corev1.PodReady, false, "ReadinessGatesNotReady",
			fmt.Sprintf("the status of pod readiness gates is not true: [%s]", strings.Join(missing, " ")))
	}
	init := condition(corev1.PodInitialized, initialized, "", "")
	if !initialized {
		init.Reason = "ContainersNotInitialized"
	}
	return []corev1.PodCondition{condition(corev1.PodReadyToStartContainers, true, "", ""), init, containers, ready}
}

func condition(kind corev1.PodConditionType, ok bool, reason, message string) corev1.PodCondition {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, Reason: reason, Message: message}
	if ok {
		c.Status = corev1.ConditionTrue
	}
	return c
}

// unready names the containers that are not ready.
func unready(s corev1.PodStatus) []string {
	var names []string
	for _, c := range s.ContainerStatuses {
		if !c.Ready {
			names = append(names, c.Name)
		}
	}
	return names
}

// missingGates names the readiness gates whose condition is not true.
func missingGates(pod *corev1.Pod) []string {
	var missing []string
	for _, g := range pod.Spec.ReadinessGates {
		met := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == g.ConditionType && c.Status == corev1.ConditionTrue
		})
		if !met {
			missing = append(missing, string(g.ConditionType))
		}
	}
	return missing
}
