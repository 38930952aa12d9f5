package split

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestSplits(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[1:]
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
	p := newSplitter(c, c)
	is := func(owner string, want bool, reason string) {
		t.Helper()
		if got, err := p.Splits(t.Context(), target.Namespace, owner); err != nil || got != want {
			t.Errorf("%s: got %t, %v", reason, got, err)
		}
	}
	edit := func(change func(*unstructured.Unstructured)) {
		t.Helper()
		u := object(plain("GRPCRoute"))
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "ledger-grpc"}, u); err != nil {
			t.Fatal(err)
		}
		change(u)
		if err := c.Update(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	label := func(value string) func(*unstructured.Unstructured) {
		return func(u *unstructured.Unstructured) { u.SetLabels(map[string]string{splitLabel: value}) }
	}
	asWritten := func(u *unstructured.Unstructured) {
		u.Object["spec"] = simpleRoute("GRPCRoute", "ledger-grpc", "ledger").Object["spec"]
	}

	is(target.Owner, false, "the routes are as the user wrote them")
	if err := p.Raise(t.Context(), target, 500, 1, nil); err != nil {
		t.Fatal(err)
	}
	is(target.Owner, true, "one of the routes is split")
	is("cart", false, "it is split for somebody else")
	edit(label(splitOff))
	is(target.Owner, true, "a route out of the policy's hands has the canary's backend as before")
	is("cart", false, "and it is nobody else's")
	edit(asWritten)
	is(target.Owner, false, "whoever took the route into their hands has written it without the canary")
	edit(label(splitActive))
	is(target.Owner, true, "the policy would split it again with the next write")
	if err := p.Restore(t.Context(), target, 2, nil); err != nil {
		t.Fatal(err)
	}
	is(target.Owner, false, "the route was given back")
}
