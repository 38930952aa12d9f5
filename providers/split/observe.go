package split

import (
	"slices"

	"github.com/weir-dev/weir/providers"
)

// summary gathers an observation over several routes: of everything the worst.
type summary struct {
	providers.Observation
	routes, rules int
}

// add a route that was read, and what its data plane says of it.
func (s *summary) add(r *route, status Status) {
	s.accept(status.Accepted, status.Message)
	s.Unannounced = s.Unannounced || status.Unannounced
	s.Processed = status.Processed && (s.routes == 0 || s.Processed)
	s.stampOf(r.stamp())
	s.routes++
	for _, v := range r.views {
		lowest, highest := v.exposure(r.hint())
		s.Weight = max(s.Weight, highest)
		if r.selected(v) && v.weighs() {
			s.lowest(lowest)
		}
	}
	s.carries(r.carriesExtras())
	// Rules that someone has put back are the user's only until the next write
	// of anybody, in which the policy splits them again.
	s.Split = s.Split || r.split() || r.hint() >= 0
	if s.ForeignWriter == "" {
		s.ForeignWriter = r.foreignWriter()
	}
	s.Routes = append(s.Routes, r.String())
	s.Services = append(s.Services, r.services()...)
	slices.Sort(s.Services)
	s.Services = slices.Compact(s.Services)
}

// carries notes what one more route carries beside weights.
func (s *summary) carries(c carrying) {
	s.Extras, s.Stray, s.Loose = s.Extras || c.some, s.Stray || c.stray, s.Loose || c.loose
	s.Whole = c.whole && (s.routes == 1 || s.Whole)
}

// missing counts a route that is not there, or of a kind that is not: it carries
// nothing and has accepted nothing.
func (s *summary) missing(err error) {
	s.accept(false, err.Error())
	s.Processed = s.routes == 0 || s.Processed
	s.stampOf(0)
	s.routes++
	s.lowest(0)
}

// accept notes whether one more route is accepted. The first that is not speaks.
func (s *summary) accept(ok bool, message string) {
	s.Accepted = ok && (s.routes == 0 || s.Accepted)
	if !ok && s.Message == "" {
		s.Message = message
	}
}

// stampOf one more route.
func (s *summary) stampOf(stamp int64) {
	if s.routes == 0 || stamp < s.Stamp {
		s.Stamp = stamp
	}
	s.HighestStamp = max(s.HighestStamp, stamp)
}

// lowest weight of one more rule.
func (s *summary) lowest(weight int32) {
	if s.rules == 0 || weight < s.LowestWeight {
		s.LowestWeight = weight
	}
	s.rules++
}
