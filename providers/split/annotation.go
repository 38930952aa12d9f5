package split

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

const (
	// originalAnnotation holds the user's weights of the rules that are split.
	originalAnnotation = v1alpha1.SplitAnnotation + "-original"
	// splitLabel selects the routes that the split policy looks at. It is a
	// label because admission can select by nothing else.
	splitLabel = v1alpha1.SplitAnnotation
	// splitActive is the label's value on a route that is split. splitOff is what an
	// operator sets, to take a route out of the split policy's hands.
	splitActive, splitOff = "active", "off"
	// allRules stands for every rule with a backend of the workload.
	allRules = "*"
)

// split is what one Rollout asks for one pair of Services on a route.
type split struct {
	Owner string
	providers.Pair
	// Weight of the canary, in parts per 10,000.
	Weight int32
	// Rules by name; nil for every rule with a backend of the pair.
	Rules []string
}

// covers is true when the split is meant for a rule of this name.
func (s split) covers(rule string) bool {
	return len(s.Rules) == 0 || rule != "" && slices.Contains(s.Rules, rule)
}

// parseSplits reads the split annotation. Pieces that cannot be read are left
// out: someone edited them, and the next write puts them right.
func parseSplits(value string) []split {
	var out []split
	for piece := range strings.SplitSeq(value, ";") {
		f := strings.Split(piece, " ")
		if len(f) != 5 {
			continue
		}
		weight, err := strconv.ParseInt(f[3], 10, 32)
		if err != nil || weight < 0 || weight > full {
			continue
		}
		s := split{Owner: f[0], Pair: providers.Pair{Stable: f[1], Canary: f[2]}, Weight: int32(weight)}
		if f[4] != allRules {
			s.Rules = strings.Split(f[4], ",")
		}
		out = append(out, s)
	}
	return out
}

// Owners are the Rollouts for which a route is split, sorted. One of them may not
// exist any more.
func Owners(route client.Object) []string {
	var owners []string
	for _, s := range parseSplits(route.GetAnnotations()[v1alpha1.SplitAnnotation]) {
		owners = append(owners, s.Owner)
	}
	slices.Sort(owners)
	return slices.Compact(owners)
}

// formatSplits writes the split annotation, in one order whatever the input's.
func formatSplits(splits []split) string {
	splits = slices.SortedFunc(slices.Values(splits), func(a, b split) int {
		return cmp.Or(strings.Compare(a.Owner, b.Owner), strings.Compare(a.Stable, b.Stable))
	})
	pieces := make([]string, len(splits))
	for i, s := range splits {
		rules := allRules
		if len(s.Rules) > 0 {
			rules = strings.Join(slices.Sorted(slices.Values(s.Rules)), ",")
		}
		pieces[i] = fmt.Sprintf("%s %s %s %d %s", s.Owner, s.Stable, s.Canary, s.Weight, rules)
	}
	return strings.Join(pieces, ";")
}

// stampOf is the owner's stamp in the seq annotation, 0 where there is none.
func stampOf(value, owner string) int64 {
	for piece := range strings.SplitSeq(value, ";") {
		if name, number, ok := strings.Cut(piece, "="); ok && name == owner {
			stamp, err := strconv.ParseInt(number, 10, 64)
			if err == nil {
				return stamp
			}
		}
	}
	return 0
}

// withStamp is the seq annotation with the owner's stamp set, or taken out
// where it is 0.
func withStamp(value, owner string, stamp int64) string {
	var pieces []string
	for piece := range strings.SplitSeq(value, ";") {
		if name, _, ok := strings.Cut(piece, "="); ok && name != owner {
			pieces = append(pieces, piece)
		}
	}
	if stamp != 0 {
		pieces = append(pieces, owner+"="+strconv.FormatInt(stamp, 10))
	}
	slices.Sort(pieces)
	return strings.Join(pieces, ";")
}

// original is what the user wrote in one rule that is split.
type original struct {
	// Rule is the rule's place when it was recorded, Name its name, if any.
	Rule int    `json:"rule"`
	Name string `json:"name,omitempty"`
	// Weights of the user's backends, in their order, and the places of those that
	// are not written, or written as 0 though they count.
	Weights []int64 `json:"weights"`
	Unset   []int   `json:"unset,omitempty"`
	Zero    []int   `json:"zero,omitempty"`
}

// parseOriginals reads the annotation of originals. One that cannot be read is
// as none: the weights are then inferred.
func parseOriginals(value string) map[string][]original {
	out := map[string][]original{}
	if value == "" || json.Unmarshal([]byte(value), &out) != nil {
		return map[string][]original{}
	}
	return out
}

// formatOriginals writes the annotation of originals.
func formatOriginals(originals map[string][]original) (string, error) {
	for owner, list := range originals {
		if len(list) == 0 {
			delete(originals, owner)
		}
	}
	if len(originals) == 0 {
		return "", nil
	}
	b, err := json.Marshal(originals) // sorts the owners
	if err != nil {
		return "", fmt.Errorf("cannot record the user's weights: %w", err)
	}
	return string(b), nil
}
