package cluster

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

// crdFS holds the Gateway API's CRDs as its module ships them; a test compares
// them with the version in go.mod.
//
//go:embed crds/*.yaml
var crdFS embed.FS

//go:embed manifests/*.yaml
var manifestFS embed.FS

// poll is the pause between looks at something that starts. Startup is on
// everyone's critical path, so it is short.
const poll = 50 * time.Millisecond

// creator creates objects of any kind.
type creator struct {
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
}

func newCreator(config *rest.Config) (*creator, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client: %w", err)
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("cannot make a client: %w", err)
	}
	return &creator{client: client, mapper: restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(d))}, nil
}

// files creates all objects of the YAML files that match.
func (c *creator) files(ctx context.Context, files fs.FS, pattern string) error {
	names, err := fs.Glob(files, pattern)
	if err != nil {
		return fmt.Errorf("cannot list %s: %w", pattern, err)
	}
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return fmt.Errorf("cannot read %s: %w", name, err)
		}
		objects, err := decode(f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("cannot decode %s: %w", name, err)
		}
		for _, o := range objects {
			if err := c.create(ctx, o); err != nil {
				return fmt.Errorf("cannot create %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

func decode(r io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(r, 4096)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 { // a document of comments alone is empty
			objects = append(objects, o)
		}
	}
}

// create creates an object. It waits for a kind that a CRD has just brought.
func (c *creator) create(ctx context.Context, o *unstructured.Unstructured) error {
	kind := o.GroupVersionKind()
	return wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
		if meta.IsNoMatchError(err) {
			c.mapper.Reset()
			return false, nil
		}
		if err != nil {
			return false, err
		}
		_, err = c.client.Resource(mapping.Resource).Namespace(o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}

// programmed reports whether the gateway serves the sandbox's Gateway.
func (c *creator) programmed(ctx context.Context) (bool, error) {
	gateways := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
	g, err := c.client.Resource(gateways).Namespace("default").Get(ctx, "sandbox", metav1.GetOptions{})
	if err != nil {
		return false, fmt.Errorf("cannot read the Gateway: %w", err)
	}
	conditions, _, err := unstructured.NestedSlice(g.Object, "status", "conditions")
	for _, c := range conditions {
		if c, ok := c.(map[string]any); ok && c["type"] == "Programmed" {
			return c["status"] == "True", nil
		}
	}
	return false, err
}
