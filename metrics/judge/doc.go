// Package judge turns counters into verdicts. It is pure: equal input gives
// equal output, so a verdict can be checked and repeated from the same samples.
//
// # From counters to counts
//
// A Counter reads the raw samples of one counter. It never uses rates, which
// are extrapolated, are no whole numbers and lose the first increments of a new
// series. A counter that falls was reset and began at zero again. Gaps lose no
// events: the next sample has them.
//
// # The test of a limit
//
// The question is whether the share p of bad events exceeds a limit p0, asked
// again after each scrape for as long as the release lasts. A test that is made
// for one look would in the end fail every version. So the evidence is a test
// martingale: for an alternative whose odds are r > 1 times those of the limit,
// x bad of n events have the likelihood ratio
//
//	E_r(x, n) = r^x / (1 + (r-1) p0)^n
//
// whose expectation, one more event at a time, does not grow as long as p <= p0.
// The same holds for a mixture of them, over a fixed set of r, and over the
// windows from which events are counted anew (so that a fault which appears late
// is not hidden by the good data before it; Shiryaev's mixture). By Ville's inequality the mixture
// ever reaches 1/alpha with probability at most alpha, however often and
// whenever it is looked at: that is the failure rule, and alpha is the bound on
// false alarms over the whole release. Inverting it gives a lower bound on p
// that holds at all times together, LowerBound.
//
// Ville, Étude critique de la notion de collectif (1939), chapter 5; Robbins and
// Siegmund, Boundary crossing probabilities for the Wiener process and sample
// sums (1970), for the mixture; Howard, Ramdas, McAuliffe and Sekhon,
// Time-uniform, nonparametric, nonasymptotic confidence sequences (2021), for
// the state of the art.
//
// To pass, a version must prove something too: that it is not much worse than
// the limit. The mirrored martingale, with r < 1, tests p >= p1, where the odds
// of p1 are three times those of the limit, and p1 is at least half a percent
// point above it. A version passes when that is refuted at beta (so one as bad
// as p1 passes with probability at most beta, again whenever it is looked at),
// and the share seen does not exceed the limit. So the requests that a pass
// needs follow from the limit: about 110 without a bad one for 1 %, 560 for
// 0.1 %.
//
// Both rest on events that are independent, given the version. Events that come
// in clumps, such as retries, weaken the bound. A failure therefore also needs
// MinBad bad events, unless the limit is zero.
package judge
