package split

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/runtime"
)

// Edit is one entry of a rule as it shall be.
type Edit struct {
	// Index in Rule.Backends.
	Index int
	// Weight of the entry; none is written with Unset, and 0 with Zero.
	Weight      int64
	Unset, Zero bool
	// Service that it shall name, empty to keep what it names.
	Service string
	// Remove takes the entry out.
	Remove bool
}

// differs is true when an entry is not as it shall be.
func (e Edit) differs(have Backend) bool {
	return e.Service != "" || e.Weight != have.Weight || e.Unset != have.Unset || e.Zero != have.Zero
}

// Twin is an entry that shall be added: a copy of entry From for another Service.
type Twin struct {
	From int
	// Service that it names, empty for what From names.
	Service string
	Weight  int64
	// Cookie is the Set-Cookie header that its answers get, empty for none. Only
	// entries of rules that Weir makes have one.
	Cookie string
}

// Change is how a rule gets from what it is to what it shall be.
type Change struct {
	Edits []Edit
	Twins []Twin
}

// at gives the change after which the canary has the given share of every entry
// of the pairs, in a rule whose weights the user wrote as base.
func (v view) at(base []int64, weight int32) Change {
	_, owned := v.totals()
	f := factor(base, pick(base, owned), int64(weight))
	var c Change
	for i, s := range v.shares {
		total := base[i] * f
		switch {
		case s.pair == nil:
			c.Edits = append(c.Edits, Edit{Index: s.user, Weight: total})
		case s.orphan: // traffic goes home first; a later change splits it again
			c.Edits = append(c.Edits, Edit{Index: s.user, Weight: total, Service: s.pair.Stable})
		default:
			canary := part(total, int64(weight))
			c.Edits = append(c.Edits, Edit{Index: s.user, Weight: total - canary})
			if s.canary >= 0 {
				c.Edits = append(c.Edits, Edit{Index: s.canary, Weight: canary})
				continue
			}
			c.Twins = append(c.Twins, Twin{From: s.user, Service: s.pair.Canary, Weight: canary})
		}
	}
	return c
}

// restored gives the change after which the rule is as the user wrote it.
func (v view) restored(base original) Change {
	var c Change
	for i, s := range v.shares {
		e := Edit{Index: s.user, Weight: base.Weights[i], Unset: slices.Contains(base.Unset, i), Zero: slices.Contains(base.Zero, i)}
		if s.orphan {
			e.Service = s.pair.Stable
		}
		c.Edits = append(c.Edits, e)
		if s.canary >= 0 {
			c.Edits = append(c.Edits, Edit{Index: s.canary, Remove: true})
		}
	}
	return c
}

// Entries says how the entries of a list are written.
type Entries struct {
	// Service is where an entry names its Service, as a JSON pointer in it, and
	// Name gives what is written there for a Service.
	Service string
	Name    func(entry map[string]any, service string) string
	// Adapt changes the copy that becomes the canary's entry; nil for nothing.
	Adapt func(twin map[string]any)
}

// ListOperations of a JSON patch that make the change in a rule whose entries are
// a list, none if there is nothing to change.
func (e Entries) ListOperations(r Rule, c Change) []jsonpatch.Operation {
	slices.SortFunc(c.Edits, func(a, b Edit) int { return a.Index - b.Index })
	var ops, removals []jsonpatch.Operation
	rule := rulePointer(r)
	list := rule + "/" + r.Entries
	for _, edit := range c.Edits {
		path := fmt.Sprintf("%s/%d", list, edit.Index)
		have := r.Backends[edit.Index]
		test := jsonpatch.NewOperation("test", path+e.Service, lookup(have.Raw, e.Service))
		switch {
		case edit.Remove: // from the end, so that the places before it stay
			removals = append([]jsonpatch.Operation{test, jsonpatch.NewOperation("remove", path, nil)}, removals...)
		case edit.differs(have):
			ops = append(ops, test)
			if edit.Service != "" {
				ops = append(ops, jsonpatch.NewOperation("replace", path+e.Service, e.Name(have.Raw, edit.Service)))
			}
			ops = append(ops, weigh(path+"/weight", edit, have)...)
		}
	}
	for _, t := range c.Twins {
		ops = append(ops, jsonpatch.NewOperation("add", list+"/-", e.Twin(r, t)))
	}
	ops = append(ops, removals...)
	if len(ops) > 0 && r.Name != "" {
		ops = append([]jsonpatch.Operation{jsonpatch.NewOperation("test", rule+"/name", r.Name)}, ops...)
	}
	return ops
}

// weigh sets the weight of an entry, or takes it out.
func weigh(path string, edit Edit, have Backend) []jsonpatch.Operation {
	switch {
	case edit.Zero:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, int64(0))}
	case !edit.Unset:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", path, edit.Weight)}
	case !have.Unset:
		return []jsonpatch.Operation{jsonpatch.NewOperation("remove", path, nil)}
	default:
		return nil
	}
}

// Twin is the copy of an entry for another Service.
func (e Entries) Twin(r Rule, t Twin) map[string]any {
	entry := r.Backends[t.From].Raw
	twin := runtime.DeepCopyJSON(entry)
	twin["weight"] = t.Weight
	if t.Service == "" {
		return twin
	}
	keys := strings.Split(strings.TrimPrefix(e.Service, "/"), "/")
	at := twin
	for _, key := range keys[:len(keys)-1] {
		at, _ = at[key].(map[string]any)
	}
	at[keys[len(keys)-1]] = e.Name(entry, t.Service)
	if e.Adapt != nil {
		e.Adapt(twin)
	}
	return twin
}

// lookup a value by its JSON pointer.
func lookup(object map[string]any, pointer string) any {
	var at any = object
	for key := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		inner, _ := at.(map[string]any)
		at = inner[key]
	}
	return at
}

// metadataOperations set the values of a map in metadata (annotations, labels),
// and take out those that are empty. have is what is there.
func metadataOperations(field string, have, want map[string]string) []jsonpatch.Operation {
	var ops []jsonpatch.Operation
	path := "/metadata/" + field
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value := want[key]
		old, there := have[key]
		at := path + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		switch {
		case value == "" && there:
			ops = append(ops, jsonpatch.NewOperation("remove", at, nil))
		case value != "" && value != old:
			if len(have) == 0 && len(ops) == 0 {
				ops = append(ops, jsonpatch.NewOperation("add", path, map[string]string{}))
			}
			ops = append(ops, jsonpatch.NewOperation("add", at, value))
		}
	}
	return ops
}
