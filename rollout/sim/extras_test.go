package sim

import "github.com/weir-dev/weir/apis/v1alpha1"

// askedExtras are those of the record, as long as a step of the spec says what
// they are.
func askedExtras(ro *v1alpha1.Rollout) string {
	id := ro.Status.Record.DesiredExtras
	if ro.Spec.Extras(id) == nil {
		return ""
	}
	return id
}

// drawn is the weight at which users are drawn where the routes have one, 0 where
// there are no sessions.
func (w *World) drawn(weight int32) int32 {
	if !w.cfg.Sessions {
		return 0
	}
	return weight
}

// mirrored and cohort write extras.
func mirrored(weight int32) v1alpha1.Extras {
	return v1alpha1.Extras{Mirror: &v1alpha1.Mirror{Weight: weight}}
}

func cohort(value string) v1alpha1.Extras {
	return v1alpha1.Extras{Matches: []v1alpha1.Match{{Headers: []v1alpha1.ValueMatch{{Name: "x-cohort", Value: value}}}}}
}

// extrasNote names extras in a log, if there are any.
func extrasNote(id string) string {
	switch id {
	case "":
		return ""
	case extrasIDs[0]:
		return ", mirrored"
	case extrasIDs[1]:
		return ", cohort b"
	case extrasIDs[2]:
		return ", cohort c"
	default:
		return ", extras " + id
	}
}

var extrasIDs = func() (ids [3]string) {
	for i, e := range []v1alpha1.Extras{mirrored(20), cohort("b"), cohort("c")} {
		ids[i] = e.ID()
	}
	return ids
}()
