package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// Summary is what the demo measured. docs/figures.md describes it; the terminal
// prints it; the file has it as JSON.
type Summary struct {
	BadScrapesToZero         float64 `json:"bad_scrapes_to_zero"`
	BadSecondsToZero         float64 `json:"bad_seconds_to_zero"`
	BadExposedRequests       int     `json:"bad_exposed_requests"`
	RequestsTotal            int     `json:"requests_total"`
	RequestsFailedByStable   int     `json:"requests_failed_by_stable"`
	RequestsLost             int     `json:"requests_lost"`
	BypassRequestsToCanary   int     `json:"bypass_requests_to_canary"`
	PodsRestartedByPromotion int     `json:"pods_restarted_by_promotion"`
	Steps                    []Step  `json:"steps"`
	Versions                 []Count `json:"versions"`
	Promises                 []Check `json:"promises"`
}

// Step is one step of one release, as the load generator counted it.
type Step struct {
	// Release is the version that was released.
	Release string `json:"release"`
	// Weight is the percentage that the step asked for, Measured the one that was
	// counted, of Requests.
	Weight   float64 `json:"weight"`
	Measured float64 `json:"measured"`
	Requests int     `json:"requests"`
	// WithinBinomialError says whether Measured is where it would be if each
	// request were drawn with probability Weight.
	WithinBinomialError bool `json:"within_binomial_error"`
}

// Count is how many requests one version served.
type Count struct {
	Version  string `json:"version"`
	Requests int    `json:"requests"`
	Failed   int    `json:"failed"`
}

// Check is one thing that the demo promises, and whether it was so.
type Check struct {
	Promise string `json:"promise"`
	Kept    bool   `json:"kept"`
}

// deviations is how far, in standard deviations, a measured share may lie from
// its weight: with some eight steps a demo, four are exceeded by chance once in
// two thousand demos.
const deviations = 4

// scrapesAllowed is within how many scrapes of the evidence a bad version must
// have lost its traffic.
const scrapesAllowed = 3

// summarize counts what the recordings hold.
func summarize(users, beside *load.Log, bad, good *recording, evidence time.Time, scrape time.Duration) Summary {
	all, direct := users.All(), beside.All()
	s := Summary{
		RequestsTotal:            all.Total() + direct.Total(),
		PodsRestartedByPromotion: good.podsLost,
		BadScrapesToZero:         bad.zero.Sub(evidence).Seconds() / scrape.Seconds(),
		BadExposedRequests:       all.Of(bad.version).Total() + direct.Of(bad.version).Total(),
	}
	if first, ok := users.FirstBad(bad.began); ok {
		s.BadSecondsToZero = bad.zero.Sub(first.At).Seconds()
	}
	for _, log := range []load.Counts{all, direct} {
		s.RequestsLost += log.Where(func(k load.Key) bool { return k.Version == "" }).Total()
		s.RequestsFailedByStable += log.Bad().Where(func(k load.Key) bool { return k.Version != "" && k.Version != bad.version }).Total()
	}
	// The good version is no canary any more once it is being adopted.
	s.BypassRequestsToCanary = direct.Of(bad.version).Total() +
		beside.Between(good.began, good.adopted).Of(good.version).Total()
	for _, r := range []*recording{bad, good} {
		s.Steps = append(s.Steps, r.measure(users)...)
	}
	for _, version := range []string{"v1", bad.version, good.version} {
		s.Versions = append(s.Versions, Count{
			Version:  version,
			Requests: all.Of(version).Total() + direct.Of(version).Total(),
			Failed:   all.Of(version).Bad().Total() + direct.Of(version).Bad().Total(),
		})
	}
	s.Promises = s.check()
	return s
}

// check says which promises were kept.
func (s *Summary) check() []Check {
	shares := len(s.Steps) > 0
	for _, step := range s.Steps {
		shares = shares && step.WithinBinomialError
	}
	return []Check{
		{fmt.Sprintf("the bad version lost its traffic within %d scrapes of the evidence", scrapesAllowed), s.BadScrapesToZero <= scrapesAllowed},
		{"no request failed that a stable version served", s.RequestsFailedByStable == 0},
		{"no request was lost", s.RequestsLost == 0},
		{"no caller beside the route met a canary", s.BypassRequestsToCanary == 0},
		{"the promotion restarted no pod", s.PodsRestartedByPromotion == 0},
		{"the measured share was within binomial error of each weight", shares},
	}
}

// kept says whether all promises were.
func (s *Summary) kept() bool {
	for _, c := range s.Promises {
		if !c.Kept {
			return false
		}
	}
	return true
}

// print writes the summary for people.
func (s *Summary) print(w io.Writer) {
	fmt.Fprintf(w, "\n%d requests, counted by the load generator:\n", s.RequestsTotal)
	for _, v := range s.Versions {
		fmt.Fprintf(w, "  %-3s served %6d, failed %d\n", v.Version, v.Requests, v.Failed)
	}
	fmt.Fprintf(w, "\nThe bad version lost its traffic %.1f s after its first bad response,\n%.1f scrapes after the counters sufficed to tell.\n",
		s.BadSecondsToZero, s.BadScrapesToZero)
	fmt.Fprintf(w, "\nShare of users at each step:\n")
	for _, step := range s.Steps {
		fmt.Fprintf(w, "  %-3s asked for %5.1f %%, measured %5.1f %% of %d requests\n", step.Release, step.Weight, step.Measured, step.Requests)
	}
	fmt.Fprintf(w, "\nFailed though served by stable: %d. Lost: %d. Canary met beside the route: %d. Pods restarted by the promotion: %d.\n\n",
		s.RequestsFailedByStable, s.RequestsLost, s.BypassRequestsToCanary, s.PodsRestartedByPromotion)
	for _, c := range s.Promises {
		mark := "kept  "
		if !c.Kept {
			mark = "BROKEN"
		}
		fmt.Fprintf(w, "  %s  %s\n", mark, c.Promise)
	}
}

// width of the demo's text.
const width = 110

// folded is text in lines of at most the width, each with an indent.
func folded(text, indent string) string {
	var b strings.Builder
	used := width
	for _, word := range strings.Fields(text) {
		if used+1+len(word) > width {
			if b.Len() > 0 {
				b.WriteByte('\n')
			}
			b.WriteString(indent + word)
			used = len(indent) + len(word)
			continue
		}
		b.WriteString(" " + word)
		used += 1 + len(word)
	}
	return b.String()
}

// write writes the summary for machines.
func (s *Summary) write(path string) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("cannot write the figures: %w", err)
	}
	return nil
}
