package workload

import (
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

const (
	namespace = "shop"
	// stableHash is spelled as the Deployment controller spells hashes.
	stableHash = "7d9f8c5b4"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testScheme knows the kinds that the tests use.
var testScheme = sync.OnceValue(func() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, policyv1.AddToScheme, v1alpha1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err)
		}
	}
	return scheme
})

// newTestClient makes a Client on a fake API server that holds the objects. The
// fake one does not know generations or owners; what the real one does with
// them is tested on the sandbox.
func newTestClient(t *testing.T, objs ...client.Object) (*Client, client.WithWatch) {
	t.Helper()
	api := fake.NewClientBuilder().WithScheme(testScheme()).WithObjects(objs...).
		WithStatusSubresource(&appsv1.Deployment{}, &v1alpha1.Rollout{}).
		WithIndex(&appsv1.ReplicaSet{}, OwnerIndex, IndexOwners).
		Build()
	c := New(api, api, api)
	c.now = func() time.Time { return epoch }
	return c, api
}

// rollout of Deployment web, with routes.
func rollout(edit ...func(*v1alpha1.Rollout)) *v1alpha1.Rollout {
	r := &v1alpha1.Rollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", UID: "rollout-uid", ResourceVersion: "7"},
		Spec: v1alpha1.RolloutSpec{
			WorkloadRef: v1alpha1.WorkloadReference{Kind: "Deployment", Name: "web"},
			Traffic:     &v1alpha1.Traffic{RouteRefs: []v1alpha1.RouteReference{{Kind: "HTTPRoute", Name: "web"}}},
		},
		Status: v1alpha1.RolloutStatus{
			Stable: v1alpha1.RevisionStatus{Revision: stableHash},
			Canary: v1alpha1.RevisionStatus{Revision: revisionOf(podTemplate("v2"))},
			Record: v1alpha1.Record{Seq: 10, ReleaseSeq: 5, ExposureSeq: 5, TermSeq: 4},
		},
	}
	r.Status.Workload.UID = "target-uid"
	r.Status.Release.Stage = v1alpha1.StageProgressing
	r.Status.Traffic.Services = []string{"web"}
	for _, e := range edit {
		e(r)
	}
	return r
}

// podTemplate of one version.
func podTemplate(version string) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "web:" + version}}},
	}
}

// revisionOf is the revision of Weir's making of a template.
func revisionOf(t corev1.PodTemplateSpec) string {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&t)
	if err != nil {
		panic(err)
	}
	digest, err := template(raw).digest()
	if err != nil {
		panic(err)
	}
	return revisionOfDigest(digest)
}

// deployment web with 4 replicas, paused at template v2.
func deployment(edit ...func(*appsv1.Deployment)) *appsv1.Deployment {
	n := int32(4)
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", UID: "target-uid", Generation: 3},
		Spec: appsv1.DeploymentSpec{
			Replicas: &n,
			Paused:   true,
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: podTemplate("v2"),

			ProgressDeadlineSeconds: ptr.To[int32](600),
		},
		Status: appsv1.DeploymentStatus{ObservedGeneration: 3},
	}
	for _, e := range edit {
		e(d)
	}
	return d
}

// owned is a ReplicaSet of Deployment web's own.
func owned(hash, version string, size int32, edit ...func(*appsv1.ReplicaSet)) *appsv1.ReplicaSet {
	controller := true
	labels := map[string]string{"app": "web", HashLabel: hash}
	t := podTemplate(version)
	t.Labels = labels
	rs := &appsv1.ReplicaSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "ReplicaSet"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: "web-" + hash, UID: types.UID("set-" + hash), Generation: 1,
			Labels:            labels,
			CreationTimestamp: metav1.NewTime(epoch),
			OwnerReferences:   []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "web", UID: "target-uid", Controller: &controller}},
		},
		Spec:   appsv1.ReplicaSetSpec{Replicas: &size, Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: t},
		Status: appsv1.ReplicaSetStatus{ObservedGeneration: 1, Replicas: size, ReadyReplicas: size, AvailableReplicas: size},
	}
	for _, e := range edit {
		e(rs)
	}
	return rs
}

// canarySet is the ReplicaSet of version v2 that Weir made.
func canarySet(size int32, edit ...func(*appsv1.ReplicaSet)) *appsv1.ReplicaSet {
	revision := revisionOf(podTemplate("v2"))
	rs := owned(revision, "v2", size)
	rs.Labels = canarySetLabels("web", revision)
	rs.OwnerReferences[0].Controller = nil
	rs.Annotations = map[string]string{v1alpha1.SeqAnnotation: "8"}
	for _, e := range edit {
		e(rs)
	}
	return rs
}

// podsOf are ready pods of a set.
func podsOf(rs *appsv1.ReplicaSet, n int, edit ...func(*corev1.Pod)) []client.Object {
	controller := true
	var out []client.Object
	for i := range n {
		name := fmt.Sprintf("%s-%d", rs.Name, i)
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name, UID: types.UID(name), Labels: rs.Spec.Template.Labels,
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: rs.Name, UID: rs.UID, Controller: &controller}},
			},
			Status: corev1.PodStatus{Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
		}
		for _, e := range edit {
			e(pod)
		}
		out = append(out, pod)
	}
	return out
}

// service web, wide unless edited.
func service(edit ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web", UID: "service-uid"},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.96.0.10",
			Selector:  map[string]string{"app": "web"},
			Ports:     []corev1.ServicePort{{Name: "http", Port: 80, NodePort: 30080}},
		},
	}
	for _, e := range edit {
		e(s)
	}
	return s
}

// pinned narrows a Service to a revision, as the pin effect does.
func pinned(revision string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		s.Labels = map[string]string{v1alpha1.PinLabel: revision, v1alpha1.RolloutLabel: "web"}
		s.Spec.Selector[HashLabel] = revision
	}
}

// slice is an EndpointSlice of a Service with the pods as ready endpoints,
// showing the pin.
func slice(service, pin string, pods ...client.Object) *discoveryv1.EndpointSlice {
	labels := map[string]string{discoveryv1.LabelServiceName: service, discoveryv1.LabelManagedBy: sliceManager}
	if pin != "" {
		labels[v1alpha1.PinLabel] = pin
	}
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: service + "-abc", Labels: labels},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	ready := true
	for _, pod := range pods {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{"10.244.0.9"},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: pod.GetName(), UID: pod.GetUID()},
		})
	}
	return s
}

// raw is an object as the API server would send it to an unstructured client.
func raw(t *testing.T, obj runtime.Object) *unstructured.Unstructured {
	t.Helper()
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		t.Fatal(err)
	}
	return &unstructured.Unstructured{Object: content}
}
