package v1alpha1

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"
)

// FullWeight is all of the traffic. Weights are counted in parts per 10,000
// (hundredths of a percent) wherever they are not written by people.
const FullWeight int32 = 10000

// Duration is a span of time in the grammar of Gateway API (GEP-2257): up to
// four numbers of at most five digits, each followed by h, m, s or ms, such as
// 90s, 10m or 1h30m.
//
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$')",message="a duration is written as 90s, 10m or 1h30m: up to four numbers, each followed by h, m, s or ms"
type Duration string

// Parse gives the duration, or an error that shows the value. The empty
// string is an error: whether a default applies is the caller's to know.
func (d Duration) Parse() (time.Duration, error) {
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return 0, fmt.Errorf("duration %q is not of the form 90s, 10m or 1h30m", string(d))
	}
	return v, nil
}

// Or gives the duration, or def when it is empty. The schema admits only what
// parses, so a value that does not can only come from before a downgrade; it
// counts as def.
func (d Duration) Or(def time.Duration) time.Duration {
	v, err := d.Parse()
	if err != nil {
		return def
	}
	return v
}

// percentage is a weight written as a string.
var percentage = regexp.MustCompile(`^([0-9]{1,3})(?:[.]([0-9]{1,2}))?%$`)

// ParseWeight reads a weight as people write it, a whole percent (5) or a
// string such as "0.1%", and gives parts per 10,000. Nil is 0. It reads every
// percentage that FormatWeight writes, which is more than the schema admits.
func ParseWeight(w *intstr.IntOrString) (int32, error) {
	if w == nil {
		return 0, nil
	}
	if w.Type == intstr.Int {
		if w.IntVal < 0 || w.IntVal > 100 {
			return 0, fmt.Errorf("weight %d is not between 0 and 100: it is in percent", w.IntVal)
		}
		return w.IntVal * 100, nil
	}
	m := percentage.FindStringSubmatch(w.StrVal)
	if m == nil {
		return 0, fmt.Errorf("weight %q is not a percentage such as 5 or \"0.1%%\"", w.StrVal)
	}
	// Whole percent and hundredths side by side are the parts per 10,000; five
	// digits cannot overflow, so the error has nothing to say.
	parts, _ := strconv.ParseInt(m[1]+(m[2] + "00")[:2], 10, 32)
	if parts > int64(FullWeight) {
		return 0, fmt.Errorf("weight %q is not between 0%% and 100%%", w.StrVal)
	}
	return int32(parts), nil
}

// FormatWeight prints parts per 10,000 as a percentage with as few decimals as
// it needs: 2500 is "25%", 10 is "0.1%".
func FormatWeight(w int32) string {
	return strconv.FormatFloat(float64(w)/100, 'f', -1, 64) + "%"
}
