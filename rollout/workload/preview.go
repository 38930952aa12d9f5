package workload

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

// preview is the preview Service of a Rollout, as one pass read it.
type preview struct {
	// name that the status has, or else the spec, empty for none, or that of a stray;
	// made is the Service of that name, nil if Weir has not made it.
	name string
	made *corev1.Service
	// taken says that another Service has the name that the spec asks for.
	taken bool
}

// readPreview reads the preview Service, under the name that is recorded and under
// the one that the spec has: most often they are the same.
func (c *Client) readPreview(ctx context.Context, s *snapshot) (preview, error) {
	wanted := s.rollout.Spec.PreviewServiceName()
	found := preview{name: cmp.Or(s.rollout.Status.Traffic.PreviewService, wanted)}
	for _, name := range slices.Compact([]string{found.name, wanted}) {
		if name == "" {
			continue
		}
		service, err := c.service(ctx, s, name)
		if err != nil {
			return found, err
		}
		made := s.made(service)
		if name == found.name && made {
			found.made = service
		}
		if name == wanted {
			found.taken = service != nil && !made
		}
	}
	if s.rollout.Status.Release.Stage.UnderWay() {
		return found, nil
	}
	err := c.findStray(ctx, s, &found)
	return found, err
}

// findStray looks for a preview Service under a name that is neither recorded nor asked
// for. The caches hold all that Weir has made; what they show is read again.
func (c *Client) findStray(ctx context.Context, s *snapshot, found *preview) error {
	list := &corev1.ServiceList{}
	err := c.cached.List(ctx, list, client.InNamespace(s.rollout.Namespace), client.MatchingLabels{v1alpha1.ManagedLabel: s.rollout.Name})
	if err != nil {
		return fmt.Errorf("cannot list the Services of Rollout %q: %w", s.rollout.Name, err)
	}
	for i := range list.Items {
		name := list.Items[i].Name
		if !ownedBy(&list.Items[i], s.rollout) || name == found.name || name == s.rollout.Spec.PreviewServiceName() {
			continue
		}
		service, err := c.service(ctx, s, name)
		if err != nil {
			return err
		}
		if s.made(service) && ownedBy(service, s.rollout) {
			found.name, found.made = name, service
			return nil
		}
	}
	return nil
}

// ownedBy tells a preview Service from the canary's, which go with the workload.
func ownedBy(service *corev1.Service, rollout *v1alpha1.Rollout) bool {
	return slices.ContainsFunc(service.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == rollout.UID })
}

// previewFacts are the facts of the preview Service, nil without one.
func (s *snapshot) previewFacts(found preview, slicesOf endpointSlicesOf) *decide.Backend {
	if found.name == "" {
		return nil
	}
	fact := decide.Backend{Name: found.name}
	if found.made != nil {
		fact = s.backend(found.made, slicesOf[found.name])
	}
	return &fact
}

// previewProblems say why the preview Service cannot have its name.
func (s *snapshot) previewProblems(found frontage) []decide.Problem {
	name := s.rollout.Spec.PreviewServiceName()
	message := ""
	switch {
	case name == "":
	case slices.ContainsFunc(found.backends, func(b decide.Backend) bool { return b.Name == name }):
		message = "previewServiceName %q is the name of a Service behind these routes, or of the canary's beside it: give the preview a name of its own"
	case found.preview.taken:
		message = "previewServiceName: Service %q exists and was not made by Weir for this Rollout: give the preview another name, or delete the Service"
	}
	if message == "" {
		return nil
	}
	return []decide.Problem{{
		Reason: v1alpha1.ReasonInvalidSpec, Field: "spec.traffic.previewServiceName", Message: fmt.Sprintf(message, name),
	}}
}

// showPreview makes the preview Service or brings it up to date. One that is there
// is turned also where the user's Services, from which it has its ports, are not.
func (c *Client) showPreview(ctx context.Context, pass Pass, effect decide.Effect) error {
	users, err := c.users(ctx, pass)
	if err != nil {
		return err
	}
	have, err := c.fenced(ctx, pass, effect.Name)
	switch {
	case apierrors.IsNotFound(err) && len(users) == 0:
		return unmet("there is no Service of which Service %q could have the ports", effect.Name)
	case apierrors.IsNotFound(err):
		want := newPreview(users, pass.Rollout, effect.Name)
		narrow(want, effect.Revision)
		pass.stamp(want)
		return c.create(ctx, pass, want)
	case err != nil:
		return err
	case have.Labels[v1alpha1.ManagedLabel] != pass.Rollout.Name:
		return unmet("Service %q was not made by Weir for this Rollout", have.Name)
	}
	before := have.DeepCopy()
	if len(users) > 0 {
		want := newPreview(users, pass.Rollout, effect.Name)
		have.Spec.Selector, have.Spec.Ports = want.Spec.Selector, want.Spec.Ports
		have.OwnerReferences = want.OwnerReferences
	}
	narrow(have, effect.Revision)
	pass.stamp(have)
	return c.patch(ctx, pass, before, have)
}

// users are the user's Services that are there and select pods, by name. One that
// selects none any more says nothing of the workload's.
func (c *Client) users(ctx context.Context, pass Pass) ([]*corev1.Service, error) {
	var out []*corev1.Service
	for _, name := range slices.Sorted(slices.Values(pass.Services)) {
		service := &corev1.Service{}
		err := c.live.Get(ctx, key(pass.Rollout, name), service)
		switch {
		case apierrors.IsNotFound(err):
		case err != nil:
			return nil, fmt.Errorf("cannot read Service %q: %w", name, err)
		case len(service.Spec.Selector) == 0:
		default:
			out = append(out, service)
		}
	}
	return out, nil
}

// newPreview is a preview Service that takes all pods of the workload: a Service
// like the first of the user's, with the ports of all. Their labels are left to
// them: monitoring that selects Services by label would scrape each pod twice,
// between releases too. It goes with the Rollout.
func newPreview(users []*corev1.Service, rollout *v1alpha1.Rollout, name string) *corev1.Service {
	service := newBackend(users[0], rollout, name, "")
	service.Labels = map[string]string{v1alpha1.ManagedLabel: rollout.Name, v1alpha1.RolloutLabel: rollout.Name}
	service.OwnerReferences = []metav1.OwnerReference{{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "Rollout", Name: rollout.Name, UID: rollout.UID,
	}}
	service.Spec.Ports = portsOf(users)
	return service
}

// narrow a Service to the pods of a revision; of all of the workload, if that is
// empty.
func narrow(service *corev1.Service, revision string) {
	if revision == "" {
		delete(service.Spec.Selector, HashLabel)
		delete(service.Labels, v1alpha1.PinLabel)
		return
	}
	if service.Spec.Selector == nil {
		service.Spec.Selector = map[string]string{}
	}
	service.Spec.Selector[HashLabel] = revision
	setLabel(service, v1alpha1.PinLabel, revision)
}

// portsOf are the ports of several Services. Of two with one number or one name the
// first counts. A port needs no name only where it is alone.
func portsOf(services []*corev1.Service) []corev1.ServicePort {
	var out []corev1.ServicePort
	for _, service := range services {
		for _, port := range service.Spec.Ports {
			port.NodePort = 0
			if port.Name == "" && len(services) > 1 {
				port.Name = fmt.Sprintf("port-%d", port.Port)
			}
			taken := func(have corev1.ServicePort) bool {
				return have.Port == port.Port && have.Protocol == port.Protocol || have.Name == port.Name
			}
			if !slices.ContainsFunc(out, taken) {
				out = append(out, port)
			}
		}
	}
	return out
}

// deletePreview deletes the preview Service.
func (c *Client) deletePreview(ctx context.Context, pass Pass, effect decide.Effect) error {
	have, err := c.fenced(ctx, pass, effect.Name)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if have.Labels[v1alpha1.ManagedLabel] != pass.Rollout.Name {
		return unmet("Service %q was not made by Weir for this Rollout", have.Name)
	}
	return c.remove(ctx, pass, have, metav1.DeletePropagationBackground)
}
