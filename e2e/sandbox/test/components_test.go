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
)

// state returns the state of a process.
func (s *sandbox) state(t *testing.T, name string) control.Status {
	t.Helper()
	statuses, err := s.control.Status(t.Context())
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

// Faults need a sandbox of their own: nobody else can work in it meanwhile.
func TestFaults(t *testing.T) {
	s, err := up(t.Context(), "faults", append(small, "--disable-mutating-policies")...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.down(); err != nil {
			t.Error(err)
		}
	})
	t.Run("no mutating policies", s.testNoMutatingPolicies)
	t.Run("paused API server", s.testPause)
	t.Run("killed API server", s.testKill)
	t.Run("restarted etcd", s.testRestartEtcd)
	t.Run("stopped controllers", s.testStopControllers)
	t.Run("killed kubelet", s.testKillKubelet)
}

// Without MutatingAdmissionPolicy the API server does not serve it, and the rest
// of its group goes on.
func (s *sandbox) testNoMutatingPolicies(t *testing.T) {
	list, err := s.client.Discovery().ServerResourcesForGroupVersion("admissionregistration.k8s.io/v1")
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

func (s *sandbox) testPause(t *testing.T) {
	mustRun(t, s.command(t.Context(), "pause", "kube-apiserver"))
	if got := s.state(t, "kube-apiserver").State; got != control.Paused {
		t.Errorf("state %q, want paused", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a paused API server answered: %v", err)
	}
	mustRun(t, s.command(t.Context(), "resume", "kube-apiserver"))
	s.waitAPI(t)
}

func (s *sandbox) testKill(t *testing.T) {
	mustRun(t, s.command(t.Context(), "kill", "kube-apiserver"))
	if got := s.state(t, "kube-apiserver"); got.State != control.Exited || got.ExitCode != 137 {
		t.Errorf("got state %q and code %d, want exited and 137", got.State, got.ExitCode)
	}
	mustRun(t, s.command(t.Context(), "start", "kube-apiserver"))
	s.waitAPI(t)
	if got := s.state(t, "kube-apiserver").Starts; got != 2 {
		t.Errorf("got %d starts, want 2", got)
	}
}

func (s *sandbox) testRestartEtcd(t *testing.T) {
	maps := s.client.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mustRun(t, s.command(t.Context(), "kill", "etcd"))
	mustRun(t, s.command(t.Context(), "start", "etcd"))
	eventually(t, "the object in etcd", func(ctx context.Context) error {
		_, err := maps.Get(ctx, "kept", metav1.GetOptions{})
		return err
	})
}

func (s *sandbox) testStopControllers(t *testing.T) {
	mustRun(t, s.command(t.Context(), "stop", "kube-controller-manager"))
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "waits"}}
	if _, err := s.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	accounts := s.client.CoreV1().ServiceAccounts("waits")
	if _, err := accounts.Get(t.Context(), "default", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("got %v, want no service account while the controllers are stopped", err)
	}
	mustRun(t, s.command(t.Context(), "start", "kube-controller-manager"))
	eventually(t, "service account", func(ctx context.Context) error {
		_, err := accounts.Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// Pods die with their kubelet. Started again, it restarts them, on the addresses
// they had.
func (s *sandbox) testKillKubelet(t *testing.T) {
	mark := t.TempDir() + "/survivor"
	pods := s.client.CoreV1().Pods("default")
	if _, err := pods.Create(t.Context(), pod("survivor", "while :; do sleep 1; done #"+mark), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	get := func(restarts int32) (p *corev1.Pod) {
		eventually(t, "pod", func(ctx context.Context) (err error) {
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
	mustRun(t, s.command(t.Context(), "kill", "kubelet"))
	eventually(t, "the end of its pods", func(context.Context) error {
		if left := processesWith(t, mark); len(left) > 0 {
			return fmt.Errorf("%w: %q", errNotYet, left)
		}
		return nil
	})
	mustRun(t, s.command(t.Context(), "start", "kubelet"))
	after := get(1)
	if diff := cmp.Diff(before.Status.PodIP, after.Status.PodIP); diff != "" {
		t.Errorf("address of the restarted pod (-before +after):\n%s", diff)
	}
}

func (s *sandbox) waitAPI(t *testing.T) {
	t.Helper()
	eventually(t, "API server", func(ctx context.Context) error {
		_, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		return err
	})
}

func TestProgramOfTheUser(t *testing.T) {
	t.Parallel()
	// It ends in an orderly way only if it gets SIGTERM.
	script := `trap 'echo bye $GREETING; exit 3' TERM; echo $KUBECONFIG; while :; do sleep 0.05; done`
	mustRun(t, shared.command(t.Context(), "start", "mine", "--user=weir", "--env=GREETING=hello", "--", "sh", "-c", script))
	eventually(t, "first line", func(ctx context.Context) error {
		got, err := run(shared.command(ctx, "logs", "mine"))
		if err != nil || got == "" {
			return errors.Join(errNotYet, err)
		}
		return nil
	})
	mustRun(t, shared.command(t.Context(), "stop", "mine"))
	if got := shared.state(t, "mine"); got.State != control.Exited || got.ExitCode != 3 {
		t.Errorf("got state %q and code %d, want exited and 3", got.State, got.ExitCode)
	}
	want := cluster.Kubeconfig(shared.Dir, "weir", false) + "\nbye hello\n"
	if diff := cmp.Diff(want, mustRun(t, shared.command(t.Context(), "logs", "mine"))); diff != "" {
		t.Errorf("log (-want +got):\n%s", diff)
	}
}

func TestExec(t *testing.T) {
	t.Parallel()
	cmd := shared.command(t.Context(), "exec", "--", "sh", "-c", "cat; exit 5")
	cmd.Stdin = strings.NewReader("from outside")
	out, err := run(cmd)
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
		got := mustRun(t, shared.command(t.Context(), "kubectl", "--kubeconfig", cluster.Kubeconfig(shared.Dir, c.user, true),
			"auth", "whoami", "-o", "jsonpath={.status.userInfo.groups}"))
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("groups of %s, %s (-want +got):\n%s", c.user, c.reason, diff)
		}
	}
}

// A process outside can own connections and listeners inside.
func TestNetwork(t *testing.T) {
	t.Parallel()
	const address = "10.0.9.9:8080"
	l, err := shared.control.Listen(t.Context(), "tcp", address)
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
		return shared.control.DialFrom(ctx, "10.244.250.7", network, addr)
	}
	if diff := cmp.Diff("10.244.250.7", httpGet(t, dial, "http://"+address)); diff != "" {
		t.Errorf("client's address, dialled from outside (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("10.244.250.8", mustRun(t, shared.command(t.Context(), "exec", "--", "curl", "-s", "--interface", "10.244.250.8", "http://"+address))); diff != "" {
		t.Errorf("client's address, dialled inside (-want +got):\n%s", diff)
	}
	forward := shared.command(t.Context(), "forward", address)
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
	maps := shared.client.CoreV1().ConfigMaps("default")
	if _, err := maps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "audit log", func(context.Context) error {
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
