package conformance

import "slices"

// Capability is something that a provider can do, in the words of the documentation's
// table.
type Capability string

// Capabilities that the suites show, in the order of the table.
const (
	Weights          Capability = "Weights"
	UserWeights      Capability = "Weights of yours in a rule are kept"
	RuleNames        Capability = "Rules by name"
	SharedRoutes     Capability = "Several Rollouts on one route"
	MatchHeaders     Capability = "Matches of headers"
	MatchCookies     Capability = "Matches of cookies"
	MatchQueryParams Capability = "Matches of query parameters"
	Mirrors          Capability = "Mirror"
	Faults           Capability = "Fault"
	StickySessions   Capability = "Sticky sessions"
	GRPC             Capability = "gRPC"
	TLSAndTCP        Capability = "TLS and TCP"
	KeptInWrites     Capability = "Kept in writes of GitOps tools"
	SaysInForce      Capability = "Says what is in force"
	Measured         Capability = "Measured with requests"
)

// AllCapabilities in the order of the table.
func AllCapabilities() []Capability {
	return []Capability{
		Weights, UserWeights, RuleNames, SharedRoutes, MatchHeaders, MatchCookies, MatchQueryParams, Mirrors, Faults,
		StickySessions, GRPC, TLSAndTCP, KeptInWrites, SaysInForce, Measured,
	}
}

// shownBy are the capabilities that each test shows by passing. What the extras of a
// step need is told by their name; what cannot be done is refused in the same test.
func (c Capabilities) shownBy(kind, test string) []Capability {
	switch test {
	case "RaiseAndRestore":
		return []Capability{Weights}
	case "MixedRules":
		return []Capability{UserWeights}
	case "RuleNames":
		return []Capability{RuleNames}
	case "TwoOwners":
		return []Capability{SharedRoutes}
	case "NoDrift":
		return []Capability{KeptInWrites}
	case "Acceptance":
		return []Capability{SaysInForce}
	case "Extras":
		return c.shownByExtras(kind)
	case "Sessions":
		if slices.Contains(c.Sticky, kind) {
			return []Capability{StickySessions}
		}
		return nil
	default:
		return nil
	}
}

// shownByExtras are the capabilities that extras need which are possible.
func (c Capabilities) shownByExtras(kind string) []Capability {
	needed := map[string]Capability{
		"headers": MatchHeaders, "cookies": MatchCookies, "queryParams": MatchQueryParams, "mirror": Mirrors, "abort": Faults,
	}
	var out []Capability
	for name, extras := range c.possible(kind) {
		if shown, ok := needed[name]; ok && extras.can {
			out = append(out, shown)
		}
	}
	return out
}
