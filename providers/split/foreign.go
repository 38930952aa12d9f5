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

// foreignWriter names the field manager that wrote the rules last, if the rules
// do not carry what the owner's annotation asks for. Without managedFields, as
// in a cache that leaves them out, nobody can be named.
func (r *route) foreignWriter() string {
	if !r.undone() {
		return ""
	}
	lists := r.lists()
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

// undone is true when the owner's annotation asks for a split which the rules do
// not carry, or when of the extras there is nothing.
func (r *route) undone() bool {
	asked := r.hint()
	return asked >= 0 && (!r.carries(asked) || r.extras.ID() != "" && !r.carriesExtras().some)
}

// carries is true when every rule that the owner asked for has exactly this
// share.
func (r *route) carries(weight int32) bool {
	for _, v := range r.views {
		if !r.selected(v) || !v.weighs() {
			continue
		}
		if lowest, highest := v.exposure(weight); lowest != weight || highest != weight {
			return false
		}
	}
	return true
}

// lists are the fields of spec that hold the rules, or the one that is the rule.
func (r *route) lists() []string {
	var lists []string
	for _, v := range r.views {
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
