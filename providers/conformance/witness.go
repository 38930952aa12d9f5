package conformance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// version is one state of one object.
type version struct {
	name    string
	number  uint64 // its resourceVersion, which orders the versions of all objects of a kind
	rules   []Rule
	deleted bool
}

// witness sees every version of every route of a fixture. At the end of the test
// it says what was wrong with any of them.
type witness struct {
	dialect Dialect
	lock    sync.Mutex
	seen    []version
	// ceilings on the share of every canary, each from a version on.
	ceilings []ceiling
	// mine are the owners of the canaries.
	mine []string
	// one: no write may change more than one rule.
	one bool
	// rests that a user wrote, by rule; nil until bound.
	bases map[string][]Rule
}

// ceiling is the most that a canary may have in versions after `from`.
type ceiling struct {
	from  uint64
	share int32
}

// newWitness watches the fixture's namespace until the test is over.
func newWitness(t *testing.T, f *fixture) *witness {
	t.Helper()
	w := &witness{dialect: f.Dialect, bases: map[string][]Rule{}, mine: []string{"web", "pay", "ledger"}}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(f.route("any").GroupVersionKind())
	list.SetKind(f.kind + "List")
	stream, err := f.User.Watch(t.Context(), list, client.InNamespace(f.namespace))
	if err != nil {
		t.Fatalf("cannot watch %s: %v", f.kind, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range stream.ResultChan() {
			if u, ok := event.Object.(*unstructured.Unstructured); ok {
				w.note(u, event.Type == watch.Deleted)
			}
		}
	}()
	t.Cleanup(func() {
		stream.Stop()
		<-done
		w.judge(t)
	})
	return w
}

// note a version.
func (w *witness) note(u *unstructured.Unstructured, deleted bool) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.seen = append(w.seen, version{name: u.GetName(), number: number(u), rules: w.dialect.Rules(u), deleted: deleted})
}

// number of the object's version. API servers promise that they are ordered.
func number(u *unstructured.Unstructured) uint64 {
	n, err := strconv.ParseUint(u.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// base tells the witness what a user wrote: the shares between the backends of
// each rule, and all else in it, must stay like this, or like an earlier one.
func (w *witness) base(u *unstructured.Unstructured) {
	w.lock.Lock()
	defer w.lock.Unlock()
	for _, r := range w.dialect.Rules(u) {
		key := u.GetName() + "/" + r.Name
		w.bases[key] = append(w.bases[key], r)
	}
}

// atMost tells the witness that from now on, no canary may have more.
func (w *witness) atMost(share int32, now uint64) {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.ceilings = append(w.ceilings, ceiling{from: now, share: share})
}

// oneRule tells the witness that no write may change more than one rule, since
// nobody but Weir writes.
func (w *witness) oneRule() {
	w.lock.Lock()
	defer w.lock.Unlock()
	w.one = true
}

// caughtUp waits until the witness has seen the object as it is now.
func (w *witness) caughtUp(t *testing.T, u *unstructured.Unstructured) {
	t.Helper()
	eventually(t, "the watch to see "+u.GetName(), func(context.Context) error {
		w.lock.Lock()
		defer w.lock.Unlock()
		if !slices.ContainsFunc(w.seen, func(v version) bool { return v.name == u.GetName() && v.number >= number(u) }) {
			return errors.New("not seen")
		}
		return nil
	})
}

// versions seen, in their order.
func (w *witness) versions() []version {
	w.lock.Lock()
	defer w.lock.Unlock()
	return slices.SortedStableFunc(slices.Values(w.seen), func(a, b version) int { return cmp.Compare(a.number, b.number) })
}

// judge every version.
func (w *witness) judge(t *testing.T) {
	t.Helper()
	before := map[string]version{}
	versions := w.versions()
	if len(versions) == 0 {
		t.Error("the witness saw nothing")
	}
	for _, v := range versions {
		if v.deleted {
			continue
		}
		for _, problem := range w.problems(v, before[v.name]) {
			t.Errorf("version %d of %s: %s\n%+v", v.number, v.name, problem, v.rules)
		}
		before[v.name] = v
	}
}

// problems of one version; before is the one before it, if any.
func (w *witness) problems(v, before version) []string {
	var out []string
	changed := 0
	for i, r := range v.rules {
		if i < len(before.rules) && fmt.Sprint(before.rules[i]) != fmt.Sprint(r) {
			changed++
		}
		if bases := w.bases[v.name+"/"+r.Name]; len(bases) > 0 {
			if problem := w.whole(r, bases); problem != "" {
				out = append(out, problem)
			}
		}
		if highest, limit := w.share(r), w.limit(v.number); highest > limit {
			out = append(out, fmt.Sprintf("rule %q gives the canary %d, more than %d", r.Name, highest, limit))
		}
	}
	if w.one && changed > 1 {
		out = append(out, fmt.Sprintf("%d rules changed in one write", changed))
	}
	return out
}

// limit on the canary's share in a version.
func (w *witness) limit(number uint64) int32 {
	limit := int32(10000)
	for _, c := range w.ceilings {
		if c.from <= number {
			limit = c.share
		}
	}
	return limit
}

// whole says what the rule lacks to be what a user wrote with some of the weight
// of a backend at its canary.
func (w *witness) whole(r Rule, bases []Rule) string {
	var problem string
	for _, base := range bases {
		problem = w.differs(r, base)
		if problem == "" {
			return ""
		}
	}
	return problem
}

// differs says in what the rule differs from what a user wrote, apart from the
// split.
func (w *witness) differs(r, base Rule) string {
	if r.Rest != base.Rest {
		return fmt.Sprintf("rule %q: %s became %s", r.Name, base.Rest, r.Rest)
	}
	var folded []Backend
	canaries := map[string][]Backend{}
	for _, b := range r.Backends {
		if owner, ok := strings.CutSuffix(b.Service, "-canary"); ok && slices.Contains(w.mine, owner) {
			canaries[owner] = append(canaries[owner], b)
			continue
		}
		folded = append(folded, b)
	}
	if len(folded) != len(base.Backends) {
		return fmt.Sprintf("rule %q: the user's %d backends became %d", r.Name, len(base.Backends), len(folded))
	}
	for i, b := range folded {
		if list := canaries[b.Service]; len(list) > 0 {
			if want := w.dialect.TwinRest(b.Rest); list[0].Rest != want {
				return fmt.Sprintf("rule %q: the canary's entry has %s, not %s", r.Name, list[0].Rest, want)
			}
			folded[i].Weight += list[0].Weight
			canaries[b.Service] = list[1:]
		}
	}
	return unlike(r.Name, folded, base.Backends)
}

// unlike says in what the backends, canaries counted in, are not the user's.
func unlike(rule string, got, want []Backend) string {
	sum := int64(0)
	for i, b := range got {
		sum += b.Weight
		if b.Service != want[i].Service || b.Rest != want[i].Rest {
			return fmt.Sprintf("rule %q: backend %+v became %+v", rule, want[i], b)
		}
		for j := range got {
			if b.Weight*want[j].Weight != got[j].Weight*want[i].Weight {
				return fmt.Sprintf("rule %q: the whole is not shared as the user wrote it: %+v, not %+v", rule, got, want)
			}
		}
	}
	if sum == 0 {
		return fmt.Sprintf("rule %q: sends its traffic nowhere", rule)
	}
	return ""
}

// share is the highest share of a canary in the rule, in parts per 10,000 to the
// nearest.
func (w *witness) share(r Rule) int32 {
	highest := int64(0)
	for _, c := range r.Backends {
		owner, ok := strings.CutSuffix(c.Service, "-canary")
		if !ok || !slices.Contains(w.mine, owner) || c.Weight == 0 {
			continue
		}
		stable := int64(0)
		for _, b := range r.Backends {
			if b.Service == owner && w.dialect.TwinRest(b.Rest) == c.Rest {
				stable = b.Weight
			}
		}
		total := stable + c.Weight
		highest = max(highest, (c.Weight*10000+total/2)/total)
	}
	return int32(highest)
}
