package load

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/e2e/sandbox/shop"
)

// TestSessionsKeepCookies: each user's cookies are their own, and the log tells users
// apart. A server gives whoever comes without a cookie the other of two versions.
func TestSessionsKeepCookies(t *testing.T) {
	var strangers atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		version := []string{"v1", "v2"}[strangers.Load()%2]
		if cookie, err := r.Cookie("version"); err == nil {
			version = cookie.Value
		} else {
			strangers.Add(1)
			http.SetCookie(w, &http.Cookie{Name: "version", Value: version, Path: "/", MaxAge: 60})
		}
		w.Header().Set(shop.VersionHeader, version)
	}))
	defer server.Close()
	path := filepath.Join(t.TempDir(), "log")
	_, err := execute(t.Context(), "--target", server.URL, "--host", "shop.test", "--rate", "200", "--duration", "500ms", "--sessions", "10", "--out", path)
	if err != nil {
		t.Fatal(err)
	}
	log, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	users := log.UsersBetween(time.Time{}, time.Now())
	if got := strangers.Load(); got != 10 || len(users) != 10 {
		t.Errorf("%d requests came without a cookie, from %d users, want one of each of 10", got, len(users))
	}
	versions := map[string]int{}
	for user, counts := range users {
		one, two := counts.Of("v1").Total(), counts.Of("v2").Total()
		if one > 0 && two > 0 {
			t.Errorf("user %d met both versions, %d and %d times", user, one, two)
		}
		versions[map[bool]string{true: "v1", false: "v2"}[one > 0]]++
	}
	if versions["v1"] != 5 || versions["v2"] != 5 {
		t.Errorf("users by version: %v, want 5 of each", versions)
	}
	if later := log.UsersBetween(time.Now(), time.Now().Add(time.Hour)); len(later) > 0 {
		t.Errorf("%d users after the end", len(later))
	}
}
