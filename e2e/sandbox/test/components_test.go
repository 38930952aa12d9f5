//go:build e2e

package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/e2e/sandbox/cluster"
	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/internal/testbox"
)

// state returns the state of a process.
func state(t *testing.T, s *testbox.Sandbox, name string) control.Status {
	t.Helper()
	statuses, err := s.Control.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range statuses {
		if status.Name == name {
			return status
		}
	}
	t.Fatalf("no process %q", name)
	return control.Status{}
}

// faults is a sandbox whose components are ill-treated.
type faults struct{ *testbox.Sandbox }

// Faults need a sandbox of their own: nobody else can work in it meanwhile.
func TestFaults(t *testing.T) {
	box, err := testbox.Up(t.Context(), "faults", append(small, "--disable-mutating-policies")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := box.Down(); err != nil {
			t.Error(err)
		}
	})
	s := faults{box}
	t.Run("no mutating policies", s.testNoMutatingPolicies)
	t.Run("paused API server", s.testPause)
	t.Run("killed API server", s.testKill)
	t.Run("restarted etcd", s.testRestartEtcd)
	t.Run("stopped controllers", s.testStopControllers)
	t.Run("killed kubelet", s.testKillKubelet)
}

// Without MutatingAdmissionPolicy the API server does not serve it, and the rest
// of its group goes on.
func (s faults) testNoMutatingPolicies(t *testing.T) {
	list, err := s.Kube.Discovery().ServerResourcesForGroupVersion("admissionregistration.k8s.io/v1")
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]bool{}
	for _, r := range list.APIResources {
		served[r.Name] = true
	}
	if served["mutatingadmissionpolicies"] || served["mutatingadmissionpolicybindings"] || !served["validatingadmissionpolicies"] {
		t.Errorf("served: %v", served)
	}
}

func (s faults) testPause(t *testing.T) {
	s.Run(t, "pause", "kube-apiserver")
	if got := state(t, s.Sandbox, "kube-apiserver").State; got != control.Paused {
		t.Errorf("state %q, want paused", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused API server answered: %v", err)
	}
	s.Run(t, "resume", "kube-apiserver")
	s.waitAPI(t)
}

func (s faults) testKill(t *testing.T) {
	s.Run(t, "kill", "kube-apiserver")
	if got := state(t, s.Sandbox, "kube-apiserver"); got.State != control.Exited || got.ExitCode != 137 {
		t.Errorf("got state %q and code %d, want exited and 137", got.State, got.ExitCode)
	}
	s.Run(t, "start", "kube-apiserver")
	s.waitAPI(t)
	if got := state(t, s.Sandbox, "kube-apiserver").Starts; got != 2 {
		t.Errorf("got %d starts, want 2", got)
	}
}

func (s faults) testRestartEtcd(t *testing.T) {
	maps := s.Kube.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.Run(t, "kill", "etcd")
	s.Run(t, "start", "etcd")
	testbox.Eventually(t, "the object in etcd", func(ctx context.Context) error {
		_, err := maps.Get(ctx, "kept", metav1.GetOptions{})
		return err
	})
}

func (s faults) testStopControllers(t *testing.T) {
	s.Run(t, "stop", "kube-controller-manager")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "waits"}}
	if _, err := s.Kube.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts := s.Kube.CoreV1().ServiceAccounts("waits")
	if _, err := accounts.Get(t.Context(), "default", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want no service account while the controllers are stopped", err)
	}
	s.Run(t, "start", "kube-controller-manager")
	testbox.Eventually(t, "service account", func(ctx context.Context) error {
		_, err := accounts.Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// Pods die with their kubelet. Started again, it restarts them, on the addresses
// they had.
func (s faults) testKillKubelet(t *testing.T) {
	mark := t.TempDir() + "/survivor"
	pods := s.Kube.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), pod("survivor", "while :; do sleep 1; done #"+mark), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	get := func(restarts int32) (p *corev1.Pod) {
		testbox.Eventually(t, "pod", func(ctx context.Context) (err error) {
			if p, err = pods.Get(ctx, "survivor", metav1.GetOptions{}); err != nil {
				return err
			}
			if got := summarize(p); !got.Ready || got.Restarts != restarts {
				return fmt.Errorf("%w: %+v", errNotYet, got)
			}
			return nil
		})
		return p
	}
	before := get(0)
	if len(processesWith(t, mark)) == 0 {
		t.Fatal("the pod's process cannot be found, so the test would prove nothing")
	}
	s.Run(t, "kill", "kubelet")
	testbox.Eventually(t, "the end of its pods", func(context.Context) error {
		if left := processesWith(t, mark); len(left) > 0 {
			return fmt.Errorf("%w: %q", errNotYet, left)
		}
		return nil
	})
	s.Run(t, "start", "kubelet")
	after := get(1)
	if diff := cmp.Diff(before.Status.PodIP, after.Status.PodIP); diff != "" {
		t.Errorf("address of the restarted pod (-before +after):\n%s", diff)
	}
}

func (s faults) waitAPI(t *testing.T) {
	t.Helper()
	testbox.Eventually(t, "API server", func(ctx context.Context) error {
		_, err := s.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
}

func TestProgramOfTheUser(t *testing.T) {
	t.Parallel()
	// It ends in an orderly way only if it gets SIGTERM.
	script := `trap 'echo bye $GREETING; exit 3' TERM; echo $KUBECONFIG; while :; do sleep 0.05; done`
	shared.Run(t, "start", "mine", "--user=weir", "--env=GREETING=hello", "--", "sh", "-c", script)
	testbox.Eventually(t, "first line", func(ctx context.Context) error {
		got, err := testbox.Output(shared.Command(ctx, "logs", "mine"))
		if err != nil || got == "" {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	shared.Run(t, "stop", "mine")
	if got := state(t, shared, "mine"); got.State != control.Exited || got.ExitCode != 3 {
		t.Errorf("got state %q and code %d, want exited and 3", got.State, got.ExitCode)
	}
	want := cluster.Kubeconfig(shared.Dir, "weir", false) + "\nbye hello\n"
	if diff := cmp.Diff(want, shared.Run(t, "logs", "mine")); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	cmd := shared.Command(t.Context(), "exec", "--", "sh", "-c", "cat; exit 5")
	cmd.Stdin = strings.NewReader("from outside")
	out, err := testbox.Output(cmd)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 5 {
		t.Errorf("got %v, want exit code 5", err)
	}
	if diff := cmp.Diff("from outside", out); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// kubectl works from outside, as each of the users.
func TestUsers(t *testing.T) {
	t.Parallel()
	cases := []struct {
		user, reason, want string
	}{
		{"admin", "the administrator", `["system:masters","system:authenticated"]`},
		{"weir", "the controller under test is its service account", `["system:serviceaccounts","system:serviceaccounts:weir-system","system:authenticated"]`},
		{"alice", "a leader", `["sre-leads","system:authenticated"]`},
		{"gitops", "a developer", `["devs","system:authenticated"]`},
	}
	for _, c := range cases {
		got := shared.Run(t, "kubectl", "--kubeconfig", cluster.Kubeconfig(shared.Dir, c.user, true),
			"auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}")
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("groups of %s, %s (-want +got):\n%s", c.user, c.reason, diff)
		}
	}
}

// A process outside can own connections and listeners inside.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const address = "10.0.9.9:8080"
	l, err := shared.Control.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		_, _ = io.WriteString(w, host)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })

	dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
		return shared.Control.DialFrom(ctx, "10.244.250.7", network, addr)
	}
	if diff := cmp.Diff("10.244.250.7", httpGet(t, dial, "http://"+address)); diff != "" {
		t.Errorf("client's address, dialled from outside (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("10.244.250.8", shared.Run(t, "exec", "--", "curl", "-s", "--interface", "10.244.250.8", "http://"+address)); diff != "" {
		t.Errorf("client's address, dialled inside (-want +got):\n%s", diff)
	}
	forward := shared.Command(t.Context(), "forward", address)
	out, err := forward.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := forward.Start(); err != nil {
		t.Fatal(err)
	}
	local, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if got := httpGet(t, (&net.Dialer{}).DialContext, "http://"+strings.TrimSpace(local)); got == "" {
		t.Error("no answer through the forwarded port")
	}
}

func httpGet(t *testing.T, dial func(ctx context.Context, network, addr string) (net.Conn, error), url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r, err := client.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Body.Close() }()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// The audit log names the one that wrote.
func TestAudit(t *testing.T) {
	t.Parallel()
	name := "audited"
	maps := shared.Kube.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	testbox.Eventually(t, "audit log", func(context.Context) error {
		data, err := os.ReadFile(shared.AuditLog)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, `"verb":"create"`) && strings.Contains(line, `"username":"admin"`) && strings.Contains(line, `"name":"`+name+`"`) {
				return nil
			}
		}
		return errNotYet
	})
}
