package split

import (
	"regexp"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// MatchBoth gives a list of matches which requests meet that meet one of a rule's,
// in a field of it, and one of the extras': both makes one of two, or says why the API
// cannot. Any request meets a rule without matches, and extras without.
func MatchBoth(rule Rule, field string, extras *v1alpha1.Extras, both func(base map[string]any, m v1alpha1.Match) (map[string]any, *Refusal)) ([]any, *Refusal) {
	list, _ := rule.Raw[field].([]any)
	if len(extras.Matches) == 0 {
		return list, nil
	}
	if len(list) == 0 {
		list = []any{map[string]any{}}
	}
	var out []any
	for _, item := range list {
		base, _ := item.(map[string]any)
		for _, m := range extras.Matches {
			match, refusal := both(base, m)
			if refusal != nil {
				return nil, refusal
			}
			out = append(out, match)
		}
	}
	return out, nil
}

// Headers that a request must have to meet a match, its cookie among them.
func Headers(m v1alpha1.Match) []v1alpha1.ValueMatch {
	headers := m.Headers
	for _, c := range m.Cookies {
		headers = append(headers[:len(headers):len(headers)], v1alpha1.ValueMatch{
			Type: v1alpha1.MatchRegularExpression, Name: "cookie", Value: CookiePattern(c),
		})
	}
	return headers
}

// CookiePattern is a regular expression (RE2) for a Cookie header with a cookie of
// this name and value among others.
func CookiePattern(m v1alpha1.ValueMatch) string {
	value := regexp.QuoteMeta(m.Value)
	if m.Type == v1alpha1.MatchRegularExpression {
		value = "(?:" + m.Value + ")"
	}
	return "^(?:.*; *)?" + regexp.QuoteMeta(m.Name) + "=" + value + "(?:;.*)?$"
}
