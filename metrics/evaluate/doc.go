// Package evaluate turns the metrics of analysis templates into a verdict.
//
// A verdict rests on no state. It looks at raw samples since the canary was first
// exposed, and at the values of queries at points of a fixed grid from then on,
// all of which can be read again: a controller that was restarted, or another
// one, comes to the same verdict at the same time. What is remembered between
// looks are sums of samples that no longer change, to save reading them again.
//
// # What a verdict means
//
//   - Fail: there is evidence that the version is bad. A Ratio whose evidence
//     against the limit reaches 100:1 divided by the number of required Ratio
//     metrics, so that of a hundred good releases at most one fails for all of
//     them together; a Condition that is bad in failAfter of the last outOf looks.
//   - NoData: the source does not answer, its samples are old, or the answer is
//     no number. Nothing passes and nothing fails.
//   - Inconclusive: sound data, but so few that no failure could have shown: a
//     canary without requests, a Condition with fewer looks than failAfter.
//   - NoFailure: sound data, no evidence of a failure, not enough for a Pass.
//   - Pass: evidence that the version is good.
//
// Of several required metrics the worst counts, in this order. Advisory metrics
// are shown and do not count.
//
// The verdict since the release began can only fail; what a step needs is judged
// by what came since that step's exposure was verified.
package evaluate
