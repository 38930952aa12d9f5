package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// Container states for the tables.
var (
	waitingState = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "x"}}
	runningState = corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
)

func endedState(code int32) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code}}
}

func TestPhase(t *testing.T) {
	cases := map[string]struct {
		reason             string
		init, main         []corev1.ContainerStatus
		initialized, ended bool
		want               corev1.PodPhase
	}{
		"Initializing": {
			reason: "a pod is pending while its init containers run",
			init:   []corev1.ContainerStatus{{State: runningState}},
			main:   []corev1.ContainerStatus{{State: waitingState}},
			want:   corev1.PodPending,
		},
		"OneNotCreated": {
			reason:      "a pod is pending until every container has started once",
			main:        []corev1.ContainerStatus{{State: runningState}, {State: waitingState}},
			initialized: true,
			want:        corev1.PodPending,
		},
		"BackingOff": {
			reason:      "a container between two runs keeps the pod running",
			main:        []corev1.ContainerStatus{{State: waitingState, LastTerminationState: endedState(1)}},
			initialized: true,
			want:        corev1.PodRunning,
		},
		"PartlyEnded": {
			reason:      "a pod runs as long as one container does",
			main:        []corev1.ContainerStatus{{State: endedState(1)}, {State: runningState}},
			initialized: true,
			want:        corev1.PodRunning,
		},
		"Succeeded": {
			reason:      "all exit codes are zero",
			init:        []corev1.ContainerStatus{{State: endedState(0)}},
			main:        []corev1.ContainerStatus{{State: endedState(0)}, {State: endedState(0)}},
			initialized: true, ended: true,
			want: corev1.PodSucceeded,
		},
		"Failed": {
			reason:      "one exit code is not zero",
			main:        []corev1.ContainerStatus{{State: endedState(0)}, {State: endedState(2)}},
			initialized: true, ended: true,
			want: corev1.PodFailed,
		},
		"NeverStarted": {
			reason: "a pod that ended before its containers started has failed",
			init:   []corev1.ContainerStatus{{State: endedState(1)}},
			main:   []corev1.ContainerStatus{{State: waitingState}},
			ended:  true,
			want:   corev1.PodFailed,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := corev1.PodStatus{InitContainerStatuses: tc.init, ContainerStatuses: tc.main}
			if diff := cmp.Diff(tc.want, phase(s, tc.initialized, tc.ended)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	type ready struct{ Containers, Pod, Reason string }
	gated := &corev1.Pod{Spec: corev1.PodSpec{ReadinessGates: []corev1.PodReadinessGate{{ConditionType: "gate"}}}}
	open := gated.DeepCopy()
	open.Status.Conditions = []corev1.PodCondition{{Type: "gate", Status: corev1.ConditionTrue}}
	up := corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Ready: true}}}
	half := corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{Name: "a", Ready: true}, {Name: "b"}}}
	over := corev1.PodStatus{Phase: corev1.PodSucceeded, ContainerStatuses: []corev1.ContainerStatus{{Name: "a"}}}
	cases := map[string]struct {
		reason string
		pod    *corev1.Pod
		status corev1.PodStatus
		want   ready
	}{
		"Ready":      {"all containers are ready", &corev1.Pod{}, up, ready{"True", "True", ""}},
		"Half":       {"one container is not", &corev1.Pod{}, half, ready{"False", "False", "ContainersNotReady"}},
		"GateClosed": {"a gate that nobody has opened keeps the pod unready", gated, up, ready{"True", "False", "ReadinessGatesNotReady"}},
		"GateOpen":   {"an open gate does not", open, up, ready{"True", "True", ""}},
		"Over":       {"a pod that has ended is not ready", &corev1.Pod{}, over, ready{"False", "False", "PodCompleted"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got ready
			for _, c := range conditions(tc.pod, tc.status, true) {
				switch c.Type {
				case corev1.ContainersReady:
					got.Containers = string(c.Status)
				case corev1.PodReady:
					got.Pod, got.Reason = string(c.Status), c.Reason
				default:
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
