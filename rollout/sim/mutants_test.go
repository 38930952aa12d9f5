package sim

import (
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// Mutant is a defect that can be switched on, to show that it would be found.
// Each takes away one rule, in the simulated shell or between shell and core.
type Mutant int

// The mutants.
const (
	None Mutant = iota
	// PodsBeforePin makes canary pods before the user's Service is narrowed.
	PodsBeforePin
	// AbsoluteLowering writes the weight it believes in, rather than the smaller
	// one.
	AbsoluteLowering
	// NoGenerationRule does not ignore observations older than the record.
	NoGenerationRule
	// NoCAS writes over whatever is there.
	NoCAS
	// ApprovalWithoutNumber lets an Approval count for every release.
	ApprovalWithoutNumber
	// NoLiveRead takes caches for live reads.
	NoLiveRead
	// NoRestoreBeforeHandover hands over while the routes still split.
	NoRestoreBeforeHandover
	// ClockNotReset lets the clock of a step run on while its exposure is gone.
	ClockNotReset
	// NoStamp writes objects that carry a newer stamp.
	NoStamp
	// NoSeal does not stamp after the record of a rollback.
	NoSeal
	// NoSweep leaves sets that belong to no release.
	NoSweep
	// NoSettleRule does not wait for the workload's controller.
	NoSettleRule
	// NoCheckBeforeRaise raises without looking at the live objects again.
	NoCheckBeforeRaise
	// NoTerm gives every process the same name.
	NoTerm
	// UnpauseAnything resumes the workload whatever its template.
	UnpauseAnything
	// NoTakeoverStamps raises before a new process has stamped the objects.
	NoTakeoverStamps
	// NoSetSeal stamps only the routes after the record of a rollback.
	NoSetSeal
	// NoStampInForce takes an exposure for in force whatever its stamp.
	NoStampInForce
	// NoBackendStamp does not stamp the canary's Services.
	NoBackendStamp
	// ConfirmBeforeRead confirms an effect before it reads the object, rather than
	// between read and write.
	ConfirmBeforeRead
	// NoPruning leaves sets of the history that the workload's controller would
	// prefer.
	NoPruning
	// KeepExtras lowers the weight, and leaves the extras that a route carries.
	KeepExtras
	// ExtrasByIndex keeps the extras of a step that was edited.
	ExtrasByIndex
	// PreviewLeft takes the canary's pods from under the preview.
	PreviewLeft
	mutants
)

// String names the mutant.
func (m Mutant) String() string {
	return [...]string{"None", "PodsBeforePin", "AbsoluteLowering", "NoGenerationRule", "NoCAS", "ApprovalWithoutNumber", "NoLiveRead",
		"NoRestoreBeforeHandover", "ClockNotReset", "NoStamp", "NoSeal", "NoSweep", "NoSettleRule", "NoCheckBeforeRaise", "NoTerm",
		"UnpauseAnything", "NoTakeoverStamps", "NoSetSeal", "NoStampInForce", "NoBackendStamp", "ConfirmBeforeRead", "NoPruning", "KeepExtras", "ExtrasByIndex", "PreviewLeft"}[m]
}

// mutateInput shows the core something other than what is there.
func (w *World) mutateInput(in *decide.Input) {
	if w.cfg.Mutant == None {
		return
	}
	st := &in.Rollout.Status
	switch w.cfg.Mutant {
	case PodsBeforePin:
		for i := range in.Backends {
			if b := &in.Backends[i]; !b.Canary && st.Stable.Revision != "" && stageOf(st) == v1alpha1.StageProgressing {
				b.Revision, b.Seen = st.Stable.Revision, st.Stable.Revision
			}
		}
	case NoGenerationRule:
		if in.Target.Generation < st.Workload.ObservedGeneration {
			in.Target.Generation = st.Workload.ObservedGeneration + 1
		}
	case ApprovalWithoutNumber:
		all := make([]v1alpha1.Approval, len(in.Approvals))
		copy(all, in.Approvals)
		for i := range all {
			all[i].Spec.Release, all[i].Spec.Revision = st.Release.Number, st.Canary.Revision
		}
		in.Approvals = all
	case NoRestoreBeforeHandover:
		if stageOf(st) == v1alpha1.StageAdopting && in.Route != nil {
			in.Route.Split, in.Route.Accepted, in.Route.Processed = false, true, true
			in.Backends[0].Revision = ""
		}
	case PreviewLeft:
		if stageOf(st) == v1alpha1.StageRollingBack {
			in.Preview = nil
		}
	case NoSettleRule:
		in.Target.ObservedGeneration = in.Target.Generation
	default:
		w.mutateStamps(in, st)
	}
}

// mutateStamps shows stamps or sets other than those that are there.
func (w *World) mutateStamps(in *decide.Input, st *v1alpha1.RolloutStatus) {
	rollingBack := stageOf(st) == v1alpha1.StageRollingBack
	var route, canary int64
	switch w.cfg.Mutant {
	case NoTakeoverStamps:
		if rollingBack {
			break
		}
		// Newer than any record, and too new to be outrun.
		route, canary = 1<<60, 1<<60
	case NoSeal:
		if rollingBack {
			route, canary = st.Record.ExposureSeq, st.Record.ExposureSeq
		}
	case NoSetSeal:
		if rollingBack {
			canary = st.Record.ExposureSeq
		}
	case NoStampInForce:
		if stageOf(st) == v1alpha1.StageProgressing {
			route = st.Record.ExposureSeq
		}
	case NoBackendStamp:
		for i := range in.Backends {
			in.Backends[i].Stamp = max(in.Backends[i].Stamp, st.Record.ReleaseSeq)
		}
	case NoSweep, NoPruning:
		w.hideSets(in, st)
	default:
	}
	if in.Route != nil && (in.Route.Split || rollingBack) {
		in.Route.Stamp = max(in.Route.Stamp, route)
	}
	for i := range in.Sets {
		if s := &in.Sets[i]; s.Owner == decide.OwnerWeir && s.Hash == st.Canary.Revision {
			s.Stamp = max(s.Stamp, canary)
		}
	}
}

func (w *World) hideSets(in *decide.Input, st *v1alpha1.RolloutStatus) {
	kept := in.Sets[:0]
	for i := range in.Sets {
		s := in.Sets[i]
		stray := s.Owner == decide.OwnerWeir && s.Hash != st.Canary.Revision
		twin := s.Owner == decide.OwnerTarget && s.Size == 0 && s.Pods == 0 && s.Hash != st.Stable.Revision && s.Hash != st.Canary.Revision
		if w.cfg.Mutant == NoSweep && stray || w.cfg.Mutant == NoPruning && twin {
			continue
		}
		kept = append(kept, s)
	}
	in.Sets = kept
}

// mutateDecision changes what the core has decided.
func (w *World) mutateDecision(in *decide.Input, d *decide.Decision) {
	if w.cfg.Mutant == NoSetSeal && d.Status != nil && stageOf(d.Status) == v1alpha1.StageRollingBack {
		kept := d.Effects[:0]
		for _, e := range d.Effects {
			if e.Kind != decide.EffectSealCanary {
				kept = append(kept, e)
			}
		}
		d.Effects = kept
	}
	if w.cfg.Mutant == KeepExtras && len(d.Effects) > 0 && d.Effects[0].Kind == decide.EffectSetWeight && !d.Effects[0].Raise {
		d.Effects[0].Extras = w.routes.live().list[0].extras
	}
	if w.cfg.Mutant == ExtrasByIndex && d.Status != nil && stageOf(d.Status) == v1alpha1.StageProgressing && d.Status.Record.DesiredExtras == "" {
		d.Status.Record.DesiredExtras = in.Rollout.Status.Record.DesiredExtras
	}
	if w.cfg.Mutant != ClockNotReset || d.Status == nil {
		return
	}
	old, now := &in.Rollout.Status, d.Status
	if old.Release.Number == now.Release.Number && old.Release.StepIndex == now.Release.StepIndex &&
		stageOf(now) == v1alpha1.StageProgressing && old.Release.VerifiedAt != nil && now.Release.VerifiedAt == nil {
		now.Release.VerifiedAt = old.Release.VerifiedAt
	}
}

// checkTwice asks the core again, and compares what it says.
func (w *World) checkTwice(in decide.Input, first decide.Decision) {
	if !sameDecision(first, decide.Decide(in)) {
		w.violate("purity", "two decisions on one input differ")
	}
}

// sinceEpoch prints a time of the schedule.
func sinceEpoch(t time.Time) string { return t.Sub(epoch).Round(time.Millisecond).String() }
