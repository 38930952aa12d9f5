// Package providers is the vocabulary between the release and whoever carries
// its traffic, and the contract that every provider keeps.
//
// A provider knows routes and weights, and nothing of steps, analysis or
// workloads. It reports what is there, and it moves weight between a user's
// Service (the stable backend) and a Service of Weir's own (the canary
// backend) in the routes that it is given. It owns those two backends of the
// rules that refer to the user's Service, and what it adds for requests that match,
// for sessions and for mirrors, and keeps every other field and rule as it found them.
//
// The contract, checked by package conformance:
//
//   - Every method is idempotent and safe to repeat after a crash at any point.
//   - Every write is a compare-and-swap on the object as it was read live by the
//     same call, changes one of the user's rules at a time at most, with what was
//     added for it, and leaves the weights of each rule summing to the whole.
//   - An object whose stamp (annotation weir.dev/seq) is greater than the given
//     one is not written: ErrFenced.
//   - Lower is monotone on the live object: weight becomes the smaller of what
//     is there and what is asked, never what the caller believed. It stamps in
//     any case. On a route that is as the user wrote it, it only stamps.
//   - Of several routes, all are lowered before any is raised.
//   - Restore gives each rule back as the user wrote it.
//   - A route that cannot carry the split is refused with an *UnsupportedError
//     that names the object, the field and the remedy; no step is skipped in
//     silence.
package providers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Pair is one Service of the user and its twin that selects the canary.
type Pair struct {
	// Stable is the user's Service.
	Stable string
	// Canary is the Service that Weir made for the canary.
	Canary string
}

// Target is where the traffic of one workload is split.
type Target struct {
	// Namespace of the Rollout, its routes and its Services.
	Namespace string
	// Owner is the name of the Rollout, by which its rules are told from those
	// of others on the same route.
	Owner string
	// Routes that carry the traffic; empty for the native provider.
	Routes []v1alpha1.RouteReference
	// Pairs of Services, sorted by name. Empty before they are discovered.
	Pairs []Pair
	// Extras are what rules are to do for the canary beside the weight: matches that
	// go to it, a mirror, a fault. Nil for nothing.
	Extras *v1alpha1.Extras
	// Planned are the extras of all steps, so that what a route cannot do is said
	// before a release begins.
	Planned []*v1alpha1.Extras
	// Session keeps each user with one version; nil for none.
	Session *Session
	// Revisions of the stable and the canary version, for providers whose split
	// is the pods themselves.
	StableRevision, CanaryRevision string
}

// Session keeps each user with the version that they were drawn for, by a cookie that
// names the release. It goes with the weight: a raise sets both in one write of each
// rule, and what is lowered to nothing has no sessions.
type Session struct {
	// Cookie is the name of the cookie, MaxAge how long a browser keeps it.
	Cookie string
	MaxAge time.Duration
	// Release is the revision of the canary and the number of the release: a cookie means
	// nothing to any other release, not even to another one of the same revision.
	Release string
	// Weight at which users are drawn, in parts per 10,000. At 0 nobody has a session;
	// at the full weight nobody needs one.
	Weight int32
	// Before is the weight at which those of stable were drawn before this one, 0 for
	// nobody.
	Before int32
}

// Keeps says whether users are to be kept with the version that they met.
func (s *Session) Keeps() bool { return s != nil && s.Weight > 0 && s.Weight < v1alpha1.FullWeight }

// Canary is the cookie's value for users of the canary.
func (s *Session) Canary() string { return "canary-" + s.Release }

// Stable is the cookie's value for users of stable that were drawn at a weight. It
// names the weight, so that they are drawn again at the next one.
func (s *Session) Stable(weight int32) string {
	return fmt.Sprintf("stable-%s-%d", s.Release, weight)
}

// Again is the share at which users of stable are drawn again: of those whom the
// weight before has left with stable, as many as bring the canary's users from that
// weight to this one. At this weight itself the canary would get more users than it
// was made for: half of 75 % on top of 25 % are 62.5 %, not 50 %.
func (s *Session) Again() int32 {
	left := int64(v1alpha1.FullWeight - s.Before)
	if s.Before <= 0 || left <= 0 {
		return s.Weight
	}
	return int32((int64(s.Weight-s.Before)*int64(v1alpha1.FullWeight) + left/2) / left)
}

// SetCookie is the Set-Cookie header that gives a user a value. Without Secure:
// browsers would drop it on hosts without TLS, and it holds no secret.
func (s *Session) SetCookie(value string) string {
	return fmt.Sprintf("%s=%s; Path=/; Max-Age=%d; HttpOnly; SameSite=Lax", s.Cookie, value, int64(s.MaxAge.Seconds()))
}

// Observation is what a provider found. Over several routes and rules it says
// the worst: the highest weight, the lowest accepted one, the lowest stamp.
type Observation struct {
	// Split is true when any rule carries Weir's backend, or will again with the
	// next write of anybody, by policy; false means that all are as the user
	// wrote them.
	Split bool
	// Weight is the highest weight of the canary in any rule, in parts per
	// 10,000. LowestWeight is the lowest.
	Weight, LowestWeight int32
	// Extras is true when a rule does anything of what the target's extras say, and
	// Whole when every rule does all of it. Stray is true when a rule does more, for
	// the same owner.
	Extras, Whole, Stray bool
	// Loose is true when a rule that sends the canary what it should does not keep
	// the target's sessions as it should. Sessions that send it more are Stray.
	Loose bool
	// Accepted is true when the data plane has accepted every route as it is
	// now. Where it has not, Message says which and why.
	Accepted bool
	Message  string
	// Unannounced is true when no event will tell that this changes: what carries the
	// routes was asked, and has to be asked again.
	Unannounced bool
	// Processed is true when the data plane has taken note of every route as it
	// is now, whatever it thinks of it, or is known to be gone: what a route sends
	// nothing to any more gets nothing. Another rule's mistake leaves a route not accepted for as long
	// as nobody corrects it, and must not keep a canary from being taken away.
	Processed bool
	// Stamp is the lowest stamp of the routes, HighestStamp the highest.
	Stamp, HighestStamp int64
	// ForeignWriter is the field manager that wrote rules last which do not carry the
	// split that was asked for, if there are any. Where none is asked for, or a writer
	// took the asking away as well, it is whoever wrote the rules.
	ForeignWriter string
	// Services are the user's Services found behind the routes: candidates for
	// Pair.Stable. Whether they select the workload is the caller's to decide.
	Services []string
	// Routes found, as Kind/name.
	Routes []string
	// Requests are the series in which what carries the routes counts requests by the
	// Service to which it sent each. Nil while it is not known who carries them, and
	// where these count nothing that is known: then Uncounted says so.
	Requests  *RequestCounters
	Uncounted string
}

// RequestCounters are series in which what carries routes counts requests, as PromQL
// selectors.
type RequestCounters struct {
	// Total select all requests, Failed those of them that failed: a series that any of
	// these selects. Each of Failed has a selector of Total's conditions and more.
	Total, Failed []v1alpha1.Selector
	// ServiceLabel and NamespaceLabel are the labels that name the Service to which a
	// request was sent, and its namespace.
	ServiceLabel, NamespaceLabel string
}

// Exposes says whether any rule sends the canary anything.
func (o Observation) Exposes() bool { return o.Weight > 0 || o.Extras || o.Stray }

// Confirm says with no error that the decision still stands on which a write
// rests. It is asked between the read of an object and the write of it: a process
// that was stopped before its read finds that others have decided since, and one
// that was stopped after it loses the compare-and-swap. Its error ends the call.
// A nil Confirm always agrees.
type Confirm func(ctx context.Context) error

// Provider splits traffic in one kind of way.
type Provider interface {
	// Name of the provider.
	Name() v1alpha1.TrafficProvider
	Router
}

// Router splits traffic. Methods may be called from several goroutines, for
// different targets at the same time.
type Router interface {
	// Observe reads the routes; live asks the API server rather than a cache.
	// A route that is missing gives a *NotFoundError, one that cannot carry the
	// split an *UnsupportedError; of several, all are joined. The observation
	// then still says what was found in the routes that are there.
	Observe(ctx context.Context, target Target, live bool) (Observation, error)
	// Lower makes the canary's weight at most weight in every rule, takes away what
	// the target's extras and session do not say, and stamps.
	// What is wrong with one route keeps no other from being lowered.
	Lower(ctx context.Context, target Target, weight int32, stamp int64) error
	// Raise makes the canary's weight exactly weight in every rule, and has each do
	// what the target's extras and session say; it lowers first where several differ,
	// and stamps.
	Raise(ctx context.Context, target Target, weight int32, stamp int64, confirm Confirm) error
	// Restore gives every rule back as the user wrote it, and removes stamps. A
	// route that is missing needs nothing.
	Restore(ctx context.Context, target Target, stamp int64, confirm Confirm) error
}

// ErrFenced says that the object carries a newer stamp than the caller's. A newer
// decision was made; the caller must read anew.
var ErrFenced = errors.New("object carries a newer stamp")

// NotFoundError says that a route does not exist.
type NotFoundError struct {
	Kind, Name string
	// Hint is what else there is to know; it may be empty.
	Hint string
}

// Error names the route and the remedy.
func (e *NotFoundError) Error() string {
	text := fmt.Sprintf("%s %q does not exist in this namespace: create it, or correct spec.traffic.routeRefs", e.Kind, e.Name)
	if e.Hint != "" {
		text += "; " + e.Hint
	}
	return text
}

// UnsupportedError says that a route cannot carry the split.
type UnsupportedError struct {
	// Object as Kind/name, Field as a path in it, Problem and Remedy in words.
	Object, Field, Problem, Remedy string
}

// Error names the object, the field and the remedy.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s: %s: %s", e.Object, e.Field, e.Problem, e.Remedy)
}
