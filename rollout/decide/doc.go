// Package decide is the decision core of Weir: one pure function from what was
// observed to what is to be recorded and done.
//
//	Decide(Input) Decision
//
// It has no client, no context, no clock and no logger. Equal inputs give equal
// decisions. The shell around it observes, records the decision in the
// Rollout's status, and only then acts; so a crash between any two writes is
// resumed to the same end.
//
// # Words
//
// A release is one attempt to bring one template to all pods. Stable and canary
// are revisions. A weight is in parts per 10,000. A record is a write of
// status. An effect is any other write. Live is what was read from the API
// server rather than from a cache. A stamp is the annotation weir.dev/seq on an
// object that Weir writes: the number of the record on which that write rests.
//
// # Two speeds
//
// The guard (guard.go) runs first in every pass, whatever the stage. It may
// only reduce exposure, and it waits for nothing. The planner (planner.go and
// one file a stage) may increase exposure, and waits for everything: live
// reads, pods, acceptance by the data plane, gates.
//
// # One pass of the shell
//
//  1. Read everything from caches and call Decide.
//  2. If Decision.ReadLive, read every object live, set Input.Fresh and call
//     Decide again; use that decision. What may rest on caches lowers only.
//  3. If Decision.Status is set, write it by compare-and-swap on the
//     resourceVersion that was read. On a conflict read live and decide again.
//     There is no effect without the record that it rests on.
//  4. Perform the effects in order. Each reads its object live, checks its
//     precondition (see EffectKind), and writes by compare-and-swap, stamped
//     with Status.Record.Seq. An object with a greater stamp is not written. A
//     failed precondition ends the pass; the next one decides anew.
//  5. Confirm each effect between the read of its object and its write: read the
//     Rollout again, which must have the resourceVersion that was recorded.
//     Before an effect with Raise it must not be being deleted either, and the
//     workload's template must still be the canary's. In that order whatever
//     changes later makes the write fail; in the other, a process that was
//     stopped in between writes long after its time.
//  6. Then events and answers to Approvals, best effort.
//  7. Come back at Decision.WakeAt at the latest, or when anything changes.
//
// # Revisions
//
// The revision of a ReplicaSet is the value of its label pod-template-hash. Two
// templates that are semantically equal, less that label, are one revision, and
// these rules say which name it has:
//
//   - the stable revision, if the set with that hash has this template;
//   - else the canary or the failed revision, if Weir's own hash of the
//     template is that;
//   - else the hash of a set of the workload that has a size above 0;
//   - else Weir's own hash of the template.
//
// So an empty set that history left behind never lends its name. The revision
// of a canary is always Weir's own hash, and so is the hash of its ReplicaSet.
package decide
