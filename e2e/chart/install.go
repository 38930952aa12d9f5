package chart

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// fieldManager applies the chart's objects.
	fieldManager = "weir-install"
	// settleTimeout bounds the wait for CRDs and policies to take effect.
	settleTimeout = time.Minute
	pollInterval  = 50 * time.Millisecond
)

// InstallOptions say how the chart is installed.
type InstallOptions struct {
	// Values are merged over the chart's own.
	Values map[string]any
	// WithoutController leaves the controller's Deployment out, for a controller
	// that runs elsewhere or not at all.
	WithoutController bool
}

// Install applies the namespace, the CRDs and the chart's objects, and returns
// when the policies are in force. It may be repeated, but deletes nothing that
// other values rendered before.
func Install(ctx context.Context, c client.Client, opts InstallOptions) error {
	if err := installCRDs(ctx, c); err != nil {
		return err
	}
	cluster, err := capabilities(c)
	if err != nil {
		return err
	}
	objects, err := Render(opts.Values, cluster)
	if err != nil {
		return err
	}
	if opts.WithoutController {
		objects = slices.DeleteFunc(objects, func(o *unstructured.Unstructured) bool {
			return o.GetKind() == "Deployment" || o.GetKind() == "PodDisruptionBudget"
		})
	}
	if err := apply(ctx, c, namespace()); err != nil {
		return err
	}
	// The API server reads policies in the order in which they were made, so the
	// ones that awaitPolicies can see go last.
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		return rank(a) - rank(b)
	})
	for _, object := range objects {
		if err := apply(ctx, c, object); err != nil {
			return err
		}
	}
	return awaitPolicies(ctx, c, objects)
}

// capabilities asks the cluster what a rendering depends on.
func capabilities(c client.Client) (Cluster, error) {
	var cluster Cluster
	for _, version := range []string{"v1", "v1beta1"} {
		kind := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicy"}
		_, err := c.RESTMapper().RESTMapping(kind, version)
		switch {
		case err == nil:
			cluster.APIVersions = append(cluster.APIVersions, kind.Group+"/"+version+"/"+kind.Kind)
		case !meta.IsNoMatchError(err):
			return Cluster{}, fmt.Errorf("cannot ask whether the cluster serves %s %s: %w", kind, version, err)
		}
	}
	return cluster, nil
}

// namespace is restricted, so that an installation proves that the controller's
// pods may run in such a one.
func namespace() *unstructured.Unstructured {
	var ns unstructured.Unstructured
	ns.SetAPIVersion("v1")
	ns.SetKind("Namespace")
	ns.SetName(Namespace)
	ns.SetLabels(map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	return &ns
}

func installCRDs(ctx context.Context, c client.Client) error {
	crds, err := CRDs()
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := apply(ctx, c, crd); err != nil {
			return err
		}
	}
	for _, crd := range crds {
		what := fmt.Sprintf("CRD %s to be served", crd.GetName())
		err := poll(ctx, what, func(ctx context.Context) (bool, error) {
			live := crd.DeepCopy()
			if err := c.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
				return false, err
			}
			return established(live), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, c := range conditions {
		condition, _ := c.(map[string]any)
		if condition["type"] == "Established" {
			return condition["status"] == "True"
		}
	}
	return false
}

func apply(ctx context.Context, c client.Client, object *unstructured.Unstructured) error {
	// Apply writes the server's answer into its argument, which stays the
	// caller's.
	configuration := client.ApplyConfigurationFromUnstructured(object.DeepCopy())
	if err := c.Apply(ctx, configuration, client.FieldOwner(fieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("cannot apply %s %s: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}

// poll asks until the answer is yes. Errors that may pass are asked again.
func poll(ctx context.Context, what string, ask wait.ConditionWithContextFunc) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, pollInterval, settleTimeout, true, func(ctx context.Context) (bool, error) {
		done, err := ask(ctx)
		last = err
		return done && err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("cannot wait for %s: %w", what, errors.Join(err, last))
	}
	return nil
}
