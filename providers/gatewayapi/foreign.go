package gatewayapi

import (
	"encoding/json"
	"time"
)

// FieldManager is the name under which Weir writes routes.
const FieldManager = "weir"

// foreignWriter names the field manager that wrote the rules last, if the rules
// do not carry what the owner's annotation asks for. Without managedFields, as
// in a cache that leaves them out, nobody can be named.
func (r *route) foreignWriter() string {
	asked := r.hint()
	if asked < 0 || r.carries(asked) {
		return ""
	}
	var name string
	var last time.Time
	for _, m := range r.object.GetManagedFields() {
		if m.Subresource != "" || m.Manager == FieldManager || m.FieldsV1 == nil || !ownsRules(m.FieldsV1.GetRawBytes()) {
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

// ownsRules is true when a set of managed fields has spec.rules in it.
func ownsRules(fields []byte) bool {
	var set struct {
		Spec struct {
			Rules json.RawMessage `json:"f:rules"`
		} `json:"f:spec"`
	}
	return json.Unmarshal(fields, &set) == nil && set.Spec.Rules != nil
}
