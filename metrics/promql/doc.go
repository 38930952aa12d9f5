// Package promql reads and makes the PromQL of analysis templates: selectors of
// counters, and queries with placeholders.
//
// It stands on the parser of Prometheus itself, so that what is refused here is
// what a server would refuse, with the same words, without a server. Text is
// never put together by hand: values go in as label matchers or as string
// literals, which the code quotes. Whatever a value holds, it stays one value.
//
// Everything here is pure and safe for use by several goroutines.
package promql
