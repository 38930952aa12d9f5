// Package sim is a model of a cluster in which the decision core runs: the API
// server, the Deployment controller line by line, pods, endpoints, a gateway,
// metrics, users, and the shell around the core, with caches that lag, crashes
// between any two writes and deposed leaders that wake up.
//
// A schedule is one history, made from a seed: a storm of events in random
// order, then calm, in which everything must come to rest. Every invariant below
// is checked at each write or after each event. Time is simulated. There is one
// goroutine, and nothing is serialised, so that a core runs thousands of
// schedules a second.
//
// # Invariants
//
// W is checked at a write of Weir, S in every state.
//
//	H1  W  nothing is raised above what the newest record allows
//	H3  W  weight is raised only with enough available canary pods, never to none
//	H4  W  after the record of a rollback the first write takes the traffic; pods
//	       go only when they get none and the drain has passed
//	H5  S  stable keeps the workload's size until the handover
//	H6     a crash at any two points leads to the same end
//	H7  W  a step is left only after its hold of uninterrupted exposure
//	H8  W  at a start no data plane sends weight to a canary; the number of the
//	       release grows by one; a rollback ends where it may
//	H9  W  a step with an analysis is left only if it was shown what it needs
//	H11 W  a step with an approval only if one names this release and gate
//	H12 S  no backend with weight is missing or has no pods asked for
//	H13 S  no caller beside the routes meets the canary before the adoption
//	H14 W  the workload is resumed only at a template that may run
//	H15 W  no rollback for a cause that never held
//	H16 W  the deadline never fires within its own length
//	H17 W  a canary gets pods only when the preview selects it, and loses them only
//	       when the preview does not
//	I13 S  no verified pod is lost to the promotion
//	I14 S  no template that was not promoted is rolled out by the workload
//	L1     in calm everything comes to rest, with a true reason
//	L2     every abort and retry is followed
//	L3     exposure does not flap
//	L4     at rest nothing of Weir's is left but a preview, if one is asked for
//
// H2 (weights sum to the whole in each object) and H10 (one Rollout per
// workload) belong to the providers and to the shell, whose suites check them.
//
// # Races
//
// Kubernetes has no transaction over two objects, so some races cannot be
// excluded. They are named (see Race), counted, and bounded: each is one write,
// and the next pass undoes it.
package sim
