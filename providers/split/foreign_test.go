package split

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestForeignWriter(t *testing.T) {
	rules := []metav1.ManagedFieldsEntry{
		{Manager: "gateway", Subresource: "status", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:status":{}}`)},
		{Manager: FieldManager, FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{"f:annotations":{}}}`)},
		{Manager: "kustomize-controller", FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:hostnames":{},"f:rules":{}}}`)},
	}
	target := ledger()
	target.Routes = target.Routes[:1]
	_, versions := run(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), target, raising(500, 1))
	kept := last(versions)
	kept.SetManagedFields(rules)
	undone := kept.DeepCopy()
	undone.Object["spec"] = simpleRoute("HTTPRoute", "ledger-http", "ledger").Object["spec"]
	cases := map[string]struct {
		reason string
		object *unstructured.Unstructured
		want   string
	}{
		"Undone": {"the annotation asks for a split that the rules do not carry", undone, "kustomize-controller"},
		"Kept":   {"whoever wrote the rules, they carry the split", kept, ""},
		"Never":  {"nobody undid what was never asked for", simpleRoute("HTTPRoute", "ledger-http", "ledger"), ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := newRoute(plain("HTTPRoute"), tc.object, target.Routes[0], target).foreignWriter(); got != tc.want {
				t.Errorf("\n%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
