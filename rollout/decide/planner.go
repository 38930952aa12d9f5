package decide

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Values of fields that may be absent.
const (
	defaultProgressDeadline = 10 * time.Minute
	defaultScaleDownDelay   = 30 * time.Second
	defaultAnalysisTimeout  = 30 * time.Minute
)

// planStage goes on with the release, or with what is left of it.
func (p *pass) planStage() {
	if p.needLive {
		return
	}
	switch p.stage() {
	case v1alpha1.StageProgressing:
		p.planProgressing()
	case v1alpha1.StagePromoting:
		p.planPromoting()
	case v1alpha1.StageAdopting:
		p.planAdopting()
	case v1alpha1.StageRollingBack:
		p.planRollingBack()
	case v1alpha1.StageAborted:
		p.planAborted()
	default:
		p.planIdle()
	}
}

// progressDeadline is how long pods and exposure may take.
func (p *pass) progressDeadline() time.Duration {
	return p.in.Rollout.Spec.ProgressDeadline.Or(defaultProgressDeadline)
}

// deadline is when what begins now ought to be there. In Progressing and
// Promoting the release fails then. In Adopting and RollingBack, which have to
// be finished whatever happens, it only dates the wait for display.
func (p *pass) deadline() *metav1.MicroTime {
	return micro(p.in.Now.Add(p.progressDeadline()))
}

// sawTarget records the generation of the workload that the record rests on.
func (p *pass) sawTarget() {
	w := &p.st.Workload
	if t := &p.in.Target; t.UID == w.UID && t.Generation > w.ObservedGeneration {
		w.ObservedGeneration = t.Generation
	}
}

// takeTerm records that this process has taken over. It must come before the
// first effect of a process, so that older ones can be told by their stamps.
func (p *pass) takeTerm() {
	if p.st.Record.Term == p.in.Term {
		return
	}
	st := p.edit()
	st.Record.Term, st.Record.TermSeq = p.in.Term, st.Record.Seq
}

// start records a new release of the workload's template.
func (p *pass) start(command string) {
	t := &p.in.Target
	st := p.edit()
	p.takeTerm()
	st.Traffic.Provider = p.in.Provider
	st.Traffic.Routes, st.Traffic.Services = nil, nil
	if r := p.in.Route; r != nil {
		st.Traffic.Routes = r.Routes
		st.Traffic.Services = p.userServices()
	}
	st.Canary = v1alpha1.RevisionStatus{Revision: t.Revision}
	st.Release = v1alpha1.ReleaseStatus{
		Number:       st.Release.Number + 1,
		Stage:        v1alpha1.StageProgressing,
		StartTime:    second(p.in.Now),
		ChangeAuthor: clip(t.ChangeAuthor, 253),
		ChangedBy:    clip(t.ChangedBy, 253),
		LastCommand:  clip(command, 256),
		Deadline:     p.deadline(),
	}
	st.Record.ReleaseSeq, st.Record.ExposureSeq = st.Record.Seq, st.Record.Seq
	st.Record.Lowered, st.Record.Lowerings = false, 0
	st.Record.StepsGeneration = p.in.Rollout.Generation
	st.Analysis = v1alpha1.AnalysisStatus{}
	st.Exposure = v1alpha1.ExposureStatus{}
	p.sawTarget()
	p.look()
	first := p.step()
	st.Release.StepName = first.name
	st.Record.DesiredWeight = first.exposure(t.Replicas, p.routed)
	st.Record.DesiredExtras = first.extras.ID()
	p.event(EventNormal, "ReleaseStarted", "StartRelease", p.startedText())
}

// userServices are the names of the user's Services that are split.
func (p *pass) userServices() []string {
	var names []string
	for b := range p.services(false) {
		names = append(names, b.Name)
	}
	return names
}

// enter records a stage in which the canary may have all of the traffic.
func (p *pass) enter(stage v1alpha1.Stage) {
	st := p.edit()
	st.Release.Stage, st.Release.Cause, st.Release.Message = stage, "", ""
	st.Release.VerifiedAt, st.Release.DrainUntil = nil, nil
	st.Release.Deadline = p.deadline()
	st.Release.Gates = nil
	if st.Record.DesiredWeight != v1alpha1.FullWeight || st.Record.DesiredExtras != "" {
		st.Record.DesiredWeight, st.Record.DesiredExtras = v1alpha1.FullWeight, ""
		st.Record.ExposureSeq = st.Record.Seq
	}
	p.sawTarget()
}
