package kubelet

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestProberCount(t *testing.T) {
	// Results are written as + and -, decisions as the same signs or a dot for
	// none.
	cases := map[string]struct {
		reason        string
		probe         corev1.Probe
		results, want string
	}{
		"Defaults": {
			reason:  "one success is enough, failures take three in a row; each is said once",
			results: "+---+-", want: "+..-+.",
		},
		"Interrupted": {
			reason:  "a success in between starts the count of failures anew",
			results: "--+--+", want: "..+..+",
		},
		"SuccessThreshold": {
			reason:  "successes may need a threshold, too",
			probe:   corev1.Probe{SuccessThreshold: 2, FailureThreshold: 1},
			results: "+-++-", want: ".-.+-",
		},
		"Steady": {
			reason:  "what goes on decides nothing new",
			results: "++++-----", want: "+.....-..",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &prober{probe: &tc.probe}
			got := ""
			for _, result := range tc.results {
				var err error
				if result == '-' {
					err = errors.New("failed")
				}
				if r.count(err) {
					got += string(result)
				} else {
					got += "."
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: decisions (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestProberPeriod(t *testing.T) {
	cases := map[string]struct {
		reason string
		prober prober
		want   time.Duration
	}{
		"Default":    {"the default is the API's", prober{probe: &corev1.Probe{}}, 10 * time.Second},
		"Eager":      {"before its first success an eager prober is quick", prober{probe: &corev1.Probe{PeriodSeconds: 5}, eager: true}, eagerPeriod},
		"EagerAfter": {"after it the period counts", prober{probe: &corev1.Probe{PeriodSeconds: 5}, eager: true, passed: true}, 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.prober.period()); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTailStart(t *testing.T) {
	cases := map[string]struct {
		reason, data string
		lines        int
		want         string
	}{
		"Last":      {"the last line", "a\nb\nc\n", 1, "c\n"},
		"Unended":   {"a line without an end is a line", "a\nb\nc", 2, "b\nc"},
		"All":       {"more lines than there are", "a\nb\n", 9, "a\nb\n"},
		"None":      {"no lines", "a\nb\n", 0, ""},
		"EmptyLine": {"an empty line is a line", "a\n\n", 1, "\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.data[tailStart([]byte(tc.data), tc.lines):]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
