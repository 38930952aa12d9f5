package v1alpha1

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// outcome is a result or the text of an error, so that one diff shows both.
type outcome[T any] struct {
	Value T
	Err   string
}

func outcomeOf[T any](v T, err error) outcome[T] {
	if err != nil {
		return outcome[T]{Err: err.Error()}
	}
	return outcome[T]{Value: v}
}

func TestParseWeight(t *testing.T) {
	number := func(i int32) *intstr.IntOrString { w := intstr.FromInt32(i); return &w }
	text := func(s string) *intstr.IntOrString { w := intstr.FromString(s); return &w }
	notAPercentage := func(s string) string {
		return fmt.Sprintf(`weight %q is not a percentage such as 5 or "0.1%%"`, s)
	}

	cases := map[string]struct {
		reason string
		weight *intstr.IntOrString
		want   outcome[int32]
	}{
		"Nil":          {"an absent weight is off", nil, outcome[int32]{Value: 0}},
		"Zero":         {"zero is a weight", number(0), outcome[int32]{Value: 0}},
		"Whole":        {"a number counts whole percent", number(5), outcome[int32]{Value: 500}},
		"Full":         {"the upper bound belongs to the range", number(100), outcome[int32]{Value: FullWeight}},
		"Negative":     {"a negative share is an error", number(-1), outcome[int32]{Err: "weight -1 is not between 0 and 100: it is in percent"}},
		"TooMuch":      {"more than everything is an error", number(101), outcome[int32]{Err: "weight 101 is not between 0 and 100: it is in percent"}},
		"Tenth":        {"one decimal is ten parts", text("0.1%"), outcome[int32]{Value: 10}},
		"Hundredth":    {"two decimals are the finest", text("0.01%"), outcome[int32]{Value: 1}},
		"TrailingZero": {"a trailing zero changes nothing", text("0.10%"), outcome[int32]{Value: 10}},
		"Printed":      {"what FormatWeight prints is read back", text("33.33%"), outcome[int32]{Value: 3333}},
		"FullText":     {"the upper bound as text", text("100%"), outcome[int32]{Value: FullWeight}},
		"AboveFull":    {"more than everything as text is an error", text("100.01%"), outcome[int32]{Err: `weight "100.01%" is not between 0% and 100%`}},
		"NoUnit":       {"text without its unit may mean a fraction or a percentage", text("0.1"), outcome[int32]{Err: notAPercentage("0.1")}},
		"TooFine":      {"a third decimal would be rounded in silence", text("0.001%"), outcome[int32]{Err: notAPercentage("0.001%")}},
		"Exponent":     {"floating point notation is not for people", text("1e1%"), outcome[int32]{Err: notAPercentage("1e1%")}},
		"NotANumber":   {"NaN would compare false with every bound", text("NaN%"), outcome[int32]{Err: notAPercentage("NaN%")}},
		"Empty":        {"no text is no weight", text(""), outcome[int32]{Err: notAPercentage("")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := outcomeOf(ParseWeight(tc.weight))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: ParseWeight(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFormatWeight(t *testing.T) {
	cases := map[string]struct {
		reason string
		weight int32
		want   string
	}{
		"Zero":      {"zero needs no decimals", 0, "0%"},
		"Hundredth": {"the finest weight keeps both decimals", 1, "0.01%"},
		"Tenth":     {"a trailing zero is left away", 10, "0.1%"},
		"Whole":     {"a whole percent needs no decimals", 2500, "25%"},
		"Full":      {"everything", FullWeight, "100%"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, FormatWeight(tc.weight)); diff != "" {
				t.Errorf("%s: FormatWeight(%d): -want, +got:\n%s", tc.reason, tc.weight, diff)
			}
		})
	}
}

// Status shows weights as text; every one of them must mean what was configured.
func TestEveryWeightSurvivesPrinting(t *testing.T) {
	for w := range FullWeight + 1 {
		printed := intstr.FromString(FormatWeight(w))
		got, err := ParseWeight(&printed)
		if err != nil || got != w {
			t.Fatalf("ParseWeight(FormatWeight(%d) = %q) = %d, %v", w, printed.StrVal, got, err)
		}
	}
}

func TestDurationParse(t *testing.T) {
	notADuration := func(s string) string {
		return fmt.Sprintf("duration %q is not of the form 90s, 10m or 1h30m", s)
	}
	cases := map[string]struct {
		reason   string
		duration Duration
		want     outcome[time.Duration]
	}{
		"Seconds":  {"a single unit", "90s", outcome[time.Duration]{Value: 90 * time.Second}},
		"Compound": {"units may be combined", "1h30m", outcome[time.Duration]{Value: 90 * time.Minute}},
		"Millis":   {"ms is milliseconds, not minutes", "250ms", outcome[time.Duration]{Value: 250 * time.Millisecond}},
		"Longest":  {"the longest value of the grammar fits", "99999h99999h99999h99999h", outcome[time.Duration]{Value: 4 * 99999 * time.Hour}},
		"Empty":    {"whether a default applies is the caller's to know", "", outcome[time.Duration]{Err: notADuration("")}},
		"Days":     {"days have no fixed length", "1d", outcome[time.Duration]{Err: notADuration("1d")}},
		"NoUnit":   {"a bare number has no unit", "90", outcome[time.Duration]{Err: notADuration("90")}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := outcomeOf(tc.duration.Parse())
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: Duration(%q).Parse(): -want, +got:\n%s", tc.reason, tc.duration, diff)
			}
		})
	}
}

func TestDurationOr(t *testing.T) {
	cases := map[string]struct {
		reason   string
		duration Duration
		want     time.Duration
	}{
		"Given":    {"a value wins over the default", "5m", 5 * time.Minute},
		"Zero":     {"zero is a value, not an absence", "0s", 0},
		"Empty":    {"an absent value takes the default", "", time.Hour},
		"Unusable": {"what does not parse counts as absent", "soon", time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.duration.Or(time.Hour)); diff != "" {
				t.Errorf("%s: Duration(%q).Or(1h): -want, +got:\n%s", tc.reason, tc.duration, diff)
			}
		})
	}
}
