// Package rollout is the shell around the decision core: it observes, records
// what package decide decides, and acts.
//
// One pass, in Reconcile:
//
//	observe.go    reads everything, from caches first
//	  decide      says what to record and what to do
//	record.go     writes the decision into the Rollout's status
//	act.go        performs the effects, each on its object as it is now
//
// Caches only start a pass, and let it lower exposure. Whatever else a decision
// asks for is decided again on live reads (Decision.ReadLive). A write that
// meets a newer object is not repeated as it was: everything is read again, and
// decided again, at once.
//
// Nothing is kept between two passes that cannot be had again. Beside the
// passes run two watchers, only for releases under way: package pods, which
// knows the pods of a release and calls when one is in trouble, and package
// analysis, which looks at the metrics and calls when their verdict changes.
package rollout
