package stage

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// UsersOfHost sends requests to a host at the gateway as users who keep their cookies,
// by turns. The name tells the load from others of the shop.
func (s *Shop) UsersOfHost(ctx context.Context, name, host string, users, rate int) (*Load, error) {
	return s.startLoad(ctx, name, rate, append(through(gatewayURL, host, load.HTTP, nil), "--sessions", strconv.Itoa(users))...)
}

// UsersThroughProxy sends requests for a host to a proxy as users who keep their
// cookies, by turns.
func (s *Shop) UsersThroughProxy(ctx context.Context, name, proxy, host string, users, rate int) (*Load, error) {
	return s.startLoad(ctx, name, rate, append(through("http://"+proxy, host, load.HTTP, nil), "--sessions", strconv.Itoa(users))...)
}

// Users are what users with sessions met in a time.
type Users struct {
	// Of is the number of them, With of those that met the version that was asked
	// about, and Both of those that met another one, too.
	Of, With, Both int
}

// Users counts whom of a load's users met a version in requests due in a time.
func (l *Load) Users(ctx context.Context, version string, from, to time.Time) (Users, error) {
	log, err := l.Log(ctx)
	if err != nil {
		return Users{}, err
	}
	var out Users
	for _, counts := range log.UsersBetween(from, to) {
		met := counts.Of(version).Total()
		out.Of++
		if met > 0 {
			out.With++
		}
		if met > 0 && met < counts.Total() {
			out.Both++
		}
	}
	return out, nil
}

// Returned are users of a load, by number, who met another version after one that
// they had met, in requests due before a time.
func (l *Load) Returned(ctx context.Context, version string, until time.Time) ([]int, error) {
	log, err := l.Log(ctx)
	if err != nil {
		return nil, err
	}
	responses := slices.SortedFunc(slices.Values(log.Responses()), func(a, b load.Response) int { return a.DueAt().Compare(b.DueAt()) })
	met, back := map[int]bool{}, map[int]bool{}
	for _, r := range responses {
		switch {
		case !r.DueAt().Before(until):
		case r.Version == version:
			met[r.Session] = true
		case met[r.Session]:
			back[r.Session] = true
		}
	}
	return slices.Sorted(maps.Keys(back)), nil
}
