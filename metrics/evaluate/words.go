package evaluate

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/judge"
)

// count prints a number of events.
func count(n float64) string { return strconv.FormatFloat(math.Round(n), 'f', 0, 64) }

// number prints a value with as many digits as people read.
func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// fraction prints "41/820".
func fraction(bad, total float64) string { return count(bad) + "/" + count(total) }

// percent prints a share with about two digits: 12%, 5.0%, 0.13%.
func percent(share float64) string {
	switch p := share * 100; {
	case p >= 10:
		return strconv.FormatFloat(p, 'f', 0, 64) + "%"
	case p >= 1:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	default:
		return strconv.FormatFloat(p, 'g', 2, 64) + "%"
	}
}

// seenText is what was seen: "41 bad of 820 (5%), limit 1%".
func seenText(limit string, f judge.Finding) string {
	return fmt.Sprintf("%s bad of %s (%s), limit %s", count(f.Bad), count(f.Total), percent(f.Bad/f.Total), limit)
}

// failedText explains a failure.
func failedText(limit string, f judge.Finding, alpha float64) string {
	text := seenText(limit, f)
	if low := judge.LowerBound(f.Bad, f.Total, alpha); low > 0 {
		text += fmt.Sprintf(", at least %s for certain", percent(low))
	}
	return text
}

// unprovenText explains what neither fails nor passes.
func unprovenText(limit string, most float64, f judge.Finding) string {
	text := seenText(limit, f)
	switch {
	case f.Bad > most*f.Total:
		return text + ": above the limit, which may be chance"
	case f.Needed > 0:
		return text + fmt.Sprintf(": a pass needs about %s in all", count(f.Needed))
	}
	return text
}

// missingText explains why a look has no value.
func missingText(why metrics.Failure) string {
	switch why {
	case metrics.NoSeries:
		return "the query has no value"
	case metrics.SeveralSeries:
		return "the query has several values where one is needed: put an aggregation such as sum() around it"
	case metrics.NotANumber:
		return "the value of the query is not a finite number: does it divide by zero?"
	case metrics.StaleData:
		return "the newest scrape is too old"
	default:
		return "the query has no usable value"
	}
}

// bounded makes a text fit for a status: printable, and not longer than the API
// admits.
func bounded(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if len(text) <= most {
		return text
	}
	const dots = "..."
	cut := most - len(dots)
	for cut > 0 && text[cut]&0xC0 == 0x80 {
		cut-- // Not within a character.
	}
	return text[:cut] + dots
}
