package split

import (
	"context"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// Dialect is how one kind of route writes rules, and what its data plane says of
// them. Its methods are pure, but for Status; they may be called from several
// goroutines.
type Dialect interface {
	// Kind under which objects are read and written.
	Kind() Kind
	// Rules of an object, in one order. What is not of the expected form is passed
	// over: the API server's schema admits none of it.
	Rules(object *unstructured.Unstructured) []Rule
	// Refuse says what keeps an object from carrying any split, or the rules of
	// it that are to be split, nil for nothing.
	Refuse(object *unstructured.Unstructured, rules []Rule) *Refusal
	// Status tells whether the data plane has taken an object as it is now. With
	// live it asks the API server what else it has to know.
	Status(ctx context.Context, object *unstructured.Unstructured, live bool) Status
	Writer
}

// Writer is how a dialect writes.
type Writer interface {
	// Operations of a JSON patch that make a change in a rule of an object. Each
	// entry that is touched is tested first. Made by ListOperations, where entries
	// are a list.
	Operations(rule Rule, change Change) []jsonpatch.Operation
	// Matched gives a copy of a rule under another name with other entries, for those
	// of its requests that meet one of extras' matches, with extras' fault. Without
	// matches it is for all of them. Or it says why the API cannot do that.
	Matched(rule Rule, name string, entries []Twin, extras *v1alpha1.Extras) (map[string]any, *Refusal)
	// Mirrored gives the entry by which a rule mirrors a share of its requests, in
	// percent, to what a twin of one of its entries is for. Or it says why the API
	// cannot do that.
	Mirrored(rule Rule, twin Twin, weight int32) (map[string]any, *Refusal)
}

// Kind of a route.
type Kind struct {
	// GroupVersionKind of the objects.
	schema.GroupVersionKind
	// Older versions in which clusters may serve the kind instead, the newest first. What
	// Weir reads and writes is the same in them, or unknown there and then refused.
	Older []string
	// FirstWins says that of two rules which a request meets the first counts, rather
	// than the one that says more.
	FirstWins bool
	// Matches is the field of a rule with what its requests must meet.
	Matches string
	// Cookies says that clients of such routes keep cookies, so that they have sessions.
	Cookies bool
	// MaxRules is the most rules that the API admits, 0 for any number.
	MaxRules int
	// MaxMatches is the most matches that the API admits in all rules together, 0 for
	// any number.
	MaxMatches int
	// MaxBackends is the most entries that the API admits in a rule, 0 for any
	// number.
	MaxBackends int
	// Install says how a cluster gets the kind.
	Install string
	// NotFound says what else there is to know when an object is not there; it may
	// be empty.
	NotFound string
	// Carrier is who carries all objects of the kind; empty where each object's status
	// says so. See Part.Counters.
	Carrier string
}

// Rule of a route, as it is: a list of weighted backends.
type Rule struct {
	// Name of the rule, empty where it has none.
	Name string
	// List is the field of the object that holds the rule, such as spec.rules, and
	// Place the rule's place in it. Where the object is the rule, List is spec.
	List  string
	Place int
	// Entries is the field of the rule with the backends, such as backendRefs.
	Entries  string
	Backends []Backend
	// Mirroring is the field of the rule with entries by which it mirrors, Mirrors
	// are those of them that mirror to a Service, by their place in it.
	Mirroring string
	Mirrors   []Mirror
	// Raw is the rule as it is written.
	Raw map[string]any
}

// Mirror is one entry by which a rule mirrors requests.
type Mirror struct {
	// Place of the entry in the field, of Length entries.
	Place, Length int
	Service       string
	Raw           map[string]any
}

// Backend is one entry of a rule.
type Backend struct {
	// Service is the name of a Service in the route's namespace, empty for any
	// other kind of backend.
	Service string
	// Weight relative to the other entries, with the API's defaults. Unset says
	// that the weight is not written, Zero that it is written as 0 and counts
	// nevertheless, as the only one of its rule may.
	Weight      int64
	Unset, Zero bool
	// Raw is the entry as it is written.
	Raw map[string]any
}

// Refusal says why a route cannot carry the split: the path of a field, what is
// wrong with it, and what to do.
type Refusal struct{ Field, Problem, Remedy string }

// Status is what the data plane says of one route; see providers.Observation.
type Status struct {
	Accepted, Processed, Unannounced bool
	// Message says who has not accepted it and why, where that is so.
	Message string
	// Carriers are who carries the object; none while not all are known, or where the
	// kind says it.
	Carriers []string
}

// Stamped tells whether Weir has written an object and not given it back. One that is
// as its user wrote it sends the canary nothing, so that what carries it need not be
// asked on every pass: with thousands of Rollouts, nearly all are at rest.
func Stamped(object *unstructured.Unstructured) bool {
	_, stamped := object.GetAnnotations()[v1alpha1.SeqAnnotation]
	return stamped
}

// of makes the error about an object.
func (r Refusal) of(object string) error {
	return &providers.UnsupportedError{Object: object, Field: r.Field, Problem: r.Problem, Remedy: r.Remedy}
}
