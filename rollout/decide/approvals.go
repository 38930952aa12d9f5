package decide

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// names says whether an Approval is about the release that the status shows.
// The number tells attempts apart, also of one revision.
func (p *pass) names(a *v1alpha1.Approval) bool {
	return p.concerns(a) && a.Spec.Approver != nil &&
		a.Spec.Release == p.old.Release.Number && a.Spec.Revision == p.old.Canary.Revision
}

// concerns says whether an Approval is about this Rollout. Admission has checked
// the rights of the approver by the name, so that counts as much as the UID.
func (p *pass) concerns(a *v1alpha1.Approval) bool {
	return a.Spec.TargetRef.UID == p.in.Rollout.UID && a.Spec.TargetRef.Name == p.in.Rollout.Name
}

// command is the oldest Approval that asks for an action on this release, nil
// if there is none.
func (p *pass) command(action v1alpha1.ApprovalAction) *v1alpha1.Approval {
	var first *v1alpha1.Approval
	for i := range p.in.Approvals {
		a := &p.in.Approvals[i]
		if a.Spec.Action == action && p.names(a) && (first == nil || earlier(a, first)) {
			first = a
		}
	}
	return first
}

// earlier orders Approvals by creation, then by name.
func earlier(a, b *v1alpha1.Approval) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Name < b.Name
}

// commandText is what the record says of a command that was followed. It names
// the Approval, so that it is never followed, nor answered, twice.
func commandText(a *v1alpha1.Approval) string {
	return fmt.Sprintf("%s by %s (%s)", a.Spec.Action, a.Spec.Approver.Username, a.Name)
}

// gateNamed finds a gate by its name over all steps, with the index of its step.
func (p *pass) gateNamed(name string) (*v1alpha1.ApprovalGate, int32) {
	for i := range p.plan.steps {
		g := p.plan.steps[i].Gates
		if g == nil {
			continue
		}
		for j := range g.Approvals {
			if g.Approvals[j].Name == name {
				return &g.Approvals[j], int32(i)
			}
		}
	}
	return nil, 0
}

// rejection is the oldest Reject of a gate that is not yet behind the release.
func (p *pass) rejection() *v1alpha1.Approval {
	var first *v1alpha1.Approval
	for i := range p.in.Approvals {
		a := &p.in.Approvals[i]
		if a.Spec.Action != v1alpha1.ActionReject || !p.names(a) || first != nil && !earlier(a, first) {
			continue
		}
		if g, index := p.gateNamed(a.Spec.Gate); g != nil && index >= p.st.Release.StepIndex {
			first = a
		}
	}
	return first
}

// approvers are the different people whose approval of a gate counts: those
// recorded, and those of the Approvals that are there, in the order in which
// they came.
func (p *pass) approvers(g *v1alpha1.ApprovalGate) []string {
	var people []string
	var deadline *metav1.Time
	if r := p.recorded(v1alpha1.GateApproval, g.Name); r != nil {
		people = append(people, r.Approvers...)
		deadline = r.Deadline
	}
	for i := range p.in.Approvals {
		a := &p.in.Approvals[i]
		if a.Spec.Action != v1alpha1.ActionApprove || a.Spec.Gate != g.Name || !p.names(a) {
			continue
		}
		if p.excluded(g, a) || expired(a, deadline) || contains(people, a.Spec.Approver.Username) {
			continue
		}
		people = append(people, a.Spec.Approver.Username)
	}
	if len(people) > 16 {
		people = people[:16]
	}
	return people
}

// excluded says whether an Approval is by the author of the change, at a gate
// where that does not count: by the one who is named, and by the one who wrote
// the template. Else who makes a change could name somebody else.
func (p *pass) excluded(g *v1alpha1.ApprovalGate, a *v1alpha1.Approval) bool {
	user, r := a.Spec.Approver.Username, &p.st.Release
	return g.ChangeAuthor == v1alpha1.ChangeAuthorExcluded && (user == r.ChangeAuthor || user == r.ChangedBy)
}

// expired says whether an Approval came after its gate had timed out.
func expired(a *v1alpha1.Approval, deadline *metav1.Time) bool {
	return deadline != nil && a.CreationTimestamp.After(deadline.Time)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// answers says of every Approval whether it counted, where its status does not
// say so yet. What has counted stays so.
func (p *pass) answers() []Answer {
	var out []Answer
	for i := range p.in.Approvals {
		a := &p.in.Approvals[i]
		var has *metav1.Condition
		for j := range a.Status.Conditions {
			if a.Status.Conditions[j].Type == v1alpha1.ConditionAccepted {
				has = &a.Status.Conditions[j]
			}
		}
		if has != nil && has.Status == metav1.ConditionTrue || !p.concerns(a) {
			continue
		}
		answer, known := p.answer(a)
		// An answer is given once. Only one that did not count may come to count,
		// when a gate of its name is added.
		if !known || has != nil && !answer.Counted {
			continue
		}
		answer.Name, answer.UID = a.Name, a.UID
		out = append(out, answer)
	}
	return out
}

// answer says whether one Approval counted; false while that is open.
func (p *pass) answer(a *v1alpha1.Approval) (Answer, bool) {
	no := func(reason, message string) (Answer, bool) { return Answer{Reason: reason, Message: message}, true }
	if a.Spec.Approver == nil {
		return no(v1alpha1.ReasonNotAsked, "spec.approver is empty: name yourself in spec.approver.username")
	}
	if p.st.Release.LastCommand == clip(commandText(a), 256) {
		return Answer{Counted: true, Reason: v1alpha1.ReasonCounted, Message: "it was followed"}, true
	}
	if !p.names(a) {
		return no(v1alpha1.ReasonWrongRelease, fmt.Sprintf("it names release %d of revision %s, and the newest is release %d of revision %s",
			a.Spec.Release, a.Spec.Revision, p.old.Release.Number, p.old.Canary.Revision))
	}
	switch a.Spec.Action {
	case v1alpha1.ActionApprove, v1alpha1.ActionReject:
		return p.answerGate(a)
	default:
		return p.answerCommand(a)
	}
}

// answerGate answers an Approve or a Reject.
func (p *pass) answerGate(a *v1alpha1.Approval) (Answer, bool) {
	g, index := p.gateNamed(a.Spec.Gate)
	switch {
	case g == nil:
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "no step has a gate of this name"}, true
	case p.old.Release.Stage != v1alpha1.StageProgressing:
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "the release does not walk its steps any more"}, true
	case a.Spec.Action == v1alpha1.ActionReject && index < p.old.Release.StepIndex:
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "the release is beyond this gate: abort it instead"}, true
	case a.Spec.Action == v1alpha1.ActionReject:
		return Answer{}, false
	case p.excluded(g, a):
		return Answer{Reason: v1alpha1.ReasonChangeAuthor, Message: "the author of the change may not approve it"}, true
	}
	switch r := p.recorded(v1alpha1.GateApproval, g.Name); {
	case r != nil && expired(a, r.Deadline):
		return Answer{Reason: v1alpha1.ReasonExpired, Message: "the gate timed out before it came"}, true
	case p.saidBefore(a):
		return Answer{Reason: v1alpha1.ReasonSameUser, Message: "the same person has approved already"}, true
	default:
		return Answer{Counted: true, Reason: v1alpha1.ReasonCounted, Message: "it counts for gate " + g.Name}, true
	}
}

// saidBefore says whether the same person has approved the same gate before.
func (p *pass) saidBefore(a *v1alpha1.Approval) bool {
	for i := range p.in.Approvals {
		b := &p.in.Approvals[i]
		same := b.Spec.Action == a.Spec.Action && b.Spec.Gate == a.Spec.Gate && p.names(b)
		if same && b.Spec.Approver.Username == a.Spec.Approver.Username && earlier(b, a) {
			return true
		}
	}
	return false
}

// answerCommand answers a Promote, an Abort or a Retry that was not followed.
func (p *pass) answerCommand(a *v1alpha1.Approval) (Answer, bool) {
	stage := p.st.Release.Stage
	switch a.Spec.Action {
	case v1alpha1.ActionRetry:
		if stage == v1alpha1.StageAborted || stage == v1alpha1.StageRollingBack {
			return Answer{}, false
		}
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "only a release that was rolled back can be tried again"}, true
	case v1alpha1.ActionPromote:
		if stage == v1alpha1.StageProgressing {
			return Answer{}, false
		}
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "only a release that walks its steps can be promoted"}, true
	default:
		if stage == v1alpha1.StageAdopting {
			return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "the release is past the point of return: revert the template instead"}, true
		}
		return Answer{Reason: v1alpha1.ReasonNotAsked, Message: "the release is over already"}, true
	}
}
