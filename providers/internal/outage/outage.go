// Package outage knows how long proxies may take to come back to a control plane that
// was away.
//
// Who asks a control plane itself sees it again at its own next attempt. Proxies that
// have lost it wait between their attempts, longer each time, and until then route as
// they were told last: they still send requests to pods that a release would now take
// away. So that what a control plane serves is what proxies have only after a while.
package outage

import (
	"fmt"
	"time"
)

// Outage follows one control plane. It is not safe for concurrent use; the zero value
// of its times is that of one that was never away.
type Outage struct {
	// Name of the control plane, as users know it.
	Name string
	// Factor and Max bound the time that proxies take: so many times as long as it was
	// away, and no longer than Max.
	Factor int
	Max    time.Duration

	// since is when it was first missed, zero while it is there; back is when it
	// answered again, and until is when its proxies have it, too.
	since, back, until time.Time
}

// Failed notes that it did not answer.
func (o *Outage) Failed(now time.Time) {
	if o.since.IsZero() {
		o.since = now
	}
}

// Answered notes that it did. While proxies come back to it from one outage another
// one may begin and end: the later end counts.
func (o *Outage) Answered(now time.Time) {
	if o.since.IsZero() {
		return
	}
	away := now.Sub(o.since)
	if until := now.Add(min(time.Duration(o.Factor)*away, o.Max)); until.After(o.until) {
		o.back, o.until = now, until
	}
	o.since = time.Time{}
}

// Settling says that proxies may still be without it, in words that stay the same for as
// long as that is so; empty when they have it.
func (o *Outage) Settling(now time.Time) string {
	if !now.Before(o.until) {
		return ""
	}
	return fmt.Sprintf("%s was away and is back since %s: its proxies may take until %s to be back with it, and route as before until then",
		o.Name, clock(o.back), clock(o.until.Add(time.Second)))
}

// clock is a time of day, to be read by people.
func clock(t time.Time) string { return t.UTC().Format("15:04:05 UTC") }
