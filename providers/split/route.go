package split

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// route is one object as one owner sees it.
type route struct {
	dialect Dialect
	object  *unstructured.Unstructured
	ref     v1alpha1.RouteReference
	owner   string
	splits  []split // of all owners
	pairs   []providers.Pair
	views   []view // of the user's rules
	// made are the rules that Weir has made for the owner.
	made []Rule
	// extras are what the rules are to do beside the weight, planned those that they
	// may have to do later.
	extras  *v1alpha1.Extras
	planned []*v1alpha1.Extras
	// session keeps users with one version, nil for none.
	session *providers.Session
}

// newRoute reads the object. The pairs are the target's, and those that an
// earlier release of the same owner left in the annotation: what is there must
// be found even when discovery has nothing to say.
func newRoute(dialect Dialect, object *unstructured.Unstructured, ref v1alpha1.RouteReference, target providers.Target) *route {
	r := &route{dialect: dialect, object: object, ref: ref, owner: target.Owner, extras: target.Extras, planned: target.Planned}
	if dialect.Kind().Cookies {
		r.session = target.Session
	}
	r.splits = parseSplits(object.GetAnnotations()[v1alpha1.SplitAnnotation])
	r.pairs = slices.Clone(target.Pairs)
	for _, s := range r.splits {
		if s.Owner == r.owner && !slices.Contains(r.pairs, s.Pair) {
			r.pairs = append(r.pairs, s.Pair)
		}
	}
	for _, rule := range dialect.Rules(object) {
		switch madeFor(rule.Name) {
		case "":
			r.views = append(r.views, viewOf(rule, len(r.views), r.pairs))
		case r.owner:
			r.made = append(r.made, rule)
		default: // Another owner's, which comes and goes without this one's doing.
		}
	}
	return r
}

// String is Kind/name.
func (r *route) String() string { return r.ref.Kind + "/" + r.ref.Name }

// split is true when the route carries anything of Weir's for the owner.
func (r *route) split() bool {
	return len(r.made) > 0 || slices.ContainsFunc(r.views, func(v view) bool { return v.split() || v.mirrored() })
}

// selected is true for a rule that the owner asked to split.
func (r *route) selected(v view) bool {
	return v.ours() && (len(r.ref.RuleNames) == 0 || v.Name != "" && slices.Contains(r.ref.RuleNames, v.Name))
}

// stamp is the owner's stamp, 0 where there is none.
func (r *route) stamp() int64 {
	return stampOf(r.object.GetAnnotations()[v1alpha1.SeqAnnotation], r.owner)
}

// hint is the weight that the owner's annotation asks for, -1 without one.
func (r *route) hint() int32 {
	hint := int32(-1)
	for _, s := range r.splits {
		if s.Owner == r.owner {
			hint = max(hint, s.Weight)
		}
	}
	return hint
}

// originals recorded for the owner.
func (r *route) originals() []original {
	return parseOriginals(r.object.GetAnnotations()[originalAnnotation])[r.owner]
}

// base is the user's weights of a rule.
func (r *route) base(v view) original { return v.base(r.originals(), r.hint()) }

// bound is the most that the canary may have of a rule.
type bound func(view) int32

// atMost is one bound for all rules.
func atMost(weight int32) bound { return func(view) int32 { return weight } }

// beforeRaise bounds the rules that are to be raised by the weight, and those
// that are not to be split any more by nothing.
func (r *route) beforeRaise(weight int32) bound {
	return func(v view) int32 {
		if r.selected(v) {
			return weight
		}
		return 0
	}
}

// exceeding is the first rule with more than its bound, or nil.
func (r *route) exceeding(limit bound) *view {
	for i, v := range r.views {
		if _, highest := v.exposure(r.hint()); highest > limit(v) {
			return &r.views[i]
		}
	}
	return nil
}

// lower gives the patch that brings the first rule above its bound down to it,
// and takes away the rules that neither the extras nor the session say, or one mirror,
// or that only stamps. It gives nil when there is nothing to do. A rule whose entries
// differ is brought to the lowest of them, so that none rises. The split policy is
// told of weight.
func (r *route) lower(weight int32, limit bound, stamp int64) ([]jsonpatch.Operation, error) {
	m := r.metadata(stamp)
	v := r.exceeding(limit)
	for i, s := range m.splits {
		if s.Owner == r.owner {
			m.splits[i].Weight = min(s.Weight, weight)
		}
	}
	if v == nil {
		m.record(r, nil)
		return r.patch(r.takeExtras(), m)
	}
	lowest, _ := v.exposure(r.hint())
	m.record(r, v)
	ops := r.dialect.Operations(v.Rule, v.at(r.base(*v).Weights, min(lowest, limit(*v))))
	return r.patch(append(ops, r.takeRules()...), m)
}

// raise gives the patch that brings one rule to exactly weight, with the rules that
// are made for it, or gives one the mirrors that it lacks, or nil. With extras a weight
// of nothing is written, too: the split policy is told of it, and so would write it.
// Rules that are not to be split any more are given back.
func (r *route) raise(weight int32, stamp int64) ([]jsonpatch.Operation, error) {
	m := r.metadata(stamp)
	m.setSplits(r, weight)
	for i, v := range r.views {
		var c Change
		switch {
		case r.selected(v) && (weight > 0 || v.split() || r.extras.ID() != ""):
			c = v.at(r.base(v).Weights, weight)
		case v.split():
			c = v.restored(r.base(v))
		}
		// Rules are made after the weights: what is put before a rule moves it.
		if ops := append(r.dialect.Operations(v.Rule, c), r.giveRules(&r.views[i])...); len(ops) > 0 {
			m.record(r, &r.views[i])
			return r.patch(ops, m)
		}
	}
	m.record(r, nil)
	return r.patch(r.giveMirrors(), m)
}

// restore gives the patch that gives one rule back, or nil. The first one takes
// the split out of the annotation, so that the policy does not put back what is
// being taken away; the last one takes out the record and the stamp.
func (r *route) restore(stamp int64) ([]jsonpatch.Operation, error) {
	m := r.metadata(stamp)
	m.splits = slices.DeleteFunc(m.splits, func(s split) bool { return s.Owner == r.owner })
	r.extras, r.session = nil, nil
	if ops := r.takeExtras(); len(ops) > 0 {
		return r.patch(ops, m)
	}
	first := slices.IndexFunc(r.views, view.split)
	var ops []jsonpatch.Operation
	if first >= 0 {
		v := r.views[first]
		ops = r.dialect.Operations(v.Rule, v.restored(r.base(v)))
		if slices.ContainsFunc(r.views[first+1:], view.split) {
			return r.patch(ops, m)
		}
	}
	m.stamp = 0
	delete(m.originals, r.owner)
	return r.patch(ops, m)
}

// metadata of a route that is Weir's.
type metadata struct {
	stamp     int64
	splits    []split
	originals map[string][]original
}

// metadata as it is, a copy with a new stamp.
func (r *route) metadata(stamp int64) *metadata {
	return &metadata{
		stamp:     stamp,
		splits:    slices.Clone(r.splits),
		originals: parseOriginals(r.object.GetAnnotations()[originalAnnotation]),
	}
}

// setSplits puts the owner's splits at the weight. Raising to 0 splits nothing
// that is not split.
func (m *metadata) setSplits(r *route, weight int32) {
	m.splits = slices.DeleteFunc(m.splits, func(s split) bool { return s.Owner == r.owner })
	if weight == 0 && r.extras.ID() == "" && !r.split() {
		return
	}
	for _, p := range r.pairs {
		m.splits = append(m.splits, split{Owner: r.owner, Pair: p, Weight: weight, Rules: r.ref.RuleNames})
	}
}

// record the user's weights of every rule that is split, of the one that is about to
// be, and of those that the split policy may split with anybody's next write. It is
// made anew each time: rules come, go and change places.
func (m *metadata) record(r *route, next *view) {
	var list []original
	asked := slices.ContainsFunc(m.splits, func(s split) bool { return s.Owner == r.owner })
	for i, v := range r.views {
		if v.split() || next == &r.views[i] || asked && r.selected(v) {
			list = append(list, r.base(v))
		}
	}
	m.originals[r.owner] = list
}

// patch makes the whole patch from the operations on a rule and the metadata,
// resting on the version that was read. It gives nil when nothing changes.
func (r *route) patch(ops []jsonpatch.Operation, m *metadata) ([]jsonpatch.Operation, error) {
	have := r.object.GetAnnotations()
	originals, err := formatOriginals(m.originals)
	if err != nil {
		return nil, err
	}
	label := ""
	if len(m.splits) > 0 {
		label = splitActive
	}
	all := metadataOperations("annotations", have, map[string]string{
		v1alpha1.SplitAnnotation: formatSplits(m.splits),
		v1alpha1.SeqAnnotation:   withStamp(have[v1alpha1.SeqAnnotation], r.owner, m.stamp),
		originalAnnotation:       originals,
	})
	all = append(all, metadataOperations("labels", r.object.GetLabels(), map[string]string{splitLabel: label})...)
	all = append(all, ops...)
	if len(all) == 0 {
		return nil, nil
	}
	version := jsonpatch.NewOperation("replace", "/metadata/resourceVersion", r.object.GetResourceVersion())
	return append([]jsonpatch.Operation{version}, all...), nil
}

// services behind the rules that the owner may split, in the order of their
// names, without those that Weir made.
func (r *route) services() []string {
	found := map[string]bool{}
	for _, v := range r.views {
		if len(r.ref.RuleNames) > 0 && !slices.Contains(r.ref.RuleNames, v.Name) {
			continue
		}
		for _, b := range v.Backends {
			found[b.Service] = b.Service != "" && canaryOf(r.pairs, b.Service) == nil
		}
	}
	for _, s := range r.splits {
		delete(found, s.Canary)
	}
	maps.DeleteFunc(found, func(_ string, ok bool) bool { return !ok })
	return slices.Sorted(maps.Keys(found))
}

// RulePath is the path of a field of a rule in messages: by name where the rule
// has one.
func RulePath(r Rule, field string) string {
	if r.List == "spec" {
		return r.List + "." + field
	}
	id := fmt.Sprint(r.Place)
	if r.Name != "" {
		id = fmt.Sprintf("name=%q", r.Name)
	}
	return strings.TrimSuffix(fmt.Sprintf("%s[%s].%s", r.List, id, field), ".")
}
