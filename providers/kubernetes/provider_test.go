package kubernetes

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/providers"
)

var target = providers.Target{Namespace: "shop", Owner: "web", StableRevision: "old", CanaryRevision: "wnew"}

// pod of a revision, ready or not.
func pod(name, revision string, ready bool) *corev1.Pod {
	status := corev1.ConditionFalse
	if ready {
		status = corev1.ConditionTrue
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{"app": "web", "pod-template-hash": revision}},
		Status:     corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}},
	}
}

// terminating makes the pod one that is being deleted.
func terminating(p *corev1.Pod) *corev1.Pod {
	now := metav1.Now()
	p.DeletionTimestamp, p.Finalizers = &now, []string{"example.com/hold"}
	return p
}

// service with a selector on app.
func service(name, app string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": app}},
	}
}

// slice of a Service's endpoints: names of pods that are ready.
func slice(name, service string, pods ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
	}
	for _, p := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: p}})
	}
	return s
}

// unready marks the last endpoint as one that gets no traffic.
func unready(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	no := false
	s.Endpoints[len(s.Endpoints)-1].Conditions.Ready = &no
	return s
}

func TestObserve(t *testing.T) {
	managed := service("web-canary", "web")
	managed.Labels = map[string]string{v1alpha1.ManagedLabel: "web"}
	cases := map[string]struct {
		reason  string
		objects []client.Object
		pairs   []providers.Pair
		want    providers.Observation
	}{
		"ThreeAndOne": {
			reason: "the share is of the pods behind the Service",
			objects: []client.Object{
				pod("a", "old", true), pod("b", "old", true), pod("c", "old", true), pod("x", "wnew", true),
				service("web", "web"), slice("web-1", "web", "a", "b", "c", "x"),
			},
			want: providers.Observation{Split: true, Weight: 2500, LowestWeight: 2500, Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"NoCanary": {
			reason:  "without canary pods nothing is split",
			objects: []client.Object{pod("a", "old", true), service("web", "web"), slice("web-1", "web", "a")},
			want:    providers.Observation{Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"DualStack": {
			reason: "a pod with two addresses counts once",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", true), service("web", "web"),
				slice("web-4", "web", "a", "x"), slice("web-6", "web", "x"),
			},
			want: providers.Observation{Split: true, Weight: 5000, LowestWeight: 5000, Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"NotListedYet": {
			reason: "a ready pod without an endpoint has no share, and the split is not in force",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", true), service("web", "web"), slice("web-1", "web", "a"),
			},
			want: providers.Observation{
				Services: []string{"web"},
				Message:  "Service/web: pods that are ready and not in its EndpointSlices yet: 1; not ready and still in them: 0",
			},
		},
		"StillListed": {
			reason: "nor is it while a pod that went away has an endpoint",
			objects: []client.Object{
				pod("a", "old", true), terminating(pod("x", "wnew", true)), service("web", "web"), slice("web-1", "web", "a", "x"),
			},
			want: providers.Observation{
				Split: true, Weight: 5000, LowestWeight: 5000, Services: []string{"web"},
				Message: "Service/web: pods that are ready and not in its EndpointSlices yet: 0; not ready and still in them: 1",
			},
		},
		"NotReady": {
			reason: "a pod that is not ready gets no traffic",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", false), service("web", "web"), unready(slice("web-1", "web", "a", "x")),
			},
			want: providers.Observation{Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"TwoServices": {
			reason: "of two Services the higher and the lower share",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", true),
				service("web", "web"), slice("web-1", "web", "a", "x"),
				service("admin", "web"), slice("admin-1", "admin", "x"),
			},
			want: providers.Observation{
				Split: true, Weight: 10000, LowestWeight: 5000, Services: []string{"admin", "web"},
				Message: "Service/admin: pods that are ready and not in its EndpointSlices yet: 1; not ready and still in them: 0",
			},
		},
		"Narrowed": {
			reason: "pairs narrow the Services",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", true),
				service("web", "web"), slice("web-1", "web", "a", "x"),
				service("admin", "web"), slice("admin-1", "admin", "x"),
			},
			pairs: []providers.Pair{{Stable: "web"}},
			want:  providers.Observation{Split: true, Weight: 5000, LowestWeight: 5000, Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"Others": {
			reason: "Services of other workloads, of Weir and without a selector do not count",
			objects: []client.Object{
				pod("a", "old", true), pod("x", "wnew", true), managed, service("pay", "pay"), service("web", "web"),
				&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "external"}},
				slice("web-1", "web", "a", "x"),
			},
			want: providers.Observation{Split: true, Weight: 5000, LowestWeight: 5000, Accepted: true, Processed: true, Services: []string{"web"}},
		},
		"NoService": {
			reason:  "a workload without a Service shares by its pods",
			objects: []client.Object{pod("a", "old", true), pod("b", "old", true), pod("x", "wnew", true), pod("y", "wnew", false)},
			want:    providers.Observation{Split: true, Weight: 3333, LowestWeight: 3333, Accepted: true, Processed: true},
		},
		"Nothing": {reason: "no pods, no share", want: providers.Observation{Accepted: true, Processed: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := fake.NewClientBuilder().WithObjects(tc.objects...).Build()
			asked := target
			asked.Pairs = tc.pairs
			for _, live := range []bool{false, true} {
				got, err := New(c, c).Observe(t.Context(), asked, live)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\n-want +got:\n%s", tc.reason, diff)
				}
			}
		})
	}
}
