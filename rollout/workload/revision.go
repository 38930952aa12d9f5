package workload

import (
	"slices"
	"strconv"

	"github.com/weir-dev/weir/rollout/decide"
)

// revisionAnnotation is the number by which kubectl rollout history and undo
// name a ReplicaSet.
const revisionAnnotation = "deployment.kubernetes.io/revision"

// revision names a template, by the rules in the documentation of package
// decide. A set that history left behind, empty, never lends its name: it may
// be deleted at any moment, and the name of the template would change with it.
func (s *snapshot) revision(digest string) string {
	status := &s.rollout.Status
	for _, recorded := range []string{status.Stable.Revision, status.Canary.Revision} {
		if recorded != "" && s.has(digest, func(set set) bool { return set.hash() == recorded }) {
			return recorded
		}
	}
	own := revisionOfDigest(digest)
	if own == status.Canary.Revision || own == status.Release.FailedRevision {
		return own
	}
	for _, set := range s.sets {
		if set.digest == digest && set.owner == decide.OwnerTarget && set.size() > 0 && set.hash() != "" {
			return set.hash()
		}
	}
	return own
}

// revisionOf names the template of a set.
func (s *snapshot) revisionOf(set set) string {
	if set.digest == "" {
		return set.hash() // of history, and not the workload's template
	}
	return s.revision(set.digest)
}

// has is true if a set with the template is as asked.
func (s *snapshot) has(digest string, is func(set) bool) bool {
	return slices.ContainsFunc(s.sets, func(set set) bool { return set.digest == digest && is(set) })
}

// recorded is true for a revision that the status names.
func (s *snapshot) recorded(revision string) bool {
	status := &s.rollout.Status
	return revision != "" && (revision == status.Stable.Revision || revision == status.Canary.Revision ||
		revision == status.Release.FailedRevision)
}

// known is true for a template that the status names or that already runs.
func (s *snapshot) known(digest string) bool {
	return s.recorded(s.revision(digest)) || s.has(digest, func(set set) bool { return set.size() > 0 })
}

// nextRevisionNumber is one more than that of any set of the workload, as its
// controller counts. The canary gets it at its creation: adopted without one, it
// would be missing from the history.
func (s *snapshot) nextRevisionNumber() string {
	highest := int64(0)
	for _, set := range s.sets {
		highest = max(highest, revisionNumber(set.Annotations))
	}
	return strconv.FormatInt(highest+1, 10)
}

// revisionNumber reads an object's revision number; 0 when it has none.
func revisionNumber(annotations map[string]string) int64 {
	n, err := strconv.ParseInt(annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
