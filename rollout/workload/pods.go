package workload

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/weir-dev/weir/rollout/decide"
)

// Reasons of container states that count as evidence of a crash.
const (
	reasonCrashLoop = "CrashLoopBackOff"
	reasonOOM       = "OOMKilled"
)

// crashOf is the worst evidence in one pod that it does not stay up: a
// container in a crash loop, or killed for its memory, or restarted. Restarts
// of a pod that a node shutdown ended are not told apart; how many it takes is
// for the decision.
func crashOf(pod *corev1.Pod) *decide.Crash {
	var worst *decide.Crash
	statuses := slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses)
	for i := range statuses {
		worst = worse(worst, crashOfContainer(pod, &statuses[i]))
	}
	return worst
}

// crashOfContainer is the evidence in one container, nil without any.
func crashOfContainer(pod *corev1.Pod, status *corev1.ContainerStatus) *decide.Crash {
	ended := status.State.Terminated
	if ended == nil {
		ended = status.LastTerminationState.Terminated
	}
	crash := &decide.Crash{Pod: pod.Name, Container: status.Name, Restarts: status.RestartCount}
	if ended != nil {
		crash.Reason = ended.Reason
		crash.Message = fmt.Sprintf("exit code %d", ended.ExitCode)
		if ended.Signal != 0 {
			crash.Message = fmt.Sprintf("signal %d", ended.Signal)
		}
	}
	if w := status.State.Waiting; w != nil && w.Reason == reasonCrashLoop {
		crash.Reason = reasonCrashLoop
	}
	switch {
	case crash.Reason == reasonCrashLoop, crash.Reason == reasonOOM, crash.Restarts > 0:
		return crash
	default:
		return nil
	}
}

// worse is the worse of two pieces of evidence. Of equal ones the first stays,
// so that the message does not change from look to look.
func worse(a, b *decide.Crash) *decide.Crash {
	if a == nil || b != nil && severity(b) > severity(a) {
		return b
	}
	return a
}

// severity ranks evidence: by reason, then by restarts.
func severity(c *decide.Crash) int64 {
	rank := int64(0)
	switch c.Reason {
	case reasonCrashLoop:
		rank = 2
	case reasonOOM:
		rank = 1
	}
	return rank<<32 + int64(c.Restarts)
}

// createFailure says why the pods of a set cannot be created, such as a quota
// or an admission policy; empty when they can.
func createFailure(rs *appsv1.ReplicaSet) string {
	for _, c := range rs.Status.Conditions {
		if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return ""
}

// unschedulable says why no node takes a pod; empty when one does, or when the
// scheduler has not tried.
func unschedulable(pod *corev1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return fmt.Sprintf("%s: %s", c.Reason, c.Message)
		}
	}
	return ""
}

// stuck says why a container of a pod does not start, in words that stay the
// same from one attempt of the kubelet to the next; empty when none is known not
// to. The reasons are the kubelet's.
func stuck(pod *corev1.Pod) string {
	for _, status := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if status.State.Waiting == nil {
			continue
		}
		switch reason := status.State.Waiting.Reason; reason {
		case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName":
			return fmt.Sprintf("container %s of pod %s cannot get its image %q", status.Name, pod.Name, imageOf(pod, status.Name))
		case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
			return fmt.Sprintf("container %s of pod %s cannot be started (%s)", status.Name, pod.Name, reason)
		}
	}
	return ""
}

// imageOf is the image that a container is to run.
func imageOf(pod *corev1.Pod, name string) string {
	for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
		if c.Name == name {
			return c.Image
		}
	}
	return ""
}
