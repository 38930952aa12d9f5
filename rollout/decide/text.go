package decide

import (
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// clip shortens a text to what its field may hold, in whole characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// clock prints a time for people, the same however often it is printed.
func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// since prints since when something is so, if that is known.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " since " + clock(t)
}

// because adds a reason, if there is one.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// count prints a number of things: 1 pod, 2 pods.
func count(n int32, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// hint is a command that people can run on the Rollout.
func (p *pass) hint(verb string) string {
	return "'kubectl weir " + verb + " " + p.in.Rollout.Name + "'"
}

// stepText names the current step.
func (p *pass) stepText() string {
	switch p.stage() {
	case v1alpha1.StagePromoting:
		return "the promotion"
	case v1alpha1.StageAdopting:
		return "the handover"
	default:
	}
	text := "step " + p.position()
	if name := p.st.Release.StepName; name != "" {
		text += " (" + name + ")"
	}
	return text
}

// position is the current step and the number of steps.
func (p *pass) position() string {
	n := p.plan.count()
	return fmt.Sprintf("%d/%d", min(p.st.Release.StepIndex+1, n), n)
}

// exposureText says what the current step exposes.
func (p *pass) exposureText() string {
	if p.routed {
		return fmt.Sprintf("%s of the traffic", v1alpha1.FormatWeight(p.allowed())) + p.extrasText()
	}
	return fmt.Sprintf("%s beside %d", count(p.size(), "pod"), p.in.Target.Replicas)
}

// extrasText says what the canary has beside its weight.
func (p *pass) extrasText() string {
	e := p.step().extras
	if id := p.allowedExtras(); id == "" || id != e.ID() {
		return ""
	}
	text := ""
	if e.Mirror != nil {
		text += fmt.Sprintf(" and copies of %d%% of the requests", e.Mirror.Weight)
	}
	if len(e.Matches) > 0 {
		text += " and all requests that match"
	}
	if e.Fault != nil {
		text += fmt.Sprintf(", %d%% of them with a fault", e.Fault.Weight)
	}
	return text
}

func (p *pass) startedText() string {
	return fmt.Sprintf("Release %d of revision %s begins, with %s; stable is revision %s",
		p.st.Release.Number, p.st.Canary.Revision, count(p.plan.count(), "step"), p.st.Stable.Revision)
}

func (p *pass) stepStartedText() string {
	return fmt.Sprintf("Release %d goes on to %s with %s", p.st.Release.Number, p.stepText(), p.exposureText())
}

// rolledBackText says what a rollback has left, and what to do about it.
func (p *pass) rolledBackText() string {
	pods := "Its pods are gone"
	if p.keepPods() {
		pods = "Its pods stay for study, without traffic"
	}
	serves := "serves"
	if s := p.stableSet(); s == nil || s.Available == 0 {
		serves = "has no available pod"
	}
	return fmt.Sprintf("Revision %s was rolled back: %s. %s, and stable revision %s %s; revert the template, push a fix, or run 'kubectl weir abort %s --revert' or %s",
		p.st.Release.FailedRevision, p.st.Release.Message, pods, p.st.Stable.Revision, serves, p.in.Rollout.Name, p.hint("retry"))
}

// crashText says what a crashing pod shows.
func crashText(c *Crash) string {
	text := fmt.Sprintf("container %s of canary pod %s does not stay up (%s, %s)", c.Container, c.Pod, c.Reason, count(c.Restarts, "restart"))
	return text + because(c.Message)
}

// stableDownText is said, loudly, while stable has no pod. It is the user's to
// decide whether a version that is not yet trusted is better than none.
const stableDownText = "stable has no available pod"

// releaseText is the message of the Ready condition while a release is under way.
func (p *pass) releaseText() string {
	number, canary := p.st.Release.Number, p.st.Canary.Revision
	switch p.stage() {
	case v1alpha1.StageProgressing:
		text := fmt.Sprintf("Release %d of revision %s is at %s, which is for %s", number, canary, p.stepText(), p.exposureText())
		if p.impliedHold() {
			text += "; the step has no gates and there is no analysis, so it is held for " + impliedHold.String()
		}
		return text + waitsFor(p.waitingFor()) + p.stableText()
	case v1alpha1.StagePromoting:
		return fmt.Sprintf("Release %d of revision %s goes to all pods%s", number, canary, waitsFor(p.waitingFor())) + p.stableText()
	case v1alpha1.StageAdopting:
		return fmt.Sprintf("The pods of revision %s become the workload's own%s", canary, waitsFor(p.waitingFor()))
	default:
		return fmt.Sprintf("Release %d of revision %s is rolled back: %s", number, canary, p.st.Release.Message)
	}
}

// promoteText says what a promotion does.
func (p *pass) promoteText() string {
	return p.hint("promote") + " brings the canary to all pods without the remaining steps"
}

// stableText warns of a stable version without pods, and says what can be done.
func (p *pass) stableText() string {
	if !p.stableDown() {
		return ""
	}
	return "; " + stableDownText + ": " + p.promoteText()
}

// impliedHold says whether the current step is held though nobody wrote it.
func (p *pass) impliedHold() bool {
	for i := range p.gates {
		if p.gates[i].Type == v1alpha1.GateHold && p.gates[i].State != v1alpha1.GatePassed {
			return p.termsOf(p.step()).implied
		}
	}
	return false
}

func waitsFor(what string) string {
	if what == "" {
		return ""
	}
	return "; waiting for " + what
}

// waitingFor is the wait as it is recorded: without numbers that change by
// themselves, since it is written once. So is a handover on its ordinary way,
// whose waits follow each other within seconds: it is one wait, and not a write
// for each of them where the workload's controller has much to do.
func (p *pass) waitingFor() string {
	if p.stage() == v1alpha1.StageAdopting && (p.waiting.Reason == WaitHandOver || p.waiting.Reason == WaitWorkload) {
		return "the workload to take over the canary's pods"
	}
	switch p.waiting.Reason {
	case WaitPods:
		return "canary pods to be available"
	case WaitShare:
		return "the measured share of the traffic to be the one that is allowed"
	case WaitNothing, WaitRevert, WaitDeletion, WaitProblem, WaitHoldBypassed, WaitLiveRead, WaitNewerRead:
		return ""
	default:
		return clip(p.waiting.Message, 128)
	}
}
