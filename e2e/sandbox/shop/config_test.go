package shop

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// env is an environment for FromEnv.
func env(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func TestFromEnv(t *testing.T) {
	crash := 10 * time.Second
	cases := map[string]struct {
		reason string
		env    []string
		want   Config
	}{
		"Defaults": {
			reason: "everything has a default",
			env:    []string{"POD_NAME", "p"},
			want: Config{
				Version: "unknown", Pod: "p", PodIP: "127.0.0.1", Port: "8080", ExitCode: 1, Drain: 6 * time.Second,
			},
		},
		"All": {
			reason: "every variable has its effect",
			env: []string{
				"VERSION", "v2", "POD_NAME", "p", "REVISION", "abc", "POD_IP", "10.0.0.9", "PORT", "80",
				"ERROR_RATE", "0.05", "LATENCY", "20ms+/-5ms", "START_DELAY", "2s", "READY", "false",
				"CRASH_AFTER", "10s", "EXIT_CODE", "42", "DRAIN", "0s",
			},
			want: Config{
				Version: "v2", Pod: "p", Revision: "abc", PodIP: "10.0.0.9", Port: "80",
				ErrorRate: 0.05, Latency: 20 * time.Millisecond, Jitter: 5 * time.Millisecond,
				StartDelay: 2 * time.Second, NeverReady: true, CrashAfter: &crash, ExitCode: 42,
			},
		},
		"Jitter": {
			reason: "a latency alone varies by a tenth",
			env:    []string{"POD_NAME", "p", "LATENCY", "20ms"},
			want: Config{
				Version: "unknown", Pod: "p", PodIP: "127.0.0.1", Port: "8080", ExitCode: 1, Drain: 6 * time.Second,
				Latency: 20 * time.Millisecond, Jitter: 2 * time.Millisecond,
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := FromEnv(env(tc.env...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFromEnvRefuses(t *testing.T) {
	cases := map[string]struct{ reason, name, value string }{
		"Text":       {reason: "a share is a number", name: "ERROR_RATE", value: "5%"},
		"Share":      {reason: "a share is at most 1", name: "ERROR_RATE", value: "5"},
		"NaN":        {reason: "NaN is no share", name: "ERROR_RATE", value: "NaN"},
		"Negative":   {reason: "a time is 0 or more", name: "DRAIN", value: "-1s"},
		"Unit":       {reason: "a time has a unit", name: "START_DELAY", value: "3"},
		"Latency":    {reason: "a latency is a time", name: "LATENCY", value: "fast"},
		"Jitter":     {reason: "a jitter is a time", name: "LATENCY", value: "20ms+/-much"},
		"LongJitter": {reason: "no answer takes less than nothing", name: "LATENCY", value: "20ms+/-30ms"},
		"Ready":      {reason: "true or false", name: "READY", value: "maybe"},
		"Crash":      {reason: "a time", name: "CRASH_AFTER", value: "never"},
		"ExitCode":   {reason: "exit codes end at 255", name: "EXIT_CODE", value: "256"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := FromEnv(env(tc.name, tc.value))
			if err == nil || !strings.Contains(err.Error(), tc.name) || !strings.Contains(err.Error(), tc.value) {
				t.Errorf("%s: error %v, want one that names %s and %s", tc.reason, err, tc.name, tc.value)
			}
		})
	}
}
