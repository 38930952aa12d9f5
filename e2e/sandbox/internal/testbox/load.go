package testbox

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/control"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// Load starts the load generator inside the sandbox with the given flags, and
// returns its log once it has a response. It goes on until the test ends.
func (s *Sandbox) Load(t testing.TB, name string, flags ...string) *load.Log {
	t.Helper()
	path := filepath.Join(t.TempDir(), "load.log")
	args := append([]string{"load", "--name=" + name, "--duration=10m", "--out=" + path}, flags...)
	if err := s.Control.Start(t.Context(), control.Process{Name: name, Path: s.Binary, Args: args, Env: os.Environ()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Control.Stop(context.Background(), name, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	var log *load.Log
	Eventually(t, "load "+name, func(context.Context) (err error) {
		if log, err = load.Open(path); err == nil && log.Totals().Responses == 0 {
			err = errors.New("no response yet")
		}
		return err
	})
	return log
}

// Count waits until a load has gone on for a time since from, and returns the
// responses to the requests that were due in it.
func Count(t testing.TB, log *load.Log, from time.Time, over time.Duration) load.Counts {
	t.Helper()
	// The last requests have some time to be answered.
	const answers = 500 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), over+Patience)
	defer cancel()
	if err := log.WaitCovered(ctx, from.Add(over+answers)); err != nil {
		t.Fatal(err)
	}
	return log.DueBetween(from, from.Add(over))
}

// ShareIs fails the test if the share of a version is not what a weight of p
// gives.
func ShareIs(t testing.TB, c load.Counts, version string, p float64) {
	t.Helper()
	got, of := c.Share(version)
	low, high := load.ShareBounds(p, of, 4)
	if p == 0 || p == 1 {
		low, high = p, p // nothing is drawn: not one request may go astray
	}
	if !(low <= got && got <= high) {
		t.Errorf("share of %s is %.4f of %d, want %.4f to %.4f: %v", version, got, of, low, high, c)
	}
	t.Logf("share of %s is %.4f of %d, for a weight of %v", version, got, of, p)
}

// NoneBad fails the test if any response so far is bad, or any request could not
// be sent.
func NoneBad(t testing.TB, log *load.Log) {
	t.Helper()
	if err := log.Refresh(); err != nil {
		t.Fatal(err)
	}
	if first, ok := log.FirstBad(time.Time{}); ok {
		t.Errorf("%d bad responses of %d, the first %+v: %v", log.All().Bad().Total(), log.Totals().Responses, first, log.All().Bad())
	}
	if n := log.Totals().Unsent; n != 0 {
		t.Errorf("%d requests could not be sent", n)
	}
}
