package load

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Response is the end of one request: an answer, or the lack of one.
type Response struct {
	// At is when the last byte of the answer had come, or the request failed.
	At time.Time
	// Latency is the time from when the request was due until At.
	Latency time.Duration
	// Session is the number of the user, from 1; 0 where there are no sessions.
	Session int
	// Version and Pod are what the demo app said of itself; empty when the
	// answer is not the app's, but the gateway's own, or there is none.
	Version, Pod string
	// Code is the HTTP status code; of a gRPC call that failed, the HTTP code
	// that stands for its status; 0 when there was no whole answer.
	Code int
	// Reason says in a few fixed words why there was none, or which gRPC
	// status stands behind Code. It is empty for ordinary answers.
	Reason string
}

// Bad reports whether the user of this request got no good answer: none at
// all, or one with a code of 400 or above.
func (r Response) Bad() bool { return badCode(r.Code) }

// Lost reports whether the request got no whole answer.
func (r Response) Lost() bool { return r.Code == 0 }

// DueAt is when the request was due to be sent, which is when it was sent
// unless the generator was held up.
func (r Response) DueAt() time.Time { return r.At.Add(-r.Latency) }

func (r Response) key() Key { return Key{r.Version, r.Pod, r.Code, r.Reason} }

func badCode(code int) bool { return code < 200 || code >= 400 }

// Key is what responses are counted by; its fields are those of Response.
type Key struct {
	Version string `json:"version,omitempty"`
	Pod     string `json:"pod,omitempty"`
	Code    int    `json:"code"`
	Reason  string `json:"reason,omitempty"`
}

// Counts are numbers of responses. The nil map is a valid, empty one.
type Counts map[Key]int

// Where returns the counts whose key satisfies match.
func (c Counts) Where(match func(Key) bool) Counts {
	out := Counts{}
	for k, n := range c {
		if match(k) {
			out[k] = n
		}
	}
	return out
}

// Of returns the counts of one version.
func (c Counts) Of(version string) Counts {
	return c.Where(func(k Key) bool { return k.Version == version })
}

// Bad returns the counts of bad responses; see Response.Bad.
func (c Counts) Bad() Counts { return c.Where(func(k Key) bool { return badCode(k.Code) }) }

// Lost returns the counts of requests without a whole answer.
func (c Counts) Lost() Counts { return c.Where(func(k Key) bool { return k.Code == 0 }) }

// Total returns the number of responses.
func (c Counts) Total() int {
	total := 0
	for _, n := range c {
		total += n
	}
	return total
}

// Share returns the share of version among the responses that some version
// gave, and their number. Answers that no version gave, such as the gateway's
// own, are in neither. The share of no responses is NaN.
func (c Counts) Share(version string) (share float64, of int) {
	of = c.Where(func(k Key) bool { return k.Version != "" }).Total()
	return float64(c.Of(version).Total()) / float64(of), of
}

// ShareBounds returns the range that the measured share of `of` responses
// keeps to when each is drawn with probability p. Beyond either end the
// binomial distribution leaves no more than the normal one does beyond z
// standard deviations: the tails are summed exactly, since for a small p the
// normal distribution promises far less than what chance brings.
func ShareBounds(p float64, of int, z float64) (low, high float64) {
	rare := math.Erfc(z/math.Sqrt2) / 2
	most := atMost(p, of, rare)
	least := of - atMost(1-p, of, rare)
	return float64(least) / float64(of), float64(most) / float64(of)
}

// atMost returns the smallest number of hits that n draws of probability p
// exceed with a probability of at most rare.
func atMost(p float64, n int, rare float64) int {
	if p <= 0 {
		return 0
	}
	all, _ := math.Lgamma(float64(n + 1))
	beyond := 0.0 // the probability of more than k hits
	for k := n; k > 0; k-- {
		hits, _ := math.Lgamma(float64(k + 1))
		misses, _ := math.Lgamma(float64(n - k + 1))
		ways := all - hits - misses
		beyond += math.Exp(ways + float64(k)*math.Log(p) + xlogy(float64(n-k), 1-p))
		if beyond > rare {
			return k
		}
	}
	return 0
}

// xlogy returns x·ln(y), which is 0 for an x of 0 whatever y is.
func xlogy(x, y float64) float64 {
	if x == 0 {
		return 0
	}
	return x * math.Log(y)
}

// count is one entry of Counts in JSON.
type count struct {
	Key
	N int `json:"n"`
}

// MarshalJSON writes a sorted list of objects with version, pod, code, reason
// and n.
func (c Counts) MarshalJSON() ([]byte, error) {
	data, err := json.Marshal(c.sorted())
	if err != nil {
		return nil, fmt.Errorf("cannot encode counts: %w", err)
	}
	return data, nil
}

func (c Counts) sorted() []count {
	list := make([]count, 0, len(c))
	for k, n := range c {
		list = append(list, count{k, n})
	}
	slices.SortFunc(list, func(a, b count) int { return a.compare(b.Key) })
	return list
}

// byVersionAndCode returns the counts without the pods, sorted.
func (c Counts) byVersionAndCode() []count {
	sum := Counts{}
	for k, n := range c {
		k.Pod = ""
		sum[k] += n
	}
	return sum.sorted()
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Counts) UnmarshalJSON(data []byte) error {
	var list []count
	if err := json.Unmarshal(data, &list); err != nil {
		return fmt.Errorf("cannot decode counts: %w", err)
	}
	*c = Counts{}
	for _, e := range list {
		(*c)[e.Key] += e.N
	}
	return nil
}

func (k Key) compare(o Key) int {
	if d := strings.Compare(k.Version, o.Version); d != 0 {
		return d
	}
	if d := strings.Compare(k.Pod, o.Pod); d != 0 {
		return d
	}
	if d := k.Code - o.Code; d != 0 {
		return d
	}
	return strings.Compare(k.Reason, o.Reason)
}
