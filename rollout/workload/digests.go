package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// maxDigests bounds how many digests are remembered. Only releases under way
// need any.
const maxDigests = 8192

var (
	deploymentKind = appsv1.SchemeGroupVersion.WithKind("Deployment")
	replicaSetKind = appsv1.SchemeGroupVersion.WithKind("ReplicaSet")
)

// digestKey is under what the digest of an object's template is remembered.
type digestKey struct {
	uid        types.UID
	generation int64
}

// knownKey is under what it is remembered by the digest of the fields of the
// template that this client library knows.
type knownKey struct {
	uid   types.UID
	known string
}

// digest gives the digest of the template of a Deployment or ReplicaSet that
// was read live. Objects are read typed, in the API server's compact encoding;
// the costly unstructured copy is fetched only for a change of the object that
// the informers have not seen yet.
func (c *Client) digest(ctx context.Context, kind schema.GroupVersionKind, obj client.Object) (string, error) {
	if v, ok := c.digests.Get(digestKey{obj.GetUID(), obj.GetGeneration()}); ok {
		return v.(string), nil
	}
	return c.freshDigest(ctx, kind, obj)
}

// freshDigest reads the template again. What is remembered may be out of date
// in one way: an upgrade of the API server gives a new default to fields of
// templates that nobody has changed. Before two templates are taken to differ,
// they are compared as the same server writes them.
func (c *Client) freshDigest(ctx context.Context, kind schema.GroupVersionKind, obj client.Object) (string, error) {
	full, err := c.full(ctx, kind, obj)
	if err != nil {
		return "", err
	}
	return c.rememberDigest(full)
}

// rememberDigest gives the digest of the template of an object as the API server
// has it, and keeps it.
func (c *Client) rememberDigest(full *unstructured.Unstructured) (string, error) {
	t, err := templateOf(full)
	if err != nil {
		return "", err
	}
	digest, err := t.digest()
	if err != nil {
		return "", err
	}
	c.digests.Add(digestKey{full.GetUID(), full.GetGeneration()}, digest)
	return digest, nil
}

// full is the object as the API server has it, with every field. It must be the
// same as obj: same UID, same generation.
func (c *Client) full(ctx context.Context, kind schema.GroupVersionKind, obj client.Object) (*unstructured.Unstructured, error) {
	full := &unstructured.Unstructured{}
	full.SetGroupVersionKind(kind)
	err := c.live.Get(ctx, client.ObjectKeyFromObject(obj), full)
	if apierrors.IsNotFound(err) {
		return nil, unmet("%s %q went while it was read", kind.Kind, obj.GetName())
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read %s %q: %w", kind.Kind, obj.GetName(), err)
	}
	if full.GetUID() != obj.GetUID() || full.GetGeneration() != obj.GetGeneration() {
		return nil, unmet("%s %q changed while it was read", kind.Kind, obj.GetName())
	}
	return full, nil
}
