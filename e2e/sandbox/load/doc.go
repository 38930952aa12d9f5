// Package load is the sandbox's load generator and the reader of its log.
//
// The generator is open-loop: requests leave at their own times, evenly spaced
// or as a Poisson process, whether or not earlier ones have been answered.
// Latency counts from the time a request was due, so that a stall of the
// server (or of this process) shows in every request it delayed.
//
// Nothing is hidden. A request is sent once: the silent retries of net/http
// are turned off. Every request sent ends as exactly one Response, of code 0
// with a reason when no whole answer came. An arrival that was due but could
// not be sent (too many in flight, or the process was held up) is counted
// apart as unsent, since it says nothing about the server.
//
// The log is a text file of one JSON object a line: a header, then one bucket
// for every 100 ms, then the totals. A bucket has counts by version and code
// for people and jq, and each response with its time for Log, which answers
// questions such as the share of a version between two times or the first bad
// response after one. A log without its last line is one whose generator was
// killed or still runs; it can be read all the same.
package load
