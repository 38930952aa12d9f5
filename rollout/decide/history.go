package decide

import (
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// maxHistory is the number of ends of releases that are kept.
const maxHistory = 10

// remember puts the end of the release on record, newest first.
func (p *pass) remember(result v1alpha1.ReleaseResult, message string) {
	st := p.edit()
	entry := v1alpha1.HistoryEntry{
		Number:    st.Release.Number,
		Revision:  st.Canary.Revision,
		Result:    result,
		Message:   clip(message, 256),
		StartTime: st.Release.StartTime,
		EndTime:   second(p.in.Now),
		Approvers: p.everyApprover(),
	}
	kept := min(len(st.History), maxHistory-1)
	history := make([]v1alpha1.HistoryEntry, 0, kept+1)
	history = append(history, entry)
	st.History = append(history, st.History[:kept]...)
}

// everyApprover are the people who approved a gate of the release.
func (p *pass) everyApprover() []string {
	var people []string
	for i := range p.in.Approvals {
		a := &p.in.Approvals[i]
		if a.Spec.Action != v1alpha1.ActionApprove || !p.names(a) || contains(people, a.Spec.Approver.Username) {
			continue
		}
		if g, _ := p.gateNamed(a.Spec.Gate); g != nil && !p.excluded(g, a) && len(people) < 16 {
			people = append(people, a.Spec.Approver.Username)
		}
	}
	return people
}

// promotedBy names the person who promoted the release, and the Approval by which;
// it is empty where the steps did.
func (p *pass) promotedBy() string {
	who, ok := strings.CutPrefix(p.st.Release.LastCommand, string(v1alpha1.ActionPromote)+" by ")
	if !ok {
		return ""
	}
	return "promoted by " + who + " before its last step had ended"
}

// resultOf is how a rollback ends in the history.
func resultOf(c v1alpha1.Cause) v1alpha1.ReleaseResult {
	switch c {
	case v1alpha1.CauseFailed, v1alpha1.CauseDeadlineExceeded:
		return v1alpha1.ResultRolledBack
	case v1alpha1.CauseSuperseded, v1alpha1.CauseReverted:
		return v1alpha1.ResultSuperseded
	default:
		return v1alpha1.ResultAborted
	}
}
