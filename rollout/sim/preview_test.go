package sim

import (
	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// previewName is the name of the preview Service, in schedules with one.
const previewName = "web-preview"

// observePreview shows the preview Service that the status names, or else the spec, or
// that is there though nobody names it.
func (p *process) observePreview(in *decide.Input) {
	name := in.Rollout.Status.Traffic.PreviewService
	if name == "" && in.Rollout.Spec.Traffic != nil {
		name = in.Rollout.Spec.Traffic.PreviewServiceName
	}
	v, sl := p.w.services.at(p.read[kindServices]).preview, p.w.slices.at(p.read[kindSlices]).preview
	if name == "" && !v.exists {
		return
	}
	name = previewName
	p.preview = decide.Backend{Name: name, Exists: v.exists, Revision: pinName(v.pin), Seen: pinName(sl.seen), Stamp: v.stamp,
		ReadyCanary: sl.count(hashNamed(in.Rollout.Status.Canary.Revision))}
	in.Preview = &p.preview
}

// performPreview writes the preview Service.
func (w *World) performPreview(p *process, e *decide.Effect) {
	v := &w.services.next().preview
	v.rv++
	if !v.exists && e.Kind == decide.EffectShowPreview && p.seq != w.status().Record.Seq {
		w.race(RaceLateCreate)
	}
	if e.Kind == decide.EffectDeletePreview {
		*v = service{rv: v.rv}
		return
	}
	v.exists, v.stamp, v.pin = true, p.seq, hash{}
	v.ownerRollout = w.rollout.at(p.read[kindRollout]).UID
	if e.Revision != "" {
		v.pin = hashNamed(e.Revision)
	}
}

// collectPreview is the garbage collector: the preview goes with the Rollout.
func (w *World) collectPreview() bool {
	v, ro := w.services.live().preview, w.rollout.live()
	if !v.exists || ro.exists && ro.UID == v.ownerRollout {
		return false
	}
	w.services.next().preview = service{rv: v.rv + 1}
	w.touched = true
	w.log("garbage collector deletes the preview Service")
	return true
}

// togglePreview asks for a preview in the spec, or does not any more, where the API
// server lets users do that.
func (w *World) togglePreview() {
	if s := w.stage(); !w.routed() || s != v1alpha1.StageIdle && s != v1alpha1.StageAborted {
		return
	}
	w.userRollout(func(r *v1alpha1.Rollout) {
		traffic := *r.Spec.Traffic
		if traffic.PreviewServiceName == "" {
			traffic.PreviewServiceName = previewName
		} else {
			traffic.PreviewServiceName = ""
		}
		r.Spec.Traffic = &traffic
	})
}

// losePreview is a user who deletes the preview Service.
func (w *World) losePreview() {
	if v := w.services.live().preview; v.exists {
		w.services.next().preview = service{rv: v.rv + 1}
		w.ledger.vandalised = true
		w.touched = true
		w.log("user: deletes the preview Service")
	}
}

// checkPreviewWrite: H17. A canary gets its first pods only when the preview selects
// it, so that a preview never shows the stable version for the new one; and pods are
// taken away only when the preview does not select them.
func (w *World) checkPreviewWrite(p *process, e *decide.Effect, st *v1alpha1.RolloutStatus) {
	v := w.services.live().preview
	if p.seq != st.Record.Seq || st.Traffic.PreviewService == "" || !v.exists {
		return
	}
	switch {
	case e.Kind == decide.EffectCreateCanary && pinName(v.pin) != e.Revision:
		w.violate("H17", "the canary %s is made while the preview selects %q", e.Revision, pinName(v.pin))
	case e.Kind == decide.EffectDeleteCanary && e.Revision == st.Canary.Revision && pinName(v.pin) == e.Revision:
		w.violate("H17", "pods of %s go while the preview shows them", e.Revision)
	}
}

// checkPreview: H17 and L4, at rest the preview is there if it is asked for, and
// selects whatever the workload runs. Only beside a failed canary that is kept for
// study it selects the stable version.
func (w *World) checkPreview(st *v1alpha1.RolloutStatus) {
	traffic, v := w.rollout.live().Spec.Traffic, w.services.live().preview
	wanted := traffic != nil && traffic.PreviewServiceName != ""
	want, kept := hash{}, w.canaryOfWeir() != nil
	if kept {
		want = hashNamed(st.Stable.Revision)
	}
	switch {
	case kept && !v.exists: // it is made, or made anew, when the canary has gone
	case !kept && wanted && w.target.live().uid == 0: // without a workload nothing is made
	case !kept && v.exists != wanted:
		w.violate("L4", "there is a preview Service: %t, and the spec asks for one: %t", v.exists, wanted)
	case v.pin != want:
		w.violate("H17", "at rest the preview selects %q, not %q", pinName(v.pin), pinName(want))
	}
}
