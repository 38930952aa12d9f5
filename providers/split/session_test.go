package split

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// sticky is a target whose users are kept with their version at a weight.
func sticky(target providers.Target, weight, before int32) providers.Target {
	target.Session = &providers.Session{Cookie: "weir-cart", MaxAge: 24 * time.Hour, Release: "5d8f-3", Weight: weight, Before: before}
	return target
}

// raised is the route at a weight with sessions.
func raised(t *testing.T, u *unstructured.Unstructured, target providers.Target) *unstructured.Unstructured {
	t.Helper()
	_, versions := run(t, u, target, raising(target.Session.Weight, 7))
	return last(versions)
}

// TestSessionPatches shows, in golden files, how sessions come with the weight, follow
// it and go with it.
func TestSessionPatches(t *testing.T) {
	first, next := sticky(cart, 500, 0), sticky(cart, 2500, 500)
	both := with(next, header("x-cohort", "b"))
	at := func(target providers.Target) func(*testing.T) *unstructured.Unstructured {
		return func(t *testing.T) *unstructured.Unstructured { return raised(t, shop(t), target) }
	}
	cases := map[string]struct {
		reason string
		start  func(*testing.T) *unstructured.Unstructured
		target providers.Target
		plan   plan
	}{
		"first":   {"each rule gets those that keep and draw users in the write that raises it", shop, first, raising(500, 7)},
		"next":    {"the draw changes in the write that raises the rule, and the canary's users stay", at(first), next, raising(2500, 8)},
		"matches": {"matches come before what keeps users", at(next), both, raising(2500, 8)},
		"full":    {"at the full weight nothing is left to keep, and nobody met stable meanwhile", at(next), sticky(cart, 10000, 2500), raising(10000, 8)},
		"lower":   {"the first write of a lowering takes all sessions", at(next), sticky(cart, 0, 0), lowering(0, 8)},
		"restore": {"what Weir added goes, then the weights come back", at(next), next, restoring(9)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			patches, versions := run(t, tc.start(t), tc.target, tc.plan)
			routetest.Golden(t, "session-"+name, tc.reason, patches)
			if more, _ := run(t, last(versions), tc.target, tc.plan); len(more) > 0 {
				t.Errorf("\n%s\nthe same call again wrote:\n%s", tc.reason, routetest.Render(t, more))
			}
		})
	}
}

// madeNames are the names of the route's rules, in their order.
func madeNames(u *unstructured.Unstructured) string {
	var names []string
	for _, r := range plain("HTTPRoute").Rules(u) {
		names = append(names, r.Name)
	}
	return strings.Join(names, " ")
}

// TestSessionObserved: what a route carries of the sessions that are asked for, and
// that a lowering and a raise bring it to that.
func TestSessionObserved(t *testing.T) {
	first, next := sticky(cart, 500, 0), sticky(cart, 2500, 500)
	other := sticky(cart, 500, 0)
	other.Session.Release = "5d8f-4"
	remove := func(name string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			spec := u.Object["spec"].(map[string]any)
			spec["rules"] = slices.DeleteFunc(spec["rules"].([]any), func(r any) bool { return r.(map[string]any)["name"] == name })
		}
	}
	change := func(name string, edit func(map[string]any)) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) {
			for _, r := range u.Object["spec"].(map[string]any)["rules"].([]any) {
				if rule := r.(map[string]any); rule["name"] == name {
					edit(rule)
				}
			}
		}
	}
	cases := map[string]struct {
		reason string
		raised providers.Target
		edit   func(*unstructured.Unstructured)
		asked  providers.Target
		want   carrying
	}{
		"Whole":     {reason: "all is there", raised: next, asked: next},
		"Idle":      {reason: "nothing is asked for yet", raised: sticky(cart, 0, 0), asked: sticky(cart, 0, 0)},
		"NextStep":  {reason: "the next step's draw is not there yet, and nobody's session is taken meanwhile", raised: first, asked: next, want: carrying{loose: true}},
		"Promotion": {reason: "at the full weight the rules are superfluous, and go with the raise", raised: next, asked: sticky(cart, 10000, 2500), want: carrying{loose: true}},
		"Rollback":  {reason: "at no weight they have to go at once", raised: next, asked: sticky(cart, 0, 0), want: carrying{stray: true}},
		"StepBack":  {reason: "a draw at more than the weight has to go at once", raised: next, asked: first, want: carrying{stray: true, loose: true}},
		"Release":   {reason: "what an older release left has to go at once", raised: first, asked: other, want: carrying{stray: true, loose: true}},
		"NoDraw":    {reason: "somebody has taken the draw away", raised: next, asked: next, edit: remove("weir-0d-cart"), want: carrying{loose: true}},
		"NoCanary":  {reason: "or the rule of the canary's users", raised: next, asked: next, edit: remove("weir-1c-cart"), want: carrying{loose: true}},
		"NoStable":  {reason: "or that of stable's, which comes before the one that draws again", raised: next, asked: next, edit: remove("weir-0s-cart"), want: carrying{loose: true}},
		"NoRule": {
			reason: "a rule that the user has taken away leaves rules of Weir's that nobody wants", raised: next, asked: next,
			edit: remove("mixed"), want: carrying{stray: true, loose: true},
		},
		"Widened": {
			reason: "somebody lets more requests meet the canary's rule", raised: next, asked: next,
			edit: change("weir-0c-cart", func(r map[string]any) { r["matches"] = []any{map[string]any{}} }),
			want: carrying{stray: true, loose: true},
		},
		"StableMoved": {
			reason: "somebody sends stable's users to the canary", raised: next, asked: next,
			edit: change("weir-0s-cart", func(r map[string]any) { r["backendRefs"].([]any)[0].(map[string]any)["name"] = "cart-canary" }),
			want: carrying{stray: true, loose: true},
		},
		"NoCookie": {
			reason: "somebody has taken the cookie out of an answer", raised: next, asked: next,
			edit: change("weir-0d-cart", func(r map[string]any) { delete(r["backendRefs"].([]any)[0].(map[string]any), "cookie") }),
			want: carrying{loose: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := raised(t, shop(t), tc.raised)
			if tc.edit != nil {
				tc.edit(u)
			}
			seen := func(u *unstructured.Unstructured) carrying {
				return newRoute(plain("HTTPRoute"), u, tc.asked.Routes[0], tc.asked).carriesExtras()
			}
			if diff := cmp.Diff(tc.want, seen(u), cmp.AllowUnexported(carrying{})); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
			weight := tc.asked.Session.Weight
			_, versions := run(t, u, tc.asked, func(r *route) ([]jsonpatch.Operation, error) {
				if ops, err := r.lower(weight, atMost(weight), 8); len(ops) > 0 || err != nil {
					return ops, err
				}
				return r.raise(weight, 8)
			})
			if got := seen(last(versions)); got != (carrying{}) {
				t.Errorf("\n%s\nafter a lowering and a raise the route carries %+v", tc.reason, got)
			}
			if tc.edit == nil || name == "NoRule" {
				return
			}
			if want, got := madeNames(raised(t, shop(t), tc.raised)), madeNames(last(versions)); got != want {
				t.Errorf("\n%s\nthe rules are %s, not %s", tc.reason, got, want)
			}
		})
	}
}

// TestSessionOfOtherKinds: where clients keep no cookies, only the weight counts.
func TestSessionOfOtherKinds(t *testing.T) {
	target := sticky(cart, 500, 0)
	r := newRoute(plain("GRPCRoute"), shop(t), target.Routes[0], target)
	if ops := r.giveRules(&r.views[0]); len(ops) > 0 {
		t.Errorf("rules for sessions: %v", ops)
	}
	if got := r.carriesExtras(); got.loose {
		t.Errorf("the route lacks something: %+v", got)
	}
}

// shopper are rules as a gateway has them.
type shopper struct {
	rules    []Rule
	patterns map[string]*regexp.Regexp
}

// visit is a request with the value of a session's cookie, empty for none: the
// version that it meets, and the value that its browser has afterwards.
func (s *shopper) visit(rng *rand.Rand, cookie string) (version, value string) {
	rule := s.chosen(cookie)
	total := int64(0)
	for _, b := range rule.Backends {
		total += b.Weight
	}
	at := rng.Int64N(total)
	for _, b := range rule.Backends {
		if at -= b.Weight; at >= 0 {
			continue
		}
		if set, ok := b.Raw["cookie"].(string); ok {
			cookie, _, _ = strings.Cut(strings.TrimPrefix(set, "weir-cart="), ";")
		}
		return b.Service, cookie
	}
	return "", cookie
}

// chosen is the rule that a request of /cart meets: of those that ask for a cookie
// the first that is met, or else the first of the others.
func (s *shopper) chosen(cookie string) Rule {
	var plainest *Rule
	for i, r := range s.rules {
		match := r.Raw["matches"].([]any)[0].(map[string]any)
		if match["path"].(map[string]any)["value"] != "/cart" {
			continue
		}
		headers, _ := match["headers"].([]any)
		switch {
		case len(headers) == 0 && plainest == nil:
			plainest = &s.rules[i]
		case len(headers) == 0 || cookie == "":
		case s.pattern(headers[0].(map[string]any)["value"].(string)).MatchString("weir-cart=" + cookie):
			return r
		}
	}
	return *plainest
}

// pattern of a header.
func (s *shopper) pattern(text string) *regexp.Regexp {
	if s.patterns[text] == nil {
		s.patterns[text] = regexp.MustCompile(text)
	}
	return s.patterns[text]
}

// TestShareOfUsers: with every step the weight is the share of the users with the
// canary, of those who come back and of those who are new; and within a step nobody
// meets two versions.
func TestShareOfUsers(t *testing.T) {
	const some = 5000
	rng := newRandom(t)
	u := shop(t)
	var cookies []string
	before := int32(0)
	for _, weight := range []int32{100, 500, 2500, 5000, 9000} {
		u = raised(t, u, sticky(cart, weight, before))
		before = weight
		shop := shopper{plain("HTTPRoute").Rules(u), map[string]*regexp.Regexp{}}
		cookies = append(cookies, make([]string, some)...)
		counts := map[bool]int{}
		for i := range cookies {
			isNew := i >= len(cookies)-some
			var met, had string
			for range 3 {
				had = met
				if met, cookies[i] = shop.visit(rng, cookies[i]); had != "" && met != had {
					t.Fatalf("at %d a user met %s after %s", weight, met, had)
				}
			}
			if met == "cart-canary" {
				counts[isNew]++
			}
		}
		for isNew, n := range map[bool]int{true: some, false: len(cookies) - some} {
			want := float64(weight) / float64(v1alpha1.FullWeight)
			if off := math.Abs(float64(counts[isNew]) - want*float64(n)); off > 5*math.Sqrt(float64(n)*want*(1-want)) {
				t.Errorf("at %d, %d of %d users (new: %t) met the canary", weight, counts[isNew], n, isNew)
			}
		}
	}
	lowered, _ := run(t, u, sticky(cart, 0, 0), lowering(0, 8))
	if len(lowered) == 0 {
		t.Error("a rollback wrote nothing")
	}
}

// TestAgain: whoever was left with stable is drawn again with the share that brings
// all to the weight.
func TestAgain(t *testing.T) {
	for _, tc := range []struct{ weight, before, want int32 }{
		{500, 0, 500}, {2500, 500, 2105}, {5000, 2500, 3333}, {9000, 5000, 8000}, {9999, 9998, 5000},
	} {
		s := providers.Session{Weight: tc.weight, Before: tc.before}
		if got := s.Again(); got != tc.want {
			t.Errorf("%s: got %d, want %d", fmt.Sprint(tc.before, " to ", tc.weight), got, tc.want)
		}
	}
}
