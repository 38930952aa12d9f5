//go:build e2e

package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// pod makes a pod with one container that runs a shell script.
func pod(name, script string, changes ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"test": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: ptr.To[int64](1),
			Containers: []corev1.Container{{
				Name:    "main",
				Image:   "test",
				Command: []string{"sh", "-c", script},
			}},
		},
	}
	for _, change := range changes {
		change(p)
	}
	return p
}

// create creates a pod and deletes it after the test.
func create(t *testing.T, p *corev1.Pod) {
	t.Helper()
	pods := shared.Kube.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := pods.Delete(context.Background(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	})
}

// summary is what most tests look at.
type summary struct {
	Phase    corev1.PodPhase
	Ready    bool
	Waiting  string // reason
	Exit     int32  // exit code of the present or else of the last state
	Reason   string // of the same state
	Restarts int32
}

func summarize(p *corev1.Pod) summary {
	s := summary{Phase: p.Status.Phase}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			s.Ready = c.Status == corev1.ConditionTrue
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		s.Restarts = c.RestartCount
		if c.State.Waiting != nil {
			s.Waiting = c.State.Waiting.Reason
		}
		t := c.State.Terminated
		if t == nil {
			t = c.LastTerminationState.Terminated
		}
		if t != nil {
			s.Exit, s.Reason = t.ExitCode, t.Reason
		}
	}
	return s
}

// waitPod waits until a pod's summary is as wanted.
func waitPod(t *testing.T, name string, want summary) *corev1.Pod {
	t.Helper()
	var p *corev1.Pod
	testbox.Eventually(t, "pod "+name, func(ctx context.Context) (err error) {
		if p, err = shared.Kube.CoreV1().Pods("default").Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if diff := cmp.Diff(want, summarize(p)); diff != "" {
			return fmt.Errorf("%w (-want +got):\n%s", errNotYet, diff)
		}
		return nil
	})
	return p
}

func TestPodStates(t *testing.T) {
	never := func(p *corev1.Pod) { p.Spec.RestartPolicy = corev1.RestartPolicyNever }
	cases := []struct {
		name   string
		reason string
		pod    *corev1.Pod
		want   summary
	}{
		{
			name:   "running",
			reason: "a container without probes is ready when it runs",
			pod:    pod("running", "sleep 600"),
			want:   summary{Phase: corev1.PodRunning, Ready: true},
		},
		{
			name:   "succeeded",
			reason: "with policy Never a pod ends as its container does",
			pod:    pod("succeeded", "exit 0", never),
			want:   summary{Phase: corev1.PodSucceeded, Reason: "Completed"},
		},
		{
			name:   "failed",
			reason: "an exit code that is not zero fails the pod",
			pod:    pod("failed", "exit 3", never),
			want:   summary{Phase: corev1.PodFailed, Exit: 3, Reason: "Error"},
		},
		{
			name:   "crash loop",
			reason: "after the first immediate restart the kubelet backs off and keeps the last exit code",
			pod:    pod("crash-loop", "exit 7"),
			want:   summary{Phase: corev1.PodRunning, Waiting: "CrashLoopBackOff", Exit: 7, Reason: "Error", Restarts: 1},
		},
		{
			name:   "missing image",
			reason: "an image that cannot be pulled is tried for ever",
			pod: pod("missing-image", "", func(p *corev1.Pod) {
				p.Spec.Containers[0].Image, p.Spec.Containers[0].Command = "weir.dev/missing:v1", nil
			}),
			want: summary{Phase: corev1.PodPending, Waiting: "ImagePullBackOff"},
		},
		{
			name:   "missing config",
			reason: "a container whose ConfigMap is missing is not started",
			pod: pod("missing-config", "sleep 600", func(p *corev1.Pod) {
				p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{
					ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "none"}},
				}}
			}),
			want: summary{Phase: corev1.PodPending, Waiting: "CreateContainerConfigError"},
		},
		{
			name:   "init failed",
			reason: "a failed init container fails a pod that is never restarted",
			pod: pod("init-failed", "sleep 600", never, func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "init", Image: "test", Command: []string{"false"}}}
			}),
			want: summary{Phase: corev1.PodFailed, Waiting: "PodInitializing"},
		},
		{
			name:   "unready",
			reason: "a readiness probe that fails keeps the pod out of service without a restart",
			pod: pod("unready", "sleep 600", func(p *corev1.Pod) {
				p.Spec.Containers[0].ReadinessProbe = testbox.HTTPProbe("/", intstr.FromInt32(9))
			}),
			want: summary{Phase: corev1.PodRunning},
		},
		{
			name:   "unhealthy",
			reason: "a liveness probe that fails restarts the container; SIGTERM ends it with 143",
			pod: pod("unhealthy", "exec sleep 600", func(p *corev1.Pod) {
				probe := testbox.HTTPProbe("/", intstr.FromInt32(9))
				probe.FailureThreshold = 1
				p.Spec.Containers[0].LivenessProbe = probe
			}),
			want: summary{Phase: corev1.PodRunning, Waiting: "CrashLoopBackOff", Exit: 143, Reason: "Error", Restarts: 1},
		},
		{
			name:   "sidecar",
			reason: "a pod whose main container has ended takes its sidecar with it",
			pod: pod("sidecar", "exit 0", never, func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{
					Name: "side", Image: "test", Command: []string{"sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"},
					RestartPolicy: ptr.To(corev1.ContainerRestartPolicyAlways),
				}}
			}),
			want: summary{Phase: corev1.PodSucceeded, Reason: "Completed"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			create(t, c.pod)
			t.Log(c.reason)
			waitPod(t, c.pod.Name, c.want)
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	script := `echo "$NAME $IP $VIA $TRACK $CPU"; sleep 600`
	p := pod("environment", script, func(p *corev1.Pod) {
		p.Labels["track"] = "canary"
		field := func(path string) *corev1.EnvVarSource {
			return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
		}
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
		p.Spec.Containers[0].Env = []corev1.EnvVar{
			{Name: "NAME", ValueFrom: field("metadata.name")},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "VIA", Value: "$(NAME)-$$(NAME)"},
			{Name: "TRACK", ValueFrom: field("metadata.labels['track']")},
			{Name: "CPU", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.cpu"}}},
		}
	})
	create(t, p)
	running := waitPod(t, "environment", summary{Phase: corev1.PodRunning, Ready: true})
	want := "environment " + running.Status.PodIP + " environment-$(NAME) canary 2\n"
	testbox.Eventually(t, "log", func(ctx context.Context) error {
		got, err := testbox.Output(shared.Command(ctx, "kubectl", "logs", "environment"))
		if err != nil {
			return err
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return fmt.Errorf("%w (-want +got):\n%s", errNotYet, diff)
		}
		return nil
	})
}

func TestReadinessGate(t *testing.T) {
	t.Parallel()
	const gate = corev1.PodConditionType("test/gate")
	create(t, pod("gate", "sleep 600", func(p *corev1.Pod) {
		p.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: gate}}
	}))
	waitPod(t, "gate", summary{Phase: corev1.PodRunning})
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":%q,"status":"True"}]}}`, gate)
	_, err := shared.Kube.CoreV1().Pods("default").Patch(t.Context(), "gate",
		types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	p := waitPod(t, "gate", summary{Phase: corev1.PodRunning, Ready: true})
	for _, c := range p.Status.Conditions {
		if c.Type == gate && c.Status == corev1.ConditionTrue {
			return
		}
	}
	t.Errorf("the kubelet dropped a condition of somebody else; conditions: %v", p.Status.Conditions)
}

// A pod is deleted in order: preStop hook, SIGTERM, the end of its program, then
// its object. What it wrote on the way tells.
func TestTermination(t *testing.T) {
	cases := []struct {
		name   string
		reason string
		script string
		grace  int64
		want   string
		least  time.Duration
		most   time.Duration
	}{
		{
			name:   "obeys",
			reason: "a program that ends on SIGTERM ends the pod, long before its grace is over",
			script: `trap 'echo term >>%[1]s; exit 0' TERM; while :; do sleep 0.05; done`,
			grace:  30,
			want:   "hook\nterm\n",
			most:   15 * time.Second,
		},
		{
			name:   "ignores",
			reason: "a program that ignores SIGTERM is killed, with what it started, when its grace is over",
			script: `trap 'echo term >>%[1]s' TERM; sh -c 'trap "" TERM; sleep 600' & while :; do sleep 0.05; done`,
			grace:  2,
			want:   "hook\nterm\n",
			least:  2 * time.Second,
			most:   15 * time.Second,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			file := t.TempDir() + "/order"
			name := "termination-" + c.name
			create(t, pod(name, fmt.Sprintf(c.script, file), func(p *corev1.Pod) {
				p.Spec.TerminationGracePeriodSeconds = &c.grace
				p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{
					Exec: &corev1.ExecAction{Command: []string{"sh", "-c", "echo hook >>" + file}},
				}}
			}))
			waitPod(t, name, summary{Phase: corev1.PodRunning, Ready: true})
			began := time.Now()
			pods := shared.Kube.CoreV1().Pods("default")
			if err := pods.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
			testbox.Eventually(t, "deletion", func(ctx context.Context) error {
				_, err := pods.Get(ctx, name, metav1.GetOptions{})
				if apierrors.IsNotFound(err) {
					return nil
				}
				return errNotYet
			})
			took := time.Since(began)
			if took < c.least || took > c.most {
				t.Errorf("%s: took %s, want %s to %s", c.reason, took, c.least, c.most)
			}
			got, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, string(got)); diff != "" {
				t.Errorf("%s: order (-want +got):\n%s", c.reason, diff)
			}
			if left := processesWith(t, file); len(left) > 0 {
				t.Errorf("%s: processes left: %q", c.reason, left)
			}
		})
	}
}

// A pod deleted by force loses its processes, too.
func TestForcedDeletion(t *testing.T) {
	t.Parallel()
	mark := t.TempDir() + "/forced"
	create(t, pod("forced", "trap '' TERM; while :; do sleep 0.05; done #"+mark))
	waitPod(t, "forced", summary{Phase: corev1.PodRunning, Ready: true})
	if len(processesWith(t, mark)) == 0 {
		t.Fatal("the pod's process cannot be found, so the test would prove nothing")
	}
	err := shared.Kube.CoreV1().Pods("default").Delete(t.Context(), "forced", metav1.DeleteOptions{GracePeriodSeconds: ptr.To[int64](0)})
	if err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "end of the process", func(context.Context) error {
		if left := processesWith(t, mark); len(left) > 0 {
			return fmt.Errorf("%w: %q", errNotYet, left)
		}
		return nil
	})
}

// processesWith lists the command lines of the machine's processes that contain
// a text.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err == nil && strings.Contains(string(line), text) {
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}
