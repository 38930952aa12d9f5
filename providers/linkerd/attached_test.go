package linkerd

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

// The status of a route on which Linkerd has reported, as it writes that.
const (
	reported  = `{parents: [{controllerName: linkerd.io/policy-controller, parentRef: {group: core, kind: Service, name: web, namespace: shop}, conditions: []}]}`
	elsewhere = `{parents: [{controllerName: linkerd.io/policy-controller, parentRef: {group: core, kind: Service, name: web, namespace: other}, conditions: []}]}`
)

// TestPassedOver: routes that Linkerd accepts, or says little of, and does not follow.
func TestPassedOver(t *testing.T) {
	const backend = "{name: web, port: 80}"
	route := func(rules, status string) *unstructured.Unstructured {
		return object(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, namespace: shop}, spec: {rules: [`+rules+`]}, status: `+status+`}`)
	}
	service := func(spec string) *unstructured.Unstructured {
		return object(t, `{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: `+spec+`}`)
	}
	plain := "{backendRefs: [" + backend + "]}"
	mirror := []*v1alpha1.Extras{nil, {Mirror: &v1alpha1.Mirror{Weight: 10}}}
	cases := map[string]struct {
		reason string
		route  *unstructured.Unstructured
		others []*unstructured.Unstructured
		plan   []*v1alpha1.Extras
		want   string // object and field that are named, empty for none
	}{
		"Plain":   {"nothing is wrong", route(plain, reported), []*unstructured.Unstructured{service("{clusterIP: 10.96.0.9}")}, nil, ""},
		"Profile": {"proxies follow the profile instead", route(plain, reported), []*unstructured.Unstructured{profileWith(t, "{}")}, nil, "ServiceProfile/" + name + " metadata.name"},
		"ProfileOfGateway": {
			"a route of a Gateway is none of Linkerd's", route(plain, "{parents: []}"),
			[]*unstructured.Unstructured{profileWith(t, "{}")}, nil, "",
		},
		"ProfileElsewhere": {"another namespace's Service is another", route(plain, elsewhere), []*unstructured.Unstructured{profileWith(t, "{}")}, nil, ""},
		"Filter":           {"it keeps the weights that it had", route("{filters: [{type: RequestHeaderModifier}, {type: URLRewrite}]}", reported), nil, nil, "HTTPRoute/web spec.rules[0].filters[1]"},
		"KnownFilters": {
			"these it knows",
			route("{filters: [{type: RequestHeaderModifier}, {type: ResponseHeaderModifier}, {type: RequestRedirect}], backendRefs: ["+backend+"]}", reported), nil, nil, "",
		},
		"BackendFilter": {"the backend fails", route("{backendRefs: [{name: web, port: 80, filters: [{type: RequestMirror}]}]}", reported), nil, nil, "HTTPRoute/web spec.rules[0].backendRefs[0].filters[0]"},
		"NoPort":        {"so it does without a port", route(plain+", {backendRefs: ["+backend+", {name: other}]}", reported), nil, nil, "HTTPRoute/web spec.rules[1].backendRefs[1].port"},
		"Headless":      {"Linkerd says only that no parent matches", route(plain, reported), []*unstructured.Unstructured{service("{clusterIP: None}")}, nil, "HTTPRoute/web spec.parentRefs"},
		"ExternalName":  {"so it does of a name", route(plain, reported), []*unstructured.Unstructured{service("{type: ExternalName, externalName: example.com}")}, nil, "HTTPRoute/web spec.parentRefs"},
		"Mirror":        {"it would keep the weights that it had", route(plain, reported), nil, mirror, "HTTPRoute/web spec.rules[].filters"},
		"MirrorOfGateway": {
			"others mirror", route("{filters: [{type: RequestMirror}], backendRefs: ["+backend+"]}", "{parents: []}"), nil, mirror, "",
		},
		"OtherKind": {"what is no route of Gateway API is no matter", profileWith(t, "{}"), nil, mirror, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := fake.NewClientBuilder()
			for _, o := range tc.others {
				b.WithObjects(o)
			}
			to := target()
			to.Planned = tc.plan
			err := routes{live: b.Build()}.attached(t.Context(), to, []*unstructured.Unstructured{tc.route})
			got := ""
			var unsupported *providers.UnsupportedError
			if errors.As(err, &unsupported) {
				got = unsupported.Object + " " + unsupported.Field
			}
			if got != tc.want || got == "" && err != nil {
				t.Errorf("%s: error is %v, want one about %q", tc.reason, err, tc.want)
			}
			if unsupported != nil && (unsupported.Problem == "" || unsupported.Remedy == "") {
				t.Errorf("%q names no problem or no remedy", err)
			}
		})
	}
}
