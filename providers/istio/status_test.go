package istio

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/providers/internal/routetest"
	"github.com/weir-dev/weir/providers/split"
)

// TestStatus: what Istio says of a VirtualService of generation 3.
func TestStatus(t *testing.T) {
	reconciled := func(status string, generation any) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{
			"type": "Reconciled", "status": status, "message": "1/2 proxies up to date", "observedGeneration": generation,
			"lastProbeTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z",
		}}}
	}
	found := func(level string, generation any) map[string]any {
		return map[string]any{"observedGeneration": generation, "validationMessages": []any{map[string]any{
			"type": map[string]any{"name": "ReferencedResourceNotFound", "code": "IST0101"}, "level": level,
			"documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
		}}}
	}
	accepted := split.Status{Accepted: true, Processed: true}
	cases := map[string]struct {
		reason string
		status any
		want   split.Status
	}{
		"Silent":     {reason: "by default Istio says nothing", want: accepted},
		"Empty":      {reason: "nor does an empty status say anything", status: map[string]any{}, want: accepted},
		"Reconciled": {reason: "all proxies have it", status: reconciled("True", int64(3)), want: accepted},
		"AsText":     {reason: "generations are written as text", status: reconciled("True", "3"), want: accepted},
		"NoGeneration": {
			reason: "where none is written no more can be known",
			status: reconciled("True", nil), want: accepted,
		},
		"Older": {
			reason: "what proxies have is an older one",
			status: reconciled("True", "2"),
			want:   split.Status{Message: "VirtualService/shop: proxies have not got generation 3 yet"},
		},
		"OlderObject": {
			reason: "the same, said of the whole status",
			status: func() any { s := reconciled("True", nil); s["observedGeneration"] = "2"; return s }(),
			want:   split.Status{Message: "VirtualService/shop: proxies have not got generation 3 yet"},
		},
		"SomeProxies": {
			reason: "some proxies have not got it",
			status: reconciled("False", "3"),
			want:   split.Status{Message: "VirtualService/shop: not all proxies have it: 1/2 proxies up to date"},
		},
		"Error": {
			reason: "an error that was found is told, and proxies have the object nevertheless",
			status: found("ERROR", "3"),
			want:   split.Status{Processed: true, Message: "VirtualService/shop: Istio found ReferencedResourceNotFound (IST0101): see istioctl analyze"},
		},
		"OldError":   {reason: "one that was found in an older generation may be mended", status: found("ERROR", "2"), want: accepted},
		"Warning":    {reason: "a warning keeps nothing from working", status: found("WARNING", "3"), want: accepted},
		"OtherKinds": {reason: "other conditions say nothing of proxies", status: map[string]any{"conditions": []any{map[string]any{"type": "Ready", "status": "False"}}}, want: accepted},
		"Unreadable": {
			reason: "what cannot be read is not taken for good",
			status: map[string]any{"conditions": "none"},
			want:   split.Status{Message: "VirtualService/shop: its status cannot be read: cannot restore slice from string"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			u := routetest.Object(t, "shop")
			if tc.status != nil {
				u.Object["status"] = tc.status
			}
			if diff := cmp.Diff(tc.want, dialect{}.Status(t.Context(), u, true)); diff != "" {
				t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}
