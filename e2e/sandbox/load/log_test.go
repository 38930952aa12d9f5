package load

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// release is a load at 10 a second, 10 ms an answer: v1 alone for a second,
// then half v2, whose second answer is an error, then a request that is lost.
func release(n int) (time.Duration, Key) {
	const took = 10 * time.Millisecond
	switch {
	case n == 13:
		return took, Key{Version: "v2", Pod: "b", Code: 500}
	case n == 16:
		return took, Key{Reason: ReasonReset}
	case n >= 10 && n%2 == 1:
		return took, Key{Version: "v2", Pod: "b", Code: 200}
	default:
		return took, Key{Version: "v1", Pod: "a", Code: 200}
	}
}

// withRelease runs that load, 20 requests, and hands its log to check.
func withRelease(t *testing.T, check func(log *Log, text []byte)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		log, text := run(t, Config{Rate: 10, Duration: 2 * time.Second}, &script{answer: release})
		check(log, text.Bytes())
	})
}

func TestLogBetween(t *testing.T) {
	v1, v2 := Key{Version: "v1", Pod: "a", Code: 200}, Key{Version: "v2", Pod: "b", Code: 200}
	bad, lost := Key{Version: "v2", Pod: "b", Code: 500}, Key{Reason: ReasonReset}
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	cases := map[string]struct {
		reason    string
		from, to  time.Duration
		want, due Counts
	}{
		"All": {
			reason: "everything", from: 0, to: time.Hour,
			want: Counts{v1: 14, v2: 4, bad: 1, lost: 1}, due: Counts{v1: 14, v2: 4, bad: 1, lost: 1},
		},
		"Half-open": {
			reason: "from is in the range and to is not: answers come at 10 ms, 110 ms, ...",
			from:   ms(10), to: ms(110), want: Counts{v1: 1}, due: Counts{v1: 1},
		},
		"BetweenTwo": {reason: "nothing ended between 20 and 90 ms", from: ms(20), to: ms(90), want: Counts{}, due: Counts{}},
		"Due": {
			reason: "by 1005 ms the 11th request was due and not yet answered",
			from:   0, to: ms(1005), want: Counts{v1: 10}, due: Counts{v1: 11},
		},
		"Release": {
			reason: "from the first answer of v2 on",
			from:   ms(1110), to: ms(2000), want: Counts{v1: 3, v2: 4, bad: 1, lost: 1}, due: Counts{v1: 3, v2: 3, bad: 1, lost: 1},
		},
		"Before": {reason: "before the load", from: -time.Hour, to: 0, want: Counts{}, due: Counts{}},
		"Empty":  {reason: "an empty range", from: ms(500), to: ms(500), want: Counts{}, due: Counts{}},
	}
	withRelease(t, func(log *Log, _ []byte) {
		for name, tc := range cases {
			from, to := log.Header.Started.Add(tc.from), log.Header.Started.Add(tc.to)
			if diff := cmp.Diff(tc.want, log.Between(from, to)); diff != "" {
				t.Errorf("%s: %s: Between (-want +got):\n%s", name, tc.reason, diff)
			}
			if diff := cmp.Diff(tc.due, log.DueBetween(from, to)); diff != "" {
				t.Errorf("%s: %s: DueBetween (-want +got):\n%s", name, tc.reason, diff)
			}
		}
	})
}

func TestFirstAndLast(t *testing.T) {
	cases := map[string]struct {
		reason string
		after  time.Duration
		want   time.Duration // since the start; 0: none
	}{
		"First":       {reason: "the error of v2", after: 0, want: 1310 * time.Millisecond},
		"AtTheTime":   {reason: "after includes the time itself", after: 1310 * time.Millisecond, want: 1310 * time.Millisecond},
		"AfterTheOne": {reason: "a lost request is bad, too", after: 1311 * time.Millisecond, want: 1610 * time.Millisecond},
		"None":        {reason: "none is bad after the lost one", after: 1611 * time.Millisecond},
	}
	withRelease(t, func(log *Log, _ []byte) {
		for name, tc := range cases {
			var got time.Duration
			if r, ok := log.FirstBad(log.Header.Started.Add(tc.after)); ok {
				got = r.At.Sub(log.Header.Started)
			}
			if got != tc.want {
				t.Errorf("%s: %s: FirstBad at %s, want %s", name, tc.reason, got, tc.want)
			}
		}
		last, ok := log.Last(log.Header.Started.Add(time.Hour), func(r Response) bool { return r.Version == "v2" })
		if got := last.At.Sub(log.Header.Started); !ok || got != 1910*time.Millisecond {
			t.Errorf("last answer of v2 at %s, want 1.91s", got)
		}
		if r, ok := log.Last(log.Header.Started, func(Response) bool { return true }); ok {
			t.Errorf("a response before the start: %+v", r)
		}
	})
}

func TestBucketCountsAgreeWithResponses(t *testing.T) {
	withRelease(t, func(_ *Log, text []byte) {
		// The line that people read of the bucket with the error.
		const want = `"counts":[{"version":"v2","code":500,"n":1}]`
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("no %s in the log:\n%s", want, text)
		}
		if got, want := bytes.Count(text, []byte(`{"bucket":`)), 21; got != want {
			t.Errorf("%d buckets for 2 s and the one that holds the end, want %d", got, want)
		}
		damaged := bytes.Replace(text, []byte(want), []byte(`"counts":[{"version":"v2","code":500,"n":2}]`), 1)
		if err := new(Log).read(bytes.NewReader(damaged)); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("reading a log whose counts are wrong: %v, want an error", err)
		}
	})
}

func TestLogOfAKilledGenerator(t *testing.T) {
	withRelease(t, func(whole *Log, text []byte) {
		path := filepath.Join(t.TempDir(), "log")
		lines := bytes.SplitAfter(text, []byte("\n"))
		write := func(text []byte) {
			t.Helper()
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// It was killed in the middle of a line: header and ten buckets are whole.
		cut := bytes.Join(lines[:11], nil)
		write(append(bytes.Clone(cut), lines[11][:20]...))
		log, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		if log.Ended() {
			t.Error("a log without an end has ended")
		}
		if got := log.Covered().Sub(log.Header.Started); got != time.Second {
			t.Errorf("the log covers %s, want 1s", got)
		}
		if diff := cmp.Diff(Totals{Sent: 10, Responses: 10}, log.Totals()); diff != "" {
			t.Errorf("totals (-want +got):\n%s", diff)
		}
		// It was not killed after all, only slow: the rest comes.
		write(text)
		if err := log.WaitCovered(t.Context(), log.Header.Started.Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(whole.Responses(), log.Responses()); diff != "" {
			t.Errorf("responses (-whole +refreshed):\n%s", diff)
		}
	})
}

func TestReadRefusesWhatIsNoLog(t *testing.T) {
	const header = `{"header":{"name":"x","target":"t","rate":1,"started":"2026-01-01T00:00:00Z"}}` + "\n"
	cases := map[string]struct{ reason, text string }{
		"NoHeader":   {reason: "the header comes first", text: `{"end":{"sent":0,"unsent":0,"responses":0}}` + "\n"},
		"TwoHeaders": {reason: "one header only", text: header + header},
		"NotJSON":    {reason: "every line is JSON", text: header + "hello\n"},
		"Unknown":    {reason: "every line is one of three", text: header + `{"other":1}` + "\n"},
		"WrongTotals": {
			reason: "the totals are those of the buckets",
			text:   header + `{"end":{"sent":1,"unsent":0,"responses":1}}` + "\n",
		},
		"AfterTheEnd": {
			reason: "nothing comes after the end",
			text: header + `{"end":{"sent":0,"unsent":0,"responses":0}}` + "\n" +
				`{"bucket":{"start":"2026-01-01T00:00:00Z","sent":0}}` + "\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := new(Log).read(strings.NewReader(tc.text)); err == nil {
				t.Errorf("%s: read without an error", tc.reason)
			}
		})
	}
}

func TestCounts(t *testing.T) {
	c := Counts{
		{Version: "v1", Pod: "a", Code: 200}: 60,
		{Version: "v1", Pod: "b", Code: 200}: 29,
		{Version: "v1", Pod: "b", Code: 500}: 1,
		{Version: "v2", Pod: "c", Code: 200}: 10,
		{Code: 503}:                          4,
		{Reason: ReasonTimeout}:              2,
	}
	share, of := c.Share("v2")
	if share != 0.1 || of != 100 {
		t.Errorf("share of v2 is %v of %d, want 0.1 of 100: answers of no version do not count", share, of)
	}
	if share, of := (Counts{}).Share("v2"); !math.IsNaN(share) || of != 0 {
		t.Errorf("share of nothing is %v of %d, want NaN of 0", share, of)
	}
	got := []int{c.Total(), c.Bad().Total(), c.Lost().Total(), c.Of("v1").Total(), c.Of("v1").Bad().Total()}
	if diff := cmp.Diff([]int{106, 7, 2, 90, 1}, got); diff != "" {
		t.Errorf("total, bad, lost, of v1, bad of v1 (-want +got):\n%s", diff)
	}
	data, err := c.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Counts
	if err := back.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, back); diff != "" {
		t.Errorf("through JSON (-want +got):\n%s", diff)
	}
}

func TestShareBounds(t *testing.T) {
	cases := map[string]struct {
		reason    string
		p         float64
		of        int
		low, high float64
	}{
		"Half":  {reason: "one deviation is 5 % of 100 at one half", p: .5, of: 100, low: .4, high: .6},
		"Sure":  {reason: "a sure share has no error", p: 1, of: 100, low: 1, high: 1},
		"Never": {reason: "what never is drawn is never seen", p: 0, of: 1000, low: 0, high: 0},
		"Few":   {reason: "one single draw can go either way", p: .5, of: 1, low: 0, high: 1},
		"Rare":  {reason: "of an expected half a response, 3 come with 1.4 %, 2 with 9 %", p: .001, of: 500, low: 0, high: .004},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			low, high := ShareBounds(tc.p, tc.of, 2)
			if diff := cmp.Diff([]float64{tc.low, tc.high}, []float64{low, high}, cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("%s: bounds (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
