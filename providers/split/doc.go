// Package split is what providers share that split traffic by the weights of a
// route's backends, as most do: the writing of weights, whatever kind of route
// they stand in. What a kind looks like, and what its data plane says of it, each
// provider tells by a Dialect.
//
// # What is written
//
// In every rule that names the user's Service, the entry of weight W becomes
// two: the user's own, and a copy of it (port, filters and all) at the end of
// the list that names the canary Service. Nothing else of the rule changes:
//
//	backendRefs:                    backendRefs:
//	- name: web                     - name: web
//	  port: 80                        port: 80
//	  weight: 1                       weight: 95
//	                                - name: web-canary
//	                                  port: 80
//	                                  weight: 5
//
// Lists in routes are atomic, so server-side apply cannot own one entry of
// them. Hence JSON patches, each of one rule, with `test` operations on the
// entries it touches and the resourceVersion it rests on.
//
// Any entry that names the canary Service counts as Weir's, whoever wrote it.
//
// # Extras
//
// What a step does beside the weight is told by its form alone, so that nothing has to
// be recorded. For requests that match, each rule gets another one beside it, named
// weir-<place>-<owner>: a copy with more conditions and with entries for the canary
// alone. A mirror is an entry in the rule itself that names the canary's Service.
// Where the first rule that is met counts, the copy stands right before its rule. With
// extras the canary's entries are there at weight 0, too.
//
// # The split policy
//
// The chart's admission policies put what Weir wrote into the writes of others. Weights
// and entries of the canary go into every rule. Rules that Weir made, and mirrors, come
// back as they were beside the user's rule in the same place, if it has the same name,
// the same matches and the same backends as before. Beside any other they are left out,
// and the controller makes them anew. A test on the real API server holds both to the
// same result: no tool that compares sees a difference. Without the policy, all is gone
// until the controller puts it back.
//
// # Sessions
//
// Users are kept with their version by rules of Weir's, too, for the user's rule 0:
//
//	weir-0c-<owner>  has the cookie canary-<release>: all to the canary
//	weir-0s-<owner>  stable-<release>-<weight>, of this weight: all to stable
//	weir-0r-<owner>  stable-<release>-<any other>: drawn again, see Session.Again
//	weir-0d-<owner>  all others: drawn at the weight
//
// The release is the canary's revision and the release's number, so that another try of
// the same template begins with nobody.
// The two that draw have answers set the cookie. They are changed in the write that
// changes the weight of the user's rule, so that nobody's session is lost on the way.
// The last one asks for no more than the user's rule and stands right before it; that
// rule is split as ever, and serves where somebody takes Weir's rules away.
//
// # Numbers
//
// Weights in a route are relative to each other. To split an entry finely all
// weights of its rule are multiplied by one factor: the first of 1, 100, 1,000
// and 10,000 that gives whole numbers, as far as the limit of 1,000,000 allows.
// So the shares between the user's backends never move, and at 0 % and 100 %
// the numbers are the user's own. See grid.go.
//
// # Annotations
//
// Several Rollouts may share a route, so each annotation is a list by owner.
//
//	weir.dev/split           "<owner> <stable> <canary> <weight> <rules>", joined by ";":
//	                         weight in parts per 10,000; rules are names joined
//	                         by ",", or * for all. The split policy reads it.
//	weir.dev/seq             "<owner>=<stamp>", joined by ";"
//	weir.dev/split-original  JSON: the user's weights of each split rule, so that
//	                         they come back as they were written
//
// A route with a split also has the label weir.dev/split=active, by which the
// policy selects it. An operator may set it to off, and the policy leaves the
// route alone; what the route carries then is what its rules say.
package split
