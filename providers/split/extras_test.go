package split

import (
	"errors"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/internal/routetest"
)

// header is a match of one header.
func header(name, value string) *v1alpha1.Extras {
	return &v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: name, Value: value}}}}}
}

// mirror is a mirror of a share.
func mirror(weight int32) *v1alpha1.Extras {
	return &v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: weight}}
}

// with gives the target extras.
func with(target providers.Target, extras *v1alpha1.Extras) providers.Target {
	target.Extras = extras
	if extras != nil {
		target.Planned = []*v1alpha1.Extras{extras}
	}
	return target
}

// TestExtrasPatches shows, in golden files, how extras come and go.
func TestExtrasPatches(t *testing.T) {
	at := func(target providers.Target, weight int32) func(*testing.T) *unstructured.Unstructured {
		return func(t *testing.T) *unstructured.Unstructured {
			_, versions := run(t, shop(t), target, raising(weight, 7))
			return last(versions)
		}
	}
	b, c := with(cart, header("x-cohort", "b")), with(cart, header("x-cohort", "c"))
	cases := map[string]struct {
		reason string
		start  func(*testing.T) *unstructured.Unstructured
		target providers.Target
		plan   plan
	}{
		"matches": {"each rule gets one of Weir's beside it, for requests that match", shop, b, raising(0, 7)},
		"matches-other": {"other matches take the place of the old ones, which go first", at(b, 0), c, func(r *route) ([]jsonpatch.Operation, error) {
			if ops, err := r.lower(0, atMost(0), 8); len(ops) > 0 || err != nil {
				return ops, err
			}
			return r.raise(0, 8)
		}},
		"matches-lower": {"lowering takes them away, and leaves those that are asked for", at(b, 500), cart, lowering(500, 8)},
		"mirror":        {"each rule mirrors to the canary", shop, with(cart, mirror(20)), raising(0, 7)},
		"restore-all":   {"what Weir added goes, then the weights come back", at(b, 2500), cart, restoring(9)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			patches, versions := run(t, tc.start(t), tc.target, tc.plan)
			routetest.Golden(t, "extras-"+name, tc.reason, patches)
			if more, _ := run(t, last(versions), tc.target, tc.plan); len(more) > 0 {
				t.Errorf("\n%s\nthe same call again wrote:\n%s", tc.reason, routetest.Render(t, more))
			}
		})
	}
}

// TestExtrasObserved: what a route carries of what is asked for.
func TestExtrasObserved(t *testing.T) {
	b := with(cart, header("x-cohort", "b"))
	rules := func(u *unstructured.Unstructured) []any { return u.Object["spec"].(map[string]any)["rules"].([]any) }
	set := func(u *unstructured.Unstructured, list []any) { u.Object["spec"].(map[string]any)["rules"] = list }
	cases := map[string]struct {
		reason string
		raised providers.Target
		edit   func(*unstructured.Unstructured)
		asked  providers.Target
		want   carrying
	}{
		"None":    {reason: "a route as the user wrote it", raised: cart, asked: cart},
		"Missing": {reason: "what is asked for is not there yet", raised: cart, asked: b},
		"Whole":   {reason: "all is there", raised: b, asked: b, want: carrying{some: true, whole: true}},
		"Stray":   {reason: "nothing is asked for any more", raised: b, asked: cart, want: carrying{stray: true}},
		"Other":   {reason: "something else is asked for", raised: b, asked: with(cart, header("x-cohort", "c")), want: carrying{stray: true}},
		"OneGone": {
			reason: "somebody has taken one of two rules away", raised: b, asked: b,
			edit: func(u *unstructured.Unstructured) { set(u, rules(u)[:4]) },
			want: carrying{some: true},
		},
		"Outdated": {
			reason: "the user's rule has changed in what does not tell requests apart", raised: b, asked: b,
			edit: func(u *unstructured.Unstructured) {
				rules(u)[0].(map[string]any)["timeouts"] = map[string]any{"request": "9s"}
			},
			want: carrying{some: true},
		},
		"Widened": {
			reason: "somebody lets more requests match", raised: b, asked: b,
			edit: func(u *unstructured.Unstructured) {
				rules(u)[3].(map[string]any)["matches"] = []any{map[string]any{"name": "x-cohort", "value": "all"}}
			},
			want: carrying{some: true, stray: true},
		},
		"Mirror":      {reason: "all rules mirror", raised: with(cart, mirror(20)), asked: with(cart, mirror(20)), want: carrying{some: true, whole: true}},
		"OtherMirror": {reason: "the share is another", raised: with(cart, mirror(20)), asked: with(cart, mirror(50)), want: carrying{stray: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, versions := run(t, shop(t), tc.raised, raising(500, 1))
			u := last(versions).DeepCopy()
			if tc.edit != nil {
				tc.edit(u)
			}
			r := newRoute(plain("HTTPRoute"), u, tc.asked.Routes[0], tc.asked)
			if diff := cmp.Diff(tc.want, r.carriesExtras(), cmp.AllowUnexported(carrying{})); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
			_, versions = run(t, u, tc.asked, func(r *route) ([]jsonpatch.Operation, error) {
				if ops, err := r.lower(500, atMost(500), 2); len(ops) > 0 || err != nil {
					return ops, err
				}
				return r.raise(500, 2)
			})
			got := newRoute(plain("HTTPRoute"), last(versions), tc.asked.Routes[0], tc.asked).carriesExtras()
			if asked := tc.asked.Extras != nil; got.whole != asked || got.some != asked || got.stray {
				t.Errorf("\n%s\nafter a raise the route carries %+v", tc.reason, got)
			}
		})
	}
}

// TestOwnersOfMade: rules are told apart by the whole name of their owner.
func TestOwnersOfMade(t *testing.T) {
	for name, want := range map[string]string{
		matched.name(0, "web"): "web", matched.name(12, "web"): "web", matched.name(0, "web-2"): "web-2",
		keepCanary.name(3, "web"): "web", draw.name(0, "web"): "web", "weir-0x-web": "", "weir-web": "", "weir--web": "", "weir-x-web": "", "web": "", "": "",
	} {
		if got := madeFor(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}

func TestCookiePattern(t *testing.T) {
	cases := map[string]struct {
		reason string
		match  v1alpha1.ValueMatch
		header string
		want   bool
	}{
		"Alone":     {"the only cookie", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "cohort=b", true},
		"First":     {"others follow", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "cohort=b; x=y", true},
		"Last":      {"others come before", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "x=y; cohort=b", true},
		"Tight":     {"some clients leave the space away", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "x=y;cohort=b;z=1", true},
		"Longer":    {"another value that begins alike", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "cohort=bb", false},
		"OtherName": {"another name that ends alike", v1alpha1.ValueMatch{Name: "cohort", Value: "b"}, "my-cohort=b", false},
		"Quoted":    {"characters of expressions are themselves", v1alpha1.ValueMatch{Name: "c.x", Value: "a+b"}, "cXx=aab", false},
		"Expression": {
			"an expression is for the whole value",
			v1alpha1.ValueMatch{Type: v1alpha1.MatchRegularExpression, Name: "cohort", Value: "b|c"}, "cohort=c", true,
		},
		"ExpressionEnds": {
			"and no more than that",
			v1alpha1.ValueMatch{Type: v1alpha1.MatchRegularExpression, Name: "cohort", Value: "b|c"}, "cohort=d; b", false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := regexp.MustCompile(CookiePattern(tc.match)).MatchString(tc.header); got != tc.want {
				t.Errorf("%s: %q in %q: got %t", tc.reason, CookiePattern(tc.match), tc.header, got)
			}
		})
	}
}

// TestExtrasRefused: what a kind of route cannot do is said before a release begins.
func TestExtrasRefused(t *testing.T) {
	target := cart
	faulty := header("x-cohort", "b")
	faulty.Fault = &v1alpha1.Fault{Type: v1alpha1.FaultAbort, Abort: &v1alpha1.FaultAborted{HTTPStatus: 503}, Weight: 10}
	target.Planned = []*v1alpha1.Extras{mirror(10), faulty}
	err := newRoute(plain("HTTPRoute"), shop(t), target.Routes[0], target).unsupported(0)
	var unsupported *providers.UnsupportedError
	if !errors.As(err, &unsupported) || unsupported.Field != `spec.rules[name="cart"].fault` {
		t.Errorf("error is %v, want one about the fault", err)
	}
}
