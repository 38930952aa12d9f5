package gateway

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weir-dev/weir/e2e/sandbox/internal/match"
	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// Kinds of the objects that have a status of the gateway's.
const (
	kindGatewayClass = "GatewayClass"
	kindGateway      = "Gateway"
	kindHTTPRoute    = "HTTPRoute"
	kindGRPCRoute    = "GRPCRoute"
)

// objectKey names an object that has a status of the gateway's.
type objectKey struct{ kind, namespace, name string }

func (k objectKey) String() string { return k.kind + " " + k.namespace + "/" + k.name }

// route is what HTTPRoute and GRPCRoute have in common.
type route struct {
	key        objectKey
	created    metav1.Time
	generation int64
	parents    []gwv1.ParentReference
	hostnames  []gwv1.Hostname
	rules      []ruleSpec
	// unsupported says why the route cannot be accepted by any parent.
	unsupported error
}

// ruleSpec is a rule whose references are not resolved yet.
type ruleSpec struct {
	name              string
	matches           []match.Match
	backends          []backendSpec
	mirrors           []mirrorSpec
	request, response proxy.HeaderChange
	timeout           time.Duration
}

// backendSpec is a reference to a backend; field is its path in the route.
type backendSpec struct {
	field             string
	ref               gwv1.BackendObjectReference
	weight            int64
	request, response proxy.HeaderChange
}

type mirrorSpec struct {
	field                  string
	ref                    gwv1.BackendObjectReference
	numerator, denominator int64
}

// byAge orders routes as Gateway API orders them where they are equal: the
// oldest first, then by namespace and name.
func byAge(a, b *route) int {
	return cmp.Or(
		a.created.Compare(b.created.Time),
		cmp.Compare(a.key.namespace+"/"+a.key.name, b.key.namespace+"/"+b.key.name),
		cmp.Compare(a.key.kind, b.key.kind),
	)
}

func newRoute(kind string, meta metav1.ObjectMeta, spec gwv1.CommonRouteSpec, hostnames []gwv1.Hostname) *route {
	return &route{
		key:        objectKey{kind, meta.Namespace, meta.Name},
		created:    meta.CreationTimestamp,
		generation: meta.Generation,
		parents:    spec.ParentRefs,
		hostnames:  hostnames,
	}
}

// ruleName returns the name of a rule or, if it has none, its index.
func ruleName(name *gwv1.SectionName, index int) string {
	if name != nil {
		return string(*name)
	}
	return fmt.Sprint(index)
}

// weightOf returns the weight of a backend; the API's default is 1.
func weightOf(weight *int32) int64 {
	if weight == nil {
		return 1
	}
	return int64(*weight)
}

// filters are the filters of a rule or a backend.
type filters struct {
	request, response proxy.HeaderChange
	mirrors           []mirrorSpec
}

// filter is the part of HTTPRouteFilter and GRPCRouteFilter that both have.
type filter struct {
	kind              string
	request, response *gwv1.HTTPHeaderFilter
	mirror            *gwv1.HTTPRequestMirrorFilter
}

// add takes in one filter; it returns an error if it is not supported.
func (f *filters) add(field string, one filter) error {
	switch {
	case one.kind == string(gwv1.HTTPRouteFilterRequestHeaderModifier) && one.request != nil:
		f.request = headerChange(one.request)
	case one.kind == string(gwv1.HTTPRouteFilterResponseHeaderModifier) && one.response != nil:
		f.response = headerChange(one.response)
	case one.kind == string(gwv1.HTTPRouteFilterRequestMirror) && one.mirror != nil:
		f.mirrors = append(f.mirrors, newMirrorSpec(field+".requestMirror", one.mirror))
	default:
		return fmt.Errorf("%s.type %s is not supported: use RequestHeaderModifier, ResponseHeaderModifier or RequestMirror",
			field, one.kind)
	}
	return nil
}

// noMirrors returns an error if there are mirrors, which only rules may have.
func (f *filters) noMirrors() error {
	if len(f.mirrors) == 0 {
		return nil
	}
	return fmt.Errorf("%s is not supported for a single backend: move it to the filters of the rule", f.mirrors[0].field)
}

func newMirrorSpec(field string, m *gwv1.HTTPRequestMirrorFilter) mirrorSpec {
	spec := mirrorSpec{field: field + ".backendRef", ref: m.BackendRef, numerator: 1, denominator: 1}
	switch {
	case m.Fraction != nil:
		spec.numerator, spec.denominator = int64(m.Fraction.Numerator), 100
		if d := m.Fraction.Denominator; d != nil && *d > 0 {
			spec.denominator = int64(*d)
		}
	case m.Percent != nil:
		spec.numerator, spec.denominator = int64(*m.Percent), 100
	}
	return spec
}

func headerChange(f *gwv1.HTTPHeaderFilter) proxy.HeaderChange {
	c := proxy.HeaderChange{Set: http.Header{}, Add: http.Header{}, Remove: slices.Clone(f.Remove)}
	for _, h := range f.Set {
		c.Set.Set(string(h.Name), h.Value)
	}
	for _, h := range f.Add {
		c.Add.Add(string(h.Name), h.Value)
	}
	return c
}

// valueMatch is the part of the matches of headers and query parameters that
// all of them have.
type valueMatch struct{ kind, name, value string }

// newValues returns conditions for matches; of several with one name only the
// first counts, as Gateway API says. canonical makes names comparable.
func newValues(field string, matches []valueMatch, canonical func(string) string) ([]match.Value, error) {
	var list []match.Value
	seen := map[string]bool{}
	for i, m := range matches {
		name := canonical(m.name)
		if seen[name] {
			continue
		}
		seen[name] = true
		if m.kind != string(gwv1.HeaderMatchRegularExpression) {
			list = append(list, match.ExactValue(name, m.value))
			continue
		}
		v, err := match.RegexValue(name, m.value)
		if err != nil {
			return nil, fmt.Errorf("%s[%d].value %q is no regular expression: %w", field, i, m.value, err)
		}
		list = append(list, v)
	}
	return list, nil
}

// sameName is the canonical form of names that have only one.
func sameName(name string) string { return name }

// deref returns what p points to, or fallback.
func deref[T ~string](p *T, fallback string) string {
	if p == nil {
		return fallback
	}
	return string(*p)
}

// shortest returns the least of the durations that are set and not 0; 0 means
// that none is.
func shortest(field string, durations map[string]*gwv1.Duration) (time.Duration, error) {
	var least time.Duration
	for name, d := range durations {
		if d == nil {
			continue
		}
		value, err := time.ParseDuration(string(*d))
		if err != nil {
			return 0, fmt.Errorf("%s.%s %q is no duration: %s", field, name, *d, strings.TrimPrefix(err.Error(), "time: "))
		}
		if value > 0 && (least == 0 || value < least) {
			least = value
		}
	}
	return least, nil
}
