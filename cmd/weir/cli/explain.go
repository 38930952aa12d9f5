package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// explanation answers the question why a Rollout is where it is.
type explanation struct {
	// Rollout as namespace/name, State the reason of Ready.
	Rollout string `json:"rollout"`
	State   string `json:"state"`
	// Message says it in a sentence.
	Message string `json:"message"`
	// Position in the steps, Exposure of the canary.
	Position string                  `json:"position,omitempty"`
	Exposure v1alpha1.ExposureStatus `json:"exposure,omitzero"`
	// Split is the canary's share of the pods behind the Services, where no route
	// splits the traffic.
	Split string `json:"split,omitempty"`
	// Gates of the step, and what each waits for.
	Gates []v1alpha1.GateStatus `json:"gates,omitempty"`
	// Evidence on which the newest decision rests.
	Evidence []string `json:"evidence,omitempty"`
	// Next is what would change the state: what Weir waits for, and what a
	// person can do.
	Next []string `json:"next,omitempty"`
	// Obstacles are seen in the cluster now, such as pods that do not start.
	Obstacles []string `json:"obstacles,omitempty"`
	// Unseen is what the user may not read.
	Unseen []string `json:"unseen,omitempty"`
}

// explain makes the explanation from a Rollout alone.
func explain(r *v1alpha1.Rollout, now time.Time) explanation {
	state, message := readiness(r)
	e := explanation{
		Rollout:  r.Namespace + "/" + r.Name,
		State:    state,
		Message:  message,
		Position: r.Status.Release.Position,
		Next:     next(r, state, now),
		Evidence: evidence(r),
	}
	if r.Status.Release.Stage.UnderWay() {
		e.Exposure = r.Status.Exposure
		e.Gates = gates(r)
	}
	return e
}

// gates are those that the release waits at: in a rollback, none.
func gates(r *v1alpha1.Rollout) []v1alpha1.GateStatus {
	if r.Status.Release.Stage != v1alpha1.StageProgressing {
		return nil
	}
	return r.Status.Release.Gates
}

// earlier says whether the recorded evidence is that of a step before the current
// one: its own is still to come.
func earlier(r *v1alpha1.Rollout) bool {
	since, end := r.Status.Release.VerifiedAt, r.Status.Analysis.WindowEnd
	return r.Status.Release.Stage == v1alpha1.StageProgressing && end != nil && (since == nil || end.Time.Before(since.Time))
}

// evidence is the analysis of the release under way, or of the one that failed, in
// lines.
func evidence(r *v1alpha1.Rollout) []string {
	var lines []string
	if r.Status.Release.Stage == v1alpha1.StageIdle {
		return nil
	}
	// The message of all is most often that of one metric, which is printed below.
	if m := r.Status.Analysis.Message; m != "" && !slices.ContainsFunc(r.Status.Analysis.Metrics, func(metric v1alpha1.MetricStatus) bool {
		return m == metric.Name+": "+metric.Message
	}) {
		lines = append(lines, m)
	}
	for _, metric := range r.Status.Analysis.Metrics {
		line := fmt.Sprintf("%s: %s", metric.Name, metric.Verdict)
		if metric.Message != "" {
			line += ", " + metric.Message
		}
		if metric.Canary != "" {
			line += " (canary " + metric.Canary
			if metric.Stable != "" {
				line += ", stable " + metric.Stable
			}
			line += ")"
		}
		if earlier(r) {
			line += " [before this step]"
		}
		lines = append(lines, line)
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "nothing yet"
	}
	return s
}

// next says what would change the state.
func next(r *v1alpha1.Rollout, state string, now time.Time) []string {
	switch state {
	case v1alpha1.ReasonStable:
		if r.Spec.Paused {
			return []string{fmt.Sprintf("It is paused: a new template of %s %s waits for 'kubectl weir resume %s'.", r.Spec.WorkloadRef.Kind, r.Spec.WorkloadRef.Name, named(r))}
		}
		return []string{fmt.Sprintf("A new template of %s %s starts a release.", r.Spec.WorkloadRef.Kind, r.Spec.WorkloadRef.Name)}
	case v1alpha1.ReasonPaused:
		if !r.Status.Release.Stage.UnderWay() {
			return []string{
				fmt.Sprintf("'kubectl weir resume %s' starts the release of the new template.", named(r)),
				fmt.Sprintf("'kubectl weir abort %s --revert' writes the stable template back into the workload instead.", named(r)),
			}
		}
		return []string{
			fmt.Sprintf("'kubectl weir resume %s' lets it go on; what people say meanwhile, approve or promote, counts then.", named(r)),
			abortHint(r),
		}
	case v1alpha1.ReasonRolledBack:
		return []string{
			"A template other than the one that failed ends this state: revert the change where it came from, or push a fix.",
			fmt.Sprintf("'kubectl weir abort %s --revert' writes the stable template back into the workload.", named(r)),
			fmt.Sprintf("'kubectl weir retry %s' releases the same version anew, from the first step.", named(r)),
		}
	case v1alpha1.ReasonInvalidSpec, v1alpha1.ReasonWorkloadNotFound, v1alpha1.ReasonUnsupported:
		return []string{"Correct what the message names; Weir touches nothing that runs until then."}
	case v1alpha1.ReasonPromoting:
		return []string{"Nothing to do: the canary's pods are becoming the workload's own."}
	case v1alpha1.ReasonRollingBack:
		return []string{"Nothing to do: the canary's traffic is taken first, then its pods."}
	}
	return nextOfGates(r, now)
}

// nextOfGates says what would open the gates of the current step.
func nextOfGates(r *v1alpha1.Rollout, now time.Time) []string {
	var lines []string
	for i := range r.Status.Release.Gates {
		if line := gateHint(r, &r.Status.Release.Gates[i], now); line != "" {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 && r.Status.WaitingFor != "" {
		lines = append(lines, "It goes on when this is over: "+r.Status.WaitingFor+".")
	}
	if r.Status.Release.Stage.UnderWay() {
		lines = append(lines, fmt.Sprintf("'kubectl weir promote %s' skips the steps that are left.", named(r)), abortHint(r))
	}
	return lines
}

func abortHint(r *v1alpha1.Rollout) string {
	return fmt.Sprintf("'kubectl weir abort %s' rolls it back.", named(r))
}

// gateHint says what opens one gate; nothing for one that is open.
func gateHint(r *v1alpha1.Rollout, gate *v1alpha1.GateStatus, now time.Time) string {
	if gate.State == v1alpha1.GatePassed {
		return ""
	}
	var left string
	if gate.Deadline != nil && gate.Deadline.After(now) {
		left = fmt.Sprintf(" (until %s, %s left)", gate.Deadline.UTC().Format("15:04:05 MST"), age(gate.Deadline.Time, now))
	}
	switch gate.Type {
	case v1alpha1.GateHold:
		return "The hold ends by itself" + left + "."
	case v1alpha1.GateAnalysis:
		return "The analysis " + gate.Message + left + "; canary pods that get no requests give no evidence."
	case v1alpha1.GateApproval:
		return fmt.Sprintf("'kubectl weir approve %s %s -n %s' approves%s; 'kubectl auth can-i approve rollouts/%s --subresource=%s -n %s' says whether you may.",
			r.Name, gate.Name, r.Namespace, left, r.Name, gate.Name, r.Namespace)
	}
	return ""
}

// text prints the explanation for people.
func (e *explanation) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s", e.Rollout, e.State)
	if e.Position != "" && e.State != v1alpha1.ReasonStable {
		fmt.Fprintf(&b, " at step %s", e.Position)
	}
	fmt.Fprintf(&b, ".\n%s\n", e.Message)
	if x := e.Exposure; x.Desired != "" {
		fmt.Fprintf(&b, "\nThe canary's share of the traffic: allowed %s, configured %s, accepted by the data plane %s, measured %s",
			x.Desired, orNone(x.Configured), orNone(x.Accepted), orNone(x.Measured))
		if x.MeasuredRequests > 0 {
			fmt.Fprintf(&b, " of %d requests", x.MeasuredRequests)
		}
		b.WriteByte('\n')
	}
	if e.Split != "" {
		b.WriteString(e.Split + ".\n")
	}
	if len(e.Gates) > 0 {
		b.WriteString("\nGates of this step:\n")
		gateLines(&b, e.Gates)
	}
	section(&b, "What was seen", e.Evidence)
	section(&b, "What is in the way", e.Obstacles)
	section(&b, "What you may not see", e.Unseen)
	section(&b, "What would change that", e.Next)
	return b.String()
}

// gateLines prints gates, a line each.
func gateLines(b *strings.Builder, gates []v1alpha1.GateStatus) {
	for i := range gates {
		g := &gates[i]
		fmt.Fprintf(b, "  %-8s %s\n", g.State, strings.TrimSpace(fmt.Sprintf("%s %s %s", g.Type, g.Name, g.Message)))
	}
}

func section(b *strings.Builder, title string, lines []string) {
	if len(lines) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", title)
	for _, line := range lines {
		fmt.Fprintf(b, "  - %s\n", line)
	}
}

// outcome is what a waiting script wants to know of a Rollout.
type outcome int

const (
	outcomeDone outcome = iota
	outcomeWaiting
	outcomeFailed
)

// outcomeOf reads the conditions as kstatus does. A status that does not
// answer the newest spec counts as waiting.
func outcomeOf(r *v1alpha1.Rollout) outcome {
	if r.Status.ObservedGeneration != r.Generation {
		return outcomeWaiting
	}
	if meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionStalled) {
		return outcomeFailed
	}
	if meta.IsStatusConditionTrue(r.Status.Conditions, v1alpha1.ConditionReady) {
		return outcomeDone
	}
	return outcomeWaiting
}
