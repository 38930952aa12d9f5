package linkerd

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"

	"github.com/linkerd/linkerd2/controller/gen/apis/serviceprofile/v1alpha2"
	"gomodules.xyz/jsonpatch/v2"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers/split"
)

// overrides is where a profile has its weights.
const overrides = "/spec/dstOverrides"

// Streams tells what Linkerd's destination controller streams to proxies.
type Streams interface {
	// Weights of an authority, by the authorities without port that its requests go to
	// instead, in ten-thousandths of a quantity; empty for none. An error means that the
	// controller cannot be asked.
	Weights(ctx context.Context, authority string) (map[string]uint32, error)
}

// profile is the dialect of ServiceProfile: one rule for all requests.
type profile struct {
	// streams are asked what is in force; nil where nobody can be.
	streams Streams
}

var _ split.Dialect = profile{}

// Kind of the routes.
func (profile) Kind() split.Kind {
	return split.Kind{
		GroupVersionKind: profileKind(),
		Carrier:          destinationController,
		Install:          "install Linkerd with its ServiceProfiles, or use an HTTPRoute with the Service as its parent",
		NotFound:         "it has the full name of the Service, such as web.shop.svc.cluster.local, and lies in the namespace of the Service",
	}
}

// Rules of a profile: the one that it is. Without overrides the Service that it is
// named after stands for an entry that is not written.
func (profile) Rules(object *unstructured.Unstructured) []split.Rule {
	rule := split.Rule{List: "spec", Entries: "dstOverrides"}
	rule.Raw, _ = object.Object["spec"].(map[string]any)
	entries := decode(object).Spec.DstOverrides
	if len(entries) == 0 {
		authority := object.GetName()
		rule.Backends = []split.Backend{{
			Service: serviceOf(authority, object.GetNamespace()), Weight: 1, Unset: true, Raw: map[string]any{"authority": authority},
		}}
		return []split.Rule{rule}
	}
	list, _ := rule.Raw["dstOverrides"].([]any)
	for i, entry := range entries {
		raw, _ := list[i].(map[string]any)
		rule.Backends = append(rule.Backends, split.Backend{
			Service: serviceOf(entry.Authority, object.GetNamespace()), Weight: entry.Weight.MilliValue(), Raw: raw,
		})
	}
	return []split.Rule{rule}
}

// decode a profile. One that cannot be read has no overrides: the API server's
// schema admits none that cannot.
func decode(object *unstructured.Unstructured) v1alpha2.ServiceProfile {
	var p v1alpha2.ServiceProfile
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, &p); err != nil {
		return v1alpha2.ServiceProfile{}
	}
	return p
}

// serviceOf is the Service of a namespace that an authority names, empty where it
// names something else. Linkerd knows full names only, with a port or without.
func serviceOf(authority, namespace string) string {
	host, _, _ := strings.Cut(authority, ":")
	name, rest, _ := strings.Cut(host, ".")
	if strings.HasPrefix(rest, namespace+".svc.") {
		return name
	}
	return ""
}

// authorityOf is that of another Service of the same namespace.
func authorityOf(like any, service string) string {
	text, _ := like.(string)
	_, rest, _ := strings.Cut(text, ".")
	return service + "." + rest
}

// written is how a weight is written: as a quantity, in thousandths.
func written(weight int64) string {
	return resource.NewMilliQuantity(weight, resource.DecimalSI).String()
}

// Operations that make a change. The rule is one field, which is written as a whole.
func (profile) Operations(rule split.Rule, change split.Change) []jsonpatch.Operation {
	entries := make([]map[string]any, len(rule.Backends))
	for i, b := range rule.Backends {
		entries[i] = runtime.DeepCopyJSON(b.Raw)
	}
	none := false
	for _, e := range change.Edits {
		switch none = none || e.Unset; {
		case e.Remove:
			entries[e.Index] = nil
			continue
		case e.Service != "":
			entries[e.Index]["authority"] = authorityOf(rule.Backends[e.Index].Raw["authority"], e.Service)
		}
		entries[e.Index]["weight"] = written(e.Weight)
	}
	for _, t := range change.Twins {
		entries = append(entries, map[string]any{"authority": authorityOf(rule.Backends[t.From].Raw["authority"], t.Service), "weight": written(t.Weight)})
	}
	var list []any
	for _, entry := range entries {
		if entry != nil {
			list = append(list, entry)
		}
	}
	if none {
		list = nil
	}
	return replaced(rule.Raw, list, len(change.Edits) > 0)
}

// replaced are operations after which a profile has a list of overrides, or none.
func replaced(spec map[string]any, list []any, asked bool) []jsonpatch.Operation {
	have, there := spec["dstOverrides"]
	switch {
	case !asked, !there && list == nil, reflect.DeepEqual(have, any(list)):
		return nil
	case there && list == nil:
		return []jsonpatch.Operation{jsonpatch.NewOperation("test", overrides, have), jsonpatch.NewOperation("remove", overrides, nil)}
	case there:
		return []jsonpatch.Operation{jsonpatch.NewOperation("test", overrides, have), jsonpatch.NewOperation("replace", overrides, list)}
	case spec == nil:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", "/spec", map[string]any{}), jsonpatch.NewOperation("add", overrides, list)}
	default:
		return []jsonpatch.Operation{jsonpatch.NewOperation("add", overrides, list)}
	}
}

// Matched is refused: a profile is for all requests alike.
func (profile) Matched(rule split.Rule, _ string, _ []split.Twin, _ *v1alpha1.Extras) (map[string]any, *split.Refusal) {
	return nil, refuseExtras(rule, "matches")
}

// Mirrored is refused: Linkerd mirrors nothing.
func (profile) Mirrored(rule split.Rule, _ split.Twin, _ int32) (map[string]any, *split.Refusal) {
	return nil, refuseExtras(rule, "mirror")
}

// refuseExtras says that a profile cannot do what a step asks for.
func refuseExtras(rule split.Rule, what string) *split.Refusal {
	return &split.Refusal{
		Field: rule.List + "." + rule.Entries, Problem: "has weights and nothing else, and a step has " + what,
		Remedy: "take " + what + " out of the steps" + map[string]string{"matches": ", or use an HTTPRoute with the Service as its parent"}[what],
	}
}

// Refuse what could not be given back as it was.
func (profile) Refuse(object *unstructured.Unstructured, rules []split.Rule) *split.Refusal {
	spec, _ := object.Object["spec"].(map[string]any)
	if list, there := spec["dstOverrides"].([]any); there && len(list) == 0 {
		return &split.Refusal{Field: "spec.dstOverrides", Problem: "is an empty list, which could not be given back as it is", Remedy: "take the field out"}
	}
	for _, r := range rules {
		for _, b := range r.Backends {
			if text, ok := b.Raw["weight"].(string); !b.Unset && (!ok || text != written(b.Weight)) {
				return &split.Refusal{
					Field: "spec.dstOverrides[].weight", Problem: "is not written as Weir can give it back",
					Remedy: "write it as " + cmp.Or(written(b.Weight), "0"),
				}
			}
		}
	}
	return nil
}

// streamTimeout bounds a question to the destination controller. A pass waits for it.
const streamTimeout = 2 * time.Second

// Status of a profile is what the destination controller streams to proxies. Where
// nobody can be asked, what is written is taken for what is in force; so is a profile
// at rest, but for those who read live, since they are about to act on it.
func (p profile) Status(ctx context.Context, object *unstructured.Unstructured, live bool) split.Status {
	if p.streams == nil || !live && !split.Stamped(object) {
		return split.Status{Accepted: true, Processed: true}
	}
	ctx, cancel := context.WithTimeout(ctx, streamTimeout)
	defer cancel()
	said, err := p.streams.Weights(ctx, object.GetName())
	pending := func(problem string) split.Status {
		return split.Status{Unannounced: true, Message: "ServiceProfile/" + object.GetName() + ": " + problem}
	}
	switch {
	case err != nil:
		return pending(fmt.Sprintf("Linkerd's destination controller cannot be asked: %v", err))
	case !maps.Equal(said, streamed(object)):
		return pending("Linkerd's destination controller streams other weights yet")
	default:
		return split.Status{Accepted: true, Processed: true}
	}
}

// streamed is what the destination controller ought to stream for a profile: each
// authority with a port, weights in ten-thousandths, as its profile translator has it.
func streamed(object *unstructured.Unstructured) map[string]uint32 {
	out := map[string]uint32{}
	for _, o := range decode(object).Spec.DstOverrides {
		out[withoutPort(o.Authority)] += uint32(o.Weight.MilliValue() * 10)
	}
	return out
}

// withoutPort is an authority without its port, which the controller fills in.
func withoutPort(authority string) string {
	host, _, _ := strings.Cut(authority, ":")
	return strings.TrimSuffix(host, ".")
}
