// Package workload reads and writes a Deployment, its ReplicaSets and pods, and
// the Services in front of them, on behalf of one Rollout.
//
// Observe turns the objects into the facts on which decisions rest. Apply
// performs one effect of a decision: it reads the object live, checks what must
// be true of it, and writes by compare-and-swap, stamped with the number of the
// record. Nothing here decides.
//
// # How a canary comes to be and becomes the workload's own
//
// The Deployment is paused while a release is under way: its controller scales
// but never rolls. The canary is a ReplicaSet of Weir's own. Its pods carry the
// labels of the workload, so that Services, budgets and autoscalers see them;
// the ReplicaSet's own labels match no selector, so that nobody adopts it.
// One owner reference, not as controller, lets it go with the Deployment.
//
// At the promotion the Deployment is unpaused in the same write that puts the
// annotation weir.dev/handover on it. An admission policy refuses every
// ReplicaSet with that annotation, and the Deployment's controller copies it to
// each one it makes: so it can adopt, but not roll. Then the canary's
// ReplicaSet gets the labels of the selector and is adopted with its pods as
// they are; when it is, the annotation goes. To adopt into a paused Deployment
// instead would let its controller scale proportionally, and delete pods that
// have passed.
//
// # Templates
//
// Pod templates are compared and copied as the API server wrote them, in
// unstructured form. See StripDeployment for what that asks of the caches.
package workload
