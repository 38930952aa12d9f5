package split

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/weir-dev/weir/providers"
)

// summary gathers an observation over several routes: of everything the worst.
type summary struct {
	providers.Observation
	routes, rules int
	// counters by carrier, and whether it is not known of a route who carries it.
	counters map[string]providers.RequestCounters
	unknown  bool
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
	s.counted(r, status.Carriers)
	s.Routes = append(s.Routes, r.String())
	s.Services = append(s.Services, r.services()...)
	slices.Sort(s.Services)
	s.Services = slices.Compact(s.Services)
}

// counted notes the series in which the carriers of one more route count requests.
// What no carrier of all routes counts would be missing from any sum.
func (s *summary) counted(r *route, carriers []string) {
	if carrier := r.dialect.Kind().Carrier; carrier != "" {
		carriers = []string{carrier}
	}
	s.unknown = s.unknown || len(carriers) == 0
	for _, c := range carriers {
		counters, ok := s.counters[c]
		switch {
		case !ok:
			s.uncounted(fmt.Sprintf("%s is carried by %s, of which no series are known", r, c))
		case s.Requests != nil && !reflect.DeepEqual(*s.Requests, counters):
			s.uncounted(fmt.Sprintf("%s is carried by another mesh, or in another way, than the routes before it", r))
		default:
			s.Requests = &counters
		}
	}
}

// uncounted notes why requests are not counted. The first reason speaks.
func (s *summary) uncounted(why string) {
	if s.Uncounted == "" {
		s.Uncounted = why
	}
}

// observation of all routes.
func (s *summary) observation() providers.Observation {
	if s.unknown || s.Uncounted != "" {
		s.Requests = nil
	}
	return s.Observation
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
