package supervisor

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseStat(t *testing.T) {
	type usage struct {
		CPU    time.Duration
		RSS    int64
		Failed bool
	}
	page := int64(os.Getpagesize())
	cases := map[string]struct {
		reason, stat string
		want         usage
	}{
		"Plain": {
			reason: "times are in hundredths of a second, memory in pages",
			stat:   "7 (etcd) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 100 1000000 250 18446744073709551615\n",
			want:   usage{CPU: 2 * time.Second, RSS: 250 * page},
		},
		"StrangeName": {
			reason: "a name may hold spaces and parentheses",
			stat:   "7 (a) S (b) S 1 7 7 0 -1 4194560 1 0 0 0 1 0 0 0 20 0 9 0 100 1000000 1 18446744073709551615\n",
			want:   usage{CPU: 10 * time.Millisecond, RSS: page},
		},
		"Short":  {reason: "a line without the fields is refused", stat: "7 (etcd) S 1", want: usage{Failed: true}},
		"NoName": {reason: "a line without a name is refused", stat: "7 S 1", want: usage{Failed: true}},
		"NotANumber": {
			reason: "fields are numbers",
			stat:   "7 (etcd) S 1 7 7 0 -1 4194560 1 0 0 0 x 50 0 0 20 0 9 0 100 1000000 250 1\n",
			want:   usage{Failed: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cpu, rss, err := parseStat([]byte(tc.stat))
			if diff := cmp.Diff(tc.want, usage{cpu, rss, err != nil}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The kernel's own file can be read.
func TestUsage(t *testing.T) {
	_, rss, err := usage(os.Getpid())
	if err != nil || rss < 1<<20 {
		t.Errorf("got %d bytes and error %v, want some megabytes", rss, err)
	}
}
