// Package prometheus reads metrics from a server with the query API of
// Prometheus.
//
// The server is not trusted to be well: it may be slow, lie, answer in part or
// without end. So each query has a time-out, waits for its turn in a fair queue,
// and reads no more than a limit; and whatever is not exactly the answer to the
// question is an error with a reason in a word. No error shows a body, a header
// or a secret. What a server says is wrong with a query is shown, shortened.
//
// Counters are read as the raw samples that were stored: a range selector in an
// instant query gives those. The pods and the namespace are added to selectors
// as conditions, by code.
package prometheus
