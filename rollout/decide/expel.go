package decide

// expels ends a roll of the workload's own to the version that is rolled back:
// somebody has resumed the workload for a while. Stable gets the pods, if it has
// some, or if those that it would take the place of are of no use. Else there is
// nothing to go back to.
func (p *pass) expels() bool {
	stable := p.stableSet()
	switch {
	case !p.intruded(stable):
		return false
	case !p.in.Fresh:
		p.needLive = true
		return true
	case stable == nil || p.replaced():
		return false
	}
	if p.held() {
		p.makeWay(stable)
	}
	return len(p.effects) > 0 && !p.wait(WaitRemoval, "the pods of the version that was rolled back to go")
}

// intruded says whether the workload runs the version that is rolled back, or
// may come to. One that has been taken out of Weir's hands is left alone.
func (p *pass) intruded(stable *Set) bool {
	if p.takenOut() {
		return false
	}
	runs := stable != nil && stable.Size > 0
	return p.twin != nil || !runs && p.in.Target.Revision == p.st.Canary.Revision
}

// makeWay for the stable version.
func (p *pass) makeWay(stable *Set) {
	if stable.Size == 0 {
		// The workload's controller would prefer these, now or when it is scaled up
		// from zero.
		p.removeTwins()
	}
	if p.twin != nil {
		p.do(Effect{Kind: EffectExpelSet, Name: p.twin.Name, Revision: stable.Hash, Why: "its version was rolled back"})
	}
}

// expelOthers takes the pods of any other version than stable in the middle of a
// release. The workload's controller may have scaled up a set of its history by
// an old view, and a paused one then spreads its pods over both.
func (p *pass) expelOthers() bool {
	stable, found := p.stableSet(), false
	if stable == nil || stable.Size == 0 {
		return false
	}
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.active() && s != stable && s != p.canary && s != p.twin {
			p.do(Effect{Kind: EffectExpelSet, Name: s.Name, Revision: stable.Hash, Why: "only stable runs beside a canary"})
			found = true
		}
	}
	return found
}

// replaced says whether other pods than stable's serve for the workload.
func (p *pass) replaced() bool {
	if s := p.stableSet(); s != nil && s.Size > 0 {
		return false
	}
	for i := range p.in.Sets {
		if s := &p.in.Sets[i]; s.active() && s.Available > 0 {
			return true
		}
	}
	return false
}
