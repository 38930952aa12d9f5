package gatewayapi

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
)

// edit is one entry of a rule as it shall be.
type edit struct {
	index  int // in rule.refs
	weight int64
	name   string // the name it shall get, empty to keep it
	remove bool
}

// change is how a rule gets from what it is to what it shall be.
type change struct {
	edits []edit
	adds  []map[string]any
}

// at gives the change after which the canary has the given share of every entry
// of the pairs, in a rule whose weights the user wrote as base.
func (v view) at(base []int64, weight int32) change {
	_, owned := v.totals()
	f := factor(base, pick(base, owned), int64(weight))
	var c change
	for i, s := range v.shares {
		total := base[i] * f
		switch {
		case s.pair == nil:
			c.edits = append(c.edits, edit{index: s.user, weight: total})
		case s.orphan: // traffic goes home first; a later change splits it again
			c.edits = append(c.edits, edit{index: s.user, weight: total, name: s.pair.Stable})
		default:
			canary := part(total, int64(weight))
			c.edits = append(c.edits, edit{index: s.user, weight: total - canary})
			if s.canary >= 0 {
				c.edits = append(c.edits, edit{index: s.canary, weight: canary})
				continue
			}
			twin := maps.Clone(v.refs[s.user].raw)
			twin["name"], twin["weight"] = s.pair.Canary, canary
			c.adds = append(c.adds, twin)
		}
	}
	return c
}

// restored gives the change after which the rule is as the user wrote it.
func (v view) restored(base []int64) change {
	var c change
	for i, s := range v.shares {
		e := edit{index: s.user, weight: base[i]}
		if s.orphan {
			e.name = s.pair.Stable
		}
		c.edits = append(c.edits, e)
		if s.canary >= 0 {
			c.edits = append(c.edits, edit{index: s.canary, remove: true})
		}
	}
	return c
}

// operations of a JSON patch that make the change, none if there is nothing to
// change. Each entry that is touched is tested by its name first.
func (v view) operations(c change) []jsonpatch.Operation {
	slices.SortFunc(c.edits, func(a, b edit) int { return a.index - b.index })
	var ops, removals []jsonpatch.Operation
	list := fmt.Sprintf("/spec/rules/%d/backendRefs", v.index)
	for _, e := range c.edits {
		path := fmt.Sprintf("%s/%d", list, e.index)
		have := v.refs[e.index]
		test := jsonpatch.NewOperation("test", path+"/name", have.raw["name"])
		switch {
		case e.remove: // from the end, so that the places before it stay
			removals = append([]jsonpatch.Operation{test, jsonpatch.NewOperation("remove", path, nil)}, removals...)
		case e.weight != have.weight || e.name != "":
			ops = append(ops, test)
			if e.name != "" {
				ops = append(ops, jsonpatch.NewOperation("replace", path+"/name", e.name))
			}
			ops = append(ops, jsonpatch.NewOperation("add", path+"/weight", e.weight))
		}
	}
	for _, twin := range c.adds {
		ops = append(ops, jsonpatch.NewOperation("add", list+"/-", twin))
	}
	ops = append(ops, removals...)
	if len(ops) > 0 && v.name != "" {
		ops = append([]jsonpatch.Operation{jsonpatch.NewOperation("test", fmt.Sprintf("/spec/rules/%d/name", v.index), v.name)}, ops...)
	}
	return ops
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
