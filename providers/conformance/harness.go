// Package conformance is the suite that every traffic provider must pass on a
// real API server.
//
// It checks the contract of package providers: that calls are idempotent and may
// be cut off anywhere; that lowering is monotone on what is there; that stamps
// fence; that every version of every object keeps each rule whole and everything
// that is not Weir's; that all routes are lowered before any is raised; and that
// every rule comes back as the user wrote it, whatever they did meanwhile. In the
// last part GitOps tools work against the provider all the time.
//
// A provider brings a Harness. What it cannot do it says in its Capabilities, so
// that nothing is skipped in silence.
package conformance

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers"
)

// Capabilities of a provider and of the cluster that it is tried on. The zero
// value is a provider that only observes.
type Capabilities struct {
	// Kinds of route that the provider writes. None: it has nothing to write.
	Kinds []string
	// OneRule: an object is one rule rather than a list of them. Of the rules of a
	// Route, Manifest is given the first.
	OneRule bool
	// Unwritten: a route that says nothing of backends has one. Whoever applies it
	// leaves the split alone, and whoever takes the split out of it leaves no name.
	Unwritten bool
	// RuleNames: single rules of a route can be named.
	RuleNames bool
	// SharedRoutes: several Rollouts can split rules of one route.
	SharedRoutes bool
	// MixedRules: a rule can have backends that are not the workload's, and
	// weights that the user gave.
	MixedRules bool
	// Matches, Mirror and Fault: what steps may do beside the weight.
	Matches, Mirror, Fault bool
	// QueryParams are the kinds of route whose matches may be of these.
	QueryParams []string
	// Sticky are the kinds of route that keep users with one version. Others are split
	// by their weights alone, or refused.
	Sticky []string
	// Acceptance: the objects' status says what the data plane accepted.
	Acceptance bool
	// Reported: the data plane has put its name into the status of every route, by
	// which the provider knows it.
	Reported bool
	// SplitPolicy: an admission policy of the cluster puts the split into the
	// writes of others. Without one the provider must say who undid it.
	SplitPolicy bool
}

// Harness is what a provider brings to be tried.
type Harness struct {
	// New makes the provider on a client. It is made anew after each crash.
	New func(client.Client) providers.Provider
	// Weir is a client of Weir's own user, User one of somebody else, who may
	// write routes and their status.
	Weir, User client.WithWatch
	// Namespace makes a namespace for one test.
	Namespace func(t *testing.T) string
	// Dialect of the provider's routes.
	Dialect Dialect
	// Capabilities of provider and cluster.
	Capabilities Capabilities
	// Shown is told what a passed test has shown of a kind of route, from several
	// goroutines; nil for nobody.
	Shown func(kind string, shown Capability)
}

// Dialect turns routes into the objects of one API and back.
type Dialect interface {
	// Manifest is the route as a user keeps it in Git. Where names of objects mean
	// something it makes one of the route's name, and leaves one that it has made.
	Manifest(Route) *unstructured.Unstructured
	// Rules reads the rules of an object.
	Rules(*unstructured.Unstructured) []Rule
	// TwinRest is what a canary's entry has of the Rest of the user's entry beside
	// it: all that is not about the user's Service alone.
	TwinRest(rest string) string
	// Annotate makes a change in the object's rule of this name that has nothing
	// to do with weights, such as a timeout; n tells changes apart.
	Annotate(object *unstructured.Unstructured, rule string, n int)
	// Accept writes into the object's status that the data plane took its
	// present generation.
	Accept(*unstructured.Unstructured)
}

// Route is an object with rules.
type Route struct {
	Kind, Namespace, Name string
	Rules                 []Rule
}

// Rule of a route.
type Rule struct {
	Name     string
	Backends []Backend
	// Rest is everything else in the rule, as canonical text. Manifest ignores
	// it.
	Rest string
}

// Backend of a rule.
type Backend struct {
	Service string
	Weight  int64
	// Rest is everything else in the backend, as canonical text. Manifest
	// ignores it.
	Rest string
}

// Run tries the provider.
func Run(t *testing.T, h Harness) {
	t.Helper()
	if len(h.Capabilities.Kinds) == 0 {
		t.Run("Observes", h.testObserverOnly)
		return
	}
	for _, kind := range h.Capabilities.Kinds {
		t.Run(kind, func(t *testing.T) {
			for name, test := range h.tests() {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					t.Cleanup(func() { h.show(t, kind, name) })
					test(t, newFixture(t, h, kind))
				})
			}
		})
	}
}

// show what a test has shown, unless it has failed. The fixture's witness has spoken
// before.
func (h Harness) show(t *testing.T, kind, test string) {
	t.Helper()
	if h.Shown == nil || t.Failed() {
		return
	}
	for _, shown := range h.Capabilities.shownBy(kind, test) {
		h.Shown(kind, shown)
	}
}

// tests by name, as far as they apply.
func (h Harness) tests() map[string]func(*testing.T, *fixture) {
	tests := map[string]func(*testing.T, *fixture){
		"Untouched":            testUntouched,
		"RaiseAndRestore":      testRaiseAndRestore,
		"LowerIsMonotone":      testLowerIsMonotone,
		"LowerOnlyStamps":      testLowerOnlyStamps,
		"Fencing":              testFencing,
		"DeposedLeader":        testDeposedLeader,
		"Confirm":              testConfirm,
		"OvertakenWrite":       testOvertakenWrite,
		"CrashAnywhere":        testCrashAnywhere,
		"UserEdits":            testUserEdits,
		"LowersBeforeRaising":  testLowersBeforeRaising,
		"TwoOwnersOfOneRule":   testTwoOwnersOfOneRule,
		"MissingRoute":         testMissingRoute,
		"NoRuleOfTheWorkload":  testNoRule,
		"UnderGitOps":          testUnderGitOps,
		"ChangesUnderGitOps":   testChangesUnderGitOps,
		"TakesBackUnderGitOps": testTakesBackUnderGitOps,
	}
	c := h.Capabilities
	tests["Extras"] = testExtras
	tests["Sessions"] = testSessions
	if len(c.Sticky) > 0 {
		tests["SessionsCrash"] = testSessionsCrash
		tests["SessionsUndone"] = testSessionsUndone
	}
	if !c.OneRule {
		tests["OneRuleAtATime"] = testOneRuleAtATime
	}
	if c.Matches {
		tests["ExtrasCrash"] = testExtrasCrash
		tests["ExtrasShared"] = testExtrasShared
		tests["ExtrasUndone"] = testExtrasUndone
		tests["ExtrasOutdated"] = testExtrasOutdated
	}
	if c.RuleNames {
		tests["RuleNames"] = testRuleNames
		tests["MissingRuleName"] = testMissingRuleName
	}
	if c.SharedRoutes {
		tests["TwoOwners"] = testTwoOwners
	}
	if c.MixedRules {
		tests["MixedRules"] = testMixedRules
	}
	if c.Acceptance {
		tests["Acceptance"] = testAcceptance
	}
	if c.SplitPolicy {
		tests["NoDrift"] = testNoDrift
	} else {
		tests["NamesForeignWriter"] = testNamesForeignWriter
	}
	return tests
}
