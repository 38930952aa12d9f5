package split

import (
	"fmt"
	"regexp"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// Sessions are carried by rules that Weir makes: two keep those who have a cookie
// with their version, one draws those again that stable has left from the weight
// before, and one draws all others. Answers of those that draw set the cookie.
//
// The user's own rule is split as it is without sessions. It is met by nobody, unless
// somebody takes Weir's rules away: then requests are dealt out at the same weight.

// sessionRules are the rules for the session of one rule of the user's, or why the
// API cannot do that.
func (r *route) sessionRules(v *view, s *providers.Session) (map[kind]map[string]any, *Refusal) {
	old := fmt.Sprintf("stable-%s-[0-9]+", regexp.QuoteMeta(s.Release))
	rules := []struct {
		kind    kind
		matches []v1alpha1.Match
		share   int32
		cookies bool
	}{
		{kind: keepCanary, matches: cookie(s, v1alpha1.MatchExact, s.Canary()), share: v1alpha1.FullWeight},
		{kind: keepStable, matches: cookie(s, v1alpha1.MatchExact, s.Stable(s.Weight))},
		{kind: drawAgain, matches: cookie(s, v1alpha1.MatchRegularExpression, old), share: s.Again(), cookies: true},
		{kind: draw, share: s.Weight, cookies: true},
	}
	out := map[kind]map[string]any{}
	for _, rule := range rules {
		if rule.kind == drawAgain && s.Before == 0 {
			continue
		}
		entries := r.shared(v, int64(rule.share))
		if rule.cookies {
			setCookies(v, entries, s)
		}
		raw, refusal := r.dialect.Matched(v.Rule, rule.kind.name(v.index, r.owner), entries, &v1alpha1.Extras{Matches: rule.matches})
		if refusal != nil {
			return map[kind]map[string]any{}, refusal
		}
		out[rule.kind] = raw
	}
	return out, nil
}

// cookie is met by requests with a session's cookie.
func cookie(s *providers.Session, t v1alpha1.MatchType, value string) []v1alpha1.Match {
	return []v1alpha1.Match{{Cookies: []v1alpha1.ValueMatch{{Type: t, Name: s.Cookie, Value: value}}}}
}

// shared are copies of the rule's entries of which the canary has a share, in the
// ratio in which the user wrote them. Those of other Services are as they are.
func (r *route) shared(v *view, share int64) []Twin {
	base := r.base(*v).Weights
	_, owned := v.totals()
	f := factor(base, pick(base, owned), share)
	var out []Twin
	add := func(t Twin) {
		if t.Weight > 0 {
			out = append(out, t)
		}
	}
	for i, s := range v.shares {
		total := base[i] * f
		if s.pair == nil {
			add(Twin{From: s.user, Weight: total})
			continue
		}
		canary := part(total, share)
		stable := Twin{From: s.user, Weight: total - canary}
		if s.orphan {
			stable.Service = s.pair.Stable
		}
		add(stable)
		add(Twin{From: s.user, Service: s.pair.Canary, Weight: canary})
	}
	return out
}

// setCookies has answers of entries tell their users which version they met.
func setCookies(v *view, entries []Twin, s *providers.Session) {
	for i, t := range entries {
		switch {
		case canaryOf(v.pairs, t.Service) != nil:
			entries[i].Cookie = s.SetCookie(s.Canary())
		case t.Service != "" || stableOf(v.pairs, v.Backends[t.From].Service) != nil:
			entries[i].Cookie = s.SetCookie(s.Stable(s.Weight))
		}
	}
}

// straySession says whether a rule of a session sends the canary more than any is to.
// Of those that draw, the share may be lower than it is to be; and at the full weight
// all of them are superfluous, but none sends too much.
func (r *route) straySession(v *view, k kind, made *Rule, want map[string]any) bool {
	if r.session == nil || r.session.Weight == 0 || !r.placed(v, made) {
		return true
	}
	seen := viewOf(*made, v.index, r.pairs)
	if _, highest := seen.exposure(r.session.Weight); k != keepCanary && highest > r.session.Weight {
		return true
	}
	if want == nil {
		return r.session.Keeps()
	}
	field := r.dialect.Kind().Matches
	return k != keepStable && !within(want[field], made.Raw[field])
}

// loose says whether a rule of the user's does not keep sessions as it should.
func (r *route) loose(v *view) bool {
	if r.session == nil || r.session.Weight == 0 {
		return false
	}
	want := r.wanted(v)
	for _, k := range kinds() {
		if k == matched {
			continue
		}
		have := r.madeRule(v, k)
		if (have == nil) != (want[k] == nil) || have != nil && !r.current(v, have, want[k]) {
			return true
		}
	}
	return false
}

// refuseSession says what keeps a rule from having sessions.
func (r *route) refuseSession(v *view) *Refusal {
	if r.session == nil {
		return nil
	}
	sample := *r.session
	sample.Weight, sample.Before = v1alpha1.FullWeight/2, v1alpha1.FullWeight/4
	if _, refusal := r.sessionRules(v, &sample); refusal != nil {
		refusal.Remedy = "take sessionAffinity out of spec.traffic of the Rollout, or leave the rule out of its ruleNames"
		return refusal
	}
	if other := r.overruled(v, cookie(r.session, v1alpha1.MatchExact, r.session.Canary())); other != nil {
		return &Refusal{
			Field:   RulePath(other.Rule, r.dialect.Kind().Matches),
			Problem: fmt.Sprintf("counts before rule %d, but not before the rules for its sessions, which match a cookie as well: requests would go there", v.Place),
			Remedy:  "match one header more in it, or take sessionAffinity out of spec.traffic of the Rollout",
		}
	}
	return nil
}
