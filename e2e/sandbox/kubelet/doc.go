// Package kubelet runs pods as plain processes. One process plays the kubelet
// of every node in a sandbox.
//
// A pod has an address of its own, on which its containers must listen: they
// share the machine's files and the sandbox's network, and nothing isolates
// them. Restart policies and back-off, probes, init containers and sidecars,
// graceful termination, pod conditions and readiness gates are those of the
// real kubelet. Volumes, resource limits and security contexts are ignored;
// kubectl exec and port-forward do not work (kubectl logs does).
//
// Bulk nodes take pods without running anything: such a pod is ready at once
// and gone at once, so that thousands of them test controllers at scale. With
// the annotation weir.dev/ready: "false" it runs and never gets ready.
//
// When the kubelet dies, so do the processes of its pods, as if all nodes had
// lost power. Started again, it restarts them where their policy says so.
package kubelet
