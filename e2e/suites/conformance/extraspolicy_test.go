package conformance

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/providers"
	"github.com/weir-dev/weir/providers/conformance"
	"github.com/weir-dev/weir/providers/gatewayapi"
	"github.com/weir-dev/weir/providers/istio"
)

// extrasScene is a route of one kind with three rules, two of them web's, of which
// every write is what the policy makes of a manifest.
type extrasScene struct {
	kind    string
	dialect conformance.Dialect
	list    string
	// matches, backends and mirrors are fields of a rule.
	matches, backends, mirrors string
	provider                   func(client.Client) providers.Provider
	// rule of a user's, to a Service, for requests with a header of this value.
	rule func(name, value, service string) map[string]any
	// mirror to a Service.
	mirror func(service string) map[string]any
}

func extrasScenes() []extrasScene {
	return []extrasScene{{
		kind: "HTTPRoute", dialect: gatewayRoutes{}, list: "rules", matches: "matches", backends: "backendRefs", mirrors: "filters",
		provider: func(c client.Client) providers.Provider { return gatewayapi.New(c, c) },
		rule: func(name, value, service string) map[string]any {
			return map[string]any{
				"name":        name,
				"matches":     []any{map[string]any{"headers": []any{map[string]any{"name": "x-rule", "value": value}}}},
				"backendRefs": []any{map[string]any{"name": service, "port": int64(80)}},
			}
		},
		mirror: func(service string) map[string]any {
			return map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": map[string]any{"name": service, "port": int64(80)}}}
		},
	}, {
		kind: virtualServiceKind, dialect: virtualServices{lists: []string{"http"}}, list: "http", matches: "match", backends: "route", mirrors: "mirrors",
		provider: func(c client.Client) providers.Provider { return istio.New(c, c) },
		rule: func(name, value, service string) map[string]any {
			return map[string]any{
				"name":  name,
				"match": []any{map[string]any{"headers": map[string]any{"x-rule": map[string]any{"exact": value}}}},
				"route": []any{map[string]any{"destination": map[string]any{"host": service}}},
			}
		},
		mirror: func(service string) map[string]any {
			return map[string]any{"destination": map[string]any{"host": service}}
		},
	}}
}

// rules of an object, not copied.
func (s extrasScene) rules(u *unstructured.Unstructured) []any {
	spec, _ := u.Object["spec"].(map[string]any)
	list, _ := spec[s.list].([]any)
	return list
}

// set the rules of an object.
func (s extrasScene) set(u *unstructured.Unstructured, rules ...any) {
	u.Object["spec"].(map[string]any)[s.list] = rules
}

// manifest of a route of three rules.
func (s extrasScene) manifest(namespace string) *unstructured.Unstructured {
	u := s.dialect.Manifest(conformance.Route{Kind: s.kind, Namespace: namespace, Name: "shop"})
	s.set(u, s.rule("web", "0", "web"), s.rule("pay", "1", "pay"), s.rule("web-too", "2", "web"))
	return u
}

// outline of an object's rules: their names, in their order, with the Services that
// they mirror to.
func (s extrasScene) outline(u *unstructured.Unstructured) string {
	var out []string
	for _, item := range s.rules(u) {
		rule, _ := item.(map[string]any)
		text := fmt.Sprint(rule["name"])
		mirrors, _ := rule[s.mirrors].([]any)
		for _, m := range mirrors {
			mirror, _ := m.(map[string]any)
			to, _, _ := unstructured.NestedString(mirror, "requestMirror", "backendRef", "name")
			host, _, _ := unstructured.NestedString(mirror, "destination", "host")
			if to+host != "" {
				text += ">" + to + host
			}
		}
		out = append(out, text)
	}
	return strings.Join(out, " ")
}

// extrasCase is one write of a manifest that has changed.
type extrasCase struct {
	reason string
	change func(s extrasScene, u *unstructured.Unstructured)
	// matched and mirrored are the outlines with a step that has matches, and one that
	// has a mirror, by the kind of the route.
	matched, mirrored map[string]string
	// refused says that such a route cannot be split.
	refused bool
}

// placed gives the outlines where rules are in order, and where they are not.
func placed(ordered, plain string) map[string]string {
	return map[string]string{virtualServiceKind: ordered, "HTTPRoute": plain}
}

// alike is one outline for all kinds.
func alike(outline string) map[string]string { return placed(outline, outline) }

func extrasCases() map[string]extrasCase {
	all := placed("weir-0-web web pay weir-2-web web-too", "web pay web-too weir-0-web weir-2-web")
	mirrored := alike("web>web-canary pay web-too>web-canary")
	rule := func(s extrasScene, u *unstructured.Unstructured, i int) map[string]any {
		return s.rules(u)[i].(map[string]any)
	}
	return map[string]extrasCase{
		"Again": {reason: "the same manifest takes nothing away", matched: all, mirrored: mirrored},
		"OtherEdit": {
			reason:  "an edit that does not tell requests apart leaves what was made for the rule",
			change:  func(s extrasScene, u *unstructured.Unstructured) { s.dialect.Annotate(u, "web", 1) },
			matched: all, mirrored: mirrored,
		},
		"OtherMatch": {
			reason: "what was made for a rule with other requests is out of date",
			change: func(s extrasScene, u *unstructured.Unstructured) {
				rule(s, u, 0)[s.matches] = s.rule("", "9", "web")[s.matches]
			},
			matched:  placed("web pay weir-2-web web-too", "web pay web-too weir-2-web"),
			mirrored: alike("web pay web-too>web-canary"),
		},
		"OtherBackend": {
			reason: "a rule that does not go to the workload any more has nothing of its canary",
			change: func(s extrasScene, u *unstructured.Unstructured) {
				rule(s, u, 2)[s.backends] = s.rule("", "", "pay")[s.backends]
			},
			matched:  placed("weir-0-web web pay web-too", "web pay web-too weir-0-web"),
			mirrored: alike("web>web-canary pay web-too"),
		},
		"Renamed": {
			reason:   "a name says which rules are split",
			change:   func(s extrasScene, u *unstructured.Unstructured) { rule(s, u, 0)["name"] = "front" },
			matched:  placed("front pay weir-2-web web-too", "front pay web-too weir-2-web"),
			mirrored: alike("front pay web-too>web-canary"),
		},
		"Inserted": {
			reason: "rules that have moved are others, and those before them are not",
			change: func(s extrasScene, u *unstructured.Unstructured) {
				s.set(u, slices.Insert(s.rules(u), 1, any(s.rule("new", "7", "pay")))...)
			},
			matched:  placed("weir-0-web web new pay web-too", "web new pay web-too weir-0-web"),
			mirrored: alike("web>web-canary new pay web-too"),
		},
		"Removed": {
			reason:   "nothing comes back for a rule that is gone",
			change:   func(s extrasScene, u *unstructured.Unstructured) { s.set(u, s.rules(u)[:2]...) },
			matched:  placed("weir-0-web web pay", "web pay weir-0-web"),
			mirrored: alike("web>web-canary pay"),
		},
		"OwnMirror": {
			reason: "a mirror of the user's is the user's",
			change: func(s extrasScene, u *unstructured.Unstructured) {
				rule(s, u, 0)[s.mirrors] = []any{s.mirror("audit")}
			},
			matched:  placed("weir-0-web web>audit pay weir-2-web web-too", "web>audit pay web-too weir-0-web weir-2-web"),
			mirrored: alike("web>audit>web-canary pay web-too>web-canary"),
		},
		"Off": {
			reason: "the label set to off lets every write through",
			change: func(_ extrasScene, u *unstructured.Unstructured) {
				u.SetLabels(map[string]string{v1alpha1.SplitAnnotation: "off"})
			},
			matched:  alike("web pay web-too"),
			mirrored: alike("web pay web-too"),
		},
		"NoRules": {
			reason:   "a route may lose its rules",
			change:   func(s extrasScene, u *unstructured.Unstructured) { delete(u.Object["spec"].(map[string]any), s.list) },
			matched:  placed("", "<nil>"), // the API has a rule of its own
			mirrored: placed("", "<nil>"),
			refused:  true,
		},
	}
}

// TestSplitPolicyOfExtras is what the policy makes of manifests that know of no rule
// and no mirror of Weir's.
func TestSplitPolicyOfExtras(t *testing.T) {
	experiment := &v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: "b"}}}}}
	shadow := &v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 20}}
	for _, s := range extrasScenes() {
		for name, tc := range extrasCases() {
			t.Run(s.kind+"/"+name, func(t *testing.T) {
				t.Parallel()
				s.replaced(t, tc, experiment, tc.matched[s.kind])
				s.replaced(t, tc, shadow, tc.mirrored[s.kind])
			})
		}
	}
}

// replaced checks what a manifest becomes that replaces a route with extras.
func (s extrasScene) replaced(t *testing.T, tc extrasCase, extras *v1alpha1.Extras, want string) {
	t.Helper()
	written := s.manifest(newNamespace(t, sandbox))
	users, c := user(t, sandbox), weir(t, sandbox)
	live := written.DeepCopy()
	if err := users.Create(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	target := webOn(live.GetNamespace())
	target.Routes[0].Kind = s.kind
	target.Extras, target.Planned = extras, []*v1alpha1.Extras{extras}
	if err := s.provider(c).Raise(t.Context(), target, 0, 1, nil); err != nil {
		t.Fatal(err)
	}
	if tc.change != nil {
		tc.change(s, written)
	}
	err := harness.Edit(t.Context(), users, live, func(u *unstructured.Unstructured) {
		u.Object["spec"] = written.Object["spec"]
		u.SetLabels(written.GetLabels())
		u.SetAnnotations(nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, s.outline(live)); diff != "" {
		t.Errorf("%s\nwith extras %+v (-want +got):\n%s", tc.reason, extras, diff)
	}
	switch o, err := s.provider(c).Observe(t.Context(), target, true); {
	case (err != nil) != tc.refused:
		t.Errorf("%s\nthe route is refused: %v", tc.reason, err)
	case o.Stray:
		t.Errorf("%s\nsomething came back that is not to be: %+v", tc.reason, o)
	}
}

// TestSplitPolicyHasNoRoomForRules: a route is not made larger than its API admits, so
// that the edit which fills it is not refused.
func TestSplitPolicyHasNoRoomForRules(t *testing.T) {
	s := extrasScenes()[0]
	cases := map[string]struct {
		reason        string
		rules, values int // rules that are added, and matches of each
		want          bool
	}{
		"Room":          {"there is room", 11, 2, true},
		"FullOfRules":   {"a route has at most 16 rules", 13, 1, false},
		"FullOfMatches": {"its rules have at most 128 matches", 4, 31, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			written := s.manifest(newNamespace(t, sandbox))
			users, c := user(t, sandbox), weir(t, sandbox)
			if err := users.Create(t.Context(), written.DeepCopy()); err != nil {
				t.Fatal(err)
			}
			target := webOn(written.GetNamespace())
			target.Routes[0].Kind = s.kind
			target.Extras = &v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: "b"}}}}}
			if err := s.provider(c).Raise(t.Context(), target, 0, 1, nil); err != nil {
				t.Fatal(err)
			}
			for i := range tc.rules {
				rule := s.rule(fmt.Sprintf("more-%d", i), "", "pay")
				var matches []any
				for j := range tc.values {
					one, _ := s.rule("", fmt.Sprintf("%d-%d", i, j), "")[s.matches].([]any)
					matches = append(matches, one...)
				}
				rule[s.matches] = matches
				s.set(written, append(s.rules(written), rule)...)
			}
			live := written.DeepCopy()
			if err := harness.Edit(t.Context(), users, live, func(u *unstructured.Unstructured) { u.Object["spec"] = written.Object["spec"] }); err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if got := strings.Contains(s.outline(live), "weir-"); got != tc.want {
				t.Errorf("%s: rules of Weir's are back: %t", tc.reason, got)
			}
		})
	}
}

// TestSplitPolicyBesideMirror: an older field, beside which Istio admits no list of
// mirrors, keeps the policy from giving the rule one.
func TestSplitPolicyBesideMirror(t *testing.T) {
	s := extrasScenes()[1]
	s.replaced(t, extrasCase{
		reason: "a VirtualService with both would be refused",
		change: func(s extrasScene, u *unstructured.Unstructured) {
			s.rules(u)[0].(map[string]any)["mirror"] = map[string]any{"host": "audit"}
		},
		refused: true,
	}, &v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: 20}}, "web pay web-too>web-canary")
}
