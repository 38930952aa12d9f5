package kubelet

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// bulkKey labels and taints nodes for pods that only pretend to run.
const bulkKey = "weir.dev/bulk"

const (
	podsPerNode     = 110
	podsPerBulkNode = 1000
	// maxBulkNodes is how many ranges of bulkBits fit into bulkRange.
	maxBulkNodes = 256
)

// node is one of the nodes this kubelet plays.
type node struct {
	name string
	bulk bool
	// address is where the node's kubelet is reached.
	address netip.Addr
	// pods is the range of its pods' addresses.
	pods netip.Prefix
}

// makeNodes lays out the nodes: node k has 10.0.1.k and pods in 10.244.k.0/24;
// bulk node k has 10.0.64.k (going on in 10.0.65) and a /21 of 10.200.0.0/13.
func makeNodes(count, bulk int) ([]node, error) {
	if count < 1 || count > 200 {
		return nil, fmt.Errorf("invalid --nodes %d: want 1 to 200", count)
	}
	if bulk < 0 || bulk > maxBulkNodes {
		return nil, fmt.Errorf("invalid --bulk-nodes %d: want 0 to %d", bulk, maxBulkNodes)
	}
	nodes := make([]node, 0, count+bulk)
	for k := 1; k <= count; k++ {
		nodes = append(nodes, node{
			name:    fmt.Sprintf("node-%d", k),
			address: netip.AddrFrom4([4]byte{10, 0, 1, byte(k)}),
			pods:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, byte(k), 0}), 24),
		})
	}
	for k := range bulk {
		nodes = append(nodes, node{
			name:    fmt.Sprintf("bulk-%d", k+1),
			bulk:    true,
			address: netip.AddrFrom4([4]byte{10, 0, byte(64 + (k+1)/256), byte((k + 1) % 256)}),
			pods:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(200 + k/32), byte(k % 32 * 8), 0}), 21),
		})
	}
	return nodes, nil
}

// register creates the node, or brings an existing one up to date, and reports
// it ready. There is no heartbeat: no controller in the sandbox asks for one.
func (n node) register(ctx context.Context, client kubernetes.Interface) error {
	object := n.object()
	created, err := client.CoreV1().Nodes().Create(ctx, object, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		created, err = client.CoreV1().Nodes().Get(ctx, n.name, metav1.GetOptions{})
	}
	if err != nil {
		return fmt.Errorf("cannot register node %s: %w", n.name, err)
	}
	// The API server taints a new node as not ready, for a controller that
	// does not run here to take back.
	created.Spec.Taints = object.Spec.Taints
	updated, err := client.CoreV1().Nodes().Update(ctx, created, metav1.UpdateOptions{})
	if err != nil {
		return fmt.Errorf("cannot remove the taint of node %s: %w", n.name, err)
	}
	updated.Status = object.Status
	if _, err := client.CoreV1().Nodes().UpdateStatus(ctx, updated, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("cannot report node %s ready: %w", n.name, err)
	}
	return nil
}

func (n node) object() *corev1.Node {
	now := metav1.Now()
	pods := int64(podsPerNode)
	o := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.name,
			Labels: map[string]string{
				corev1.LabelHostname:   n.name,
				corev1.LabelOSStable:   "linux",
				corev1.LabelArchStable: "amd64",
			},
		},
	}
	if n.bulk {
		pods = podsPerBulkNode
		o.Labels[bulkKey] = "true"
		o.Spec.Taints = []corev1.Taint{{Key: bulkKey, Effect: corev1.TaintEffectNoSchedule}}
	}
	resources := corev1.ResourceList{
		// Far more than the machine has: pods share it as they please.
		corev1.ResourceCPU:              resource.MustParse("1000"),
		corev1.ResourceMemory:           resource.MustParse("4Ti"),
		corev1.ResourceEphemeralStorage: resource.MustParse("4Ti"),
		corev1.ResourcePods:             *resource.NewQuantity(pods, resource.DecimalSI),
	}
	o.Status = corev1.NodeStatus{
		Capacity:    resources,
		Allocatable: resources,
		Addresses: []corev1.NodeAddress{
			{Type: corev1.NodeInternalIP, Address: n.address.String()},
			{Type: corev1.NodeHostName, Address: n.name},
		},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: apiPort}},
		NodeInfo:        corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64", KubeletVersion: "v1.37.2-sandbox"},
		Conditions: []corev1.NodeCondition{{
			Type:               corev1.NodeReady,
			Status:             corev1.ConditionTrue,
			Reason:             "KubeletReady",
			Message:            "the sandbox's kubelet runs pods as processes",
			LastHeartbeatTime:  now,
			LastTransitionTime: now,
		}},
	}
	return o
}
