package gatewayapi

import "testing"

func TestSplits(t *testing.T) {
	target := ledger()
	target.Routes = target.Routes[1:]
	c := newCluster(t, simpleRoute("HTTPRoute", "ledger-http", "ledger"), simpleRoute("GRPCRoute", "ledger-grpc", "ledger"))
	p := New(c, c)
	is := func(owner string, want bool, reason string) {
		t.Helper()
		if got, err := p.Splits(t.Context(), target.Namespace, owner); err != nil || got != want {
			t.Errorf("%s: got %t, %v", reason, got, err)
		}
	}
	is(target.Owner, false, "the routes are as the user wrote them")
	if err := p.Raise(t.Context(), target, 500, 1, nil); err != nil {
		t.Fatal(err)
	}
	is(target.Owner, true, "one of the routes is split")
	is("cart", false, "it is split for somebody else")
	if err := p.Restore(t.Context(), target, 2, nil); err != nil {
		t.Fatal(err)
	}
	is(target.Owner, false, "the route was given back")
}
