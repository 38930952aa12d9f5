package split

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FieldManager is the name under which Weir writes routes.
const FieldManager = "weir"

// foreignWriter names the field manager that was the last to write rules which do not
// carry what the owner's annotation asks for, if there are any. Before there is one, that
// is whoever wrote the route. Without managedFields, as in a cache that leaves them out,
// nobody can be named.
func (r *route) foreignWriter() string {
	lists := listsOf(r.undone())
	var name string
	var last time.Time
	for _, m := range r.object.GetManagedFields() {
		if m.Manager == FieldManager || !ownsAny(m, lists) {
			continue
		}
		if m.Time == nil || name == "" || m.Time.After(last) {
			name = m.Manager
			if m.Time != nil {
				last = m.Time.Time
			}
		}
	}
	return name
}

// undone are the rules which do not carry the split that the owner's annotation asks
// for, or all of them when that is gone, too, as after a replace, or when of the extras
// there is nothing.
func (r *route) undone() []view {
	asked := r.hint()
	if asked < 0 {
		return r.views
	}
	var out []view
	for _, v := range r.views {
		if !r.selected(v) || !v.weighs() {
			continue
		}
		if lowest, highest := v.exposure(asked); lowest != asked || highest != asked {
			out = append(out, v)
		}
	}
	if len(out) == 0 && r.extras.ID() != "" && !r.carriesExtras().some {
		return r.views
	}
	return out
}

// listsOf are the fields of spec that hold rules, or the one that is the rule.
func listsOf(views []view) []string {
	var lists []string
	for _, v := range views {
		field, listed := strings.CutPrefix(v.List, "spec.")
		if !listed {
			field = v.Entries
		}
		lists = append(lists, field)
	}
	slices.Sort(lists)
	return slices.Compact(lists)
}

// ownsAny is true when one of the fields of spec is among a manager's.
func ownsAny(m metav1.ManagedFieldsEntry, fields []string) bool {
	if m.Subresource != "" || m.FieldsV1 == nil {
		return false
	}
	var set struct {
		Spec map[string]json.RawMessage `json:"f:spec"`
	}
	if json.Unmarshal(m.FieldsV1.GetRawBytes(), &set) != nil {
		return false
	}
	return slices.ContainsFunc(fields, func(f string) bool { return set.Spec["f:"+f] != nil })
}
