package decide

// The preview Service shows the new version to those who ask for it by name. It is
// no backend of a route, so nothing of it is exposure: what counts is that it shows
// what people take it for. As long as a release is under way it selects the canary
// alone, from before there is a pod, and so never answers with the stable version;
// before the canary's pods are taken away it turns to stable; and at rest it
// selects whatever the workload runs, so that it works without Weir, too. The
// promotion adopts the pods that it selects, and widens it after that.

// keepPreview sees that at rest the preview Service is there, under the name that
// the spec has now. Its name is recorded before it is made, so that it can be found
// when the spec has another. It is true when nothing is left to do.
func (p *pass) keepPreview() bool {
	want, v := p.in.Rollout.Spec.PreviewServiceName(), p.in.Preview
	if v != nil && v.Exists && v.Name != want {
		p.do(Effect{Kind: EffectDeletePreview, Name: v.Name, Why: "the spec does not ask for it any more"})
		return p.wait(WaitRemoval, "the former preview Service to be deleted")
	}
	if p.st.Traffic.PreviewService != want {
		p.edit().Traffic.PreviewService = want
	}
	if want == "" || v != nil && v.Name == want && v.Exists {
		return true
	}
	p.do(Effect{Kind: EffectShowPreview, Name: want, Why: "the spec asks for a preview"})
	return p.wait(WaitPin, "the preview Service to be made")
}

// previewCanary makes the preview Service select the canary, before there is a pod
// of it. It is true when it does.
func (p *pass) previewCanary() bool {
	name, v := p.st.Traffic.PreviewService, p.in.Preview
	if name == "" || v != nil && v.Exists && v.Revision == p.st.Canary.Revision {
		return true
	}
	p.do(Effect{Kind: EffectShowPreview, Name: name, Revision: p.st.Canary.Revision, Why: "a release is under way"})
	return false
}

// ready says whether the canary has exactly its pods, and the preview shows them.
func (p *pass) ready() bool { return p.enough() && p.previewReady() }

// previewReady says whether the preview Service has an endpoint, once the canary
// has its pods: only then has a step something to show.
func (p *pass) previewReady() bool {
	v := p.in.Preview
	if v == nil || v.ReadyCanary > 0 || p.size() == 0 {
		return true
	}
	return p.wait(WaitEndpoints, "the preview Service to have ready endpoints")
}

// previewStable turns the preview Service from a canary whose pods are to go.
func (p *pass) previewStable() {
	if v := p.in.Preview; v != nil && v.Revision != "" && v.Revision == p.st.Canary.Revision {
		p.do(Effect{Kind: EffectShowPreview, Name: v.Name, Revision: p.st.Stable.Revision, Why: "the release is rolled back"})
	}
}

// previewFollows lets the preview Service follow the workload where a promotion
// does not take its way, and pods other than the canary's may be what is left.
func (p *pass) previewFollows() {
	v := p.in.Preview
	if v == nil || v.Revision == "" {
		return
	}
	c := p.st.Canary.Revision
	if v.Revision != c || p.handedOver() && (p.twin != nil || p.in.Target.Revision != c) {
		p.widenPreview()
	}
}

// widenPreview makes the preview Service select whatever the workload runs.
func (p *pass) widenPreview() {
	if v := p.in.Preview; v != nil && v.Revision != "" {
		p.do(Effect{Kind: EffectShowPreview, Name: v.Name, Why: "no release is under way"})
	}
}
