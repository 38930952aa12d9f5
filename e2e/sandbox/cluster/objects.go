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
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
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

// createFiles creates all objects of the YAML files that match.
func createFiles(ctx context.Context, client dynamic.Interface, files fs.FS, pattern string) error {
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
			if err := create(ctx, client, o); err != nil {
				return err
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

// create creates an object. It waits for a kind that a CRD has just brought, and
// for RBAC roles the API server makes in its first second.
func create(ctx context.Context, client dynamic.Interface, o *unstructured.Unstructured) error {
	// The plural is guessed to spare the discovery of all kinds; the guess is
	// right for all that is embedded here.
	gvr, _ := meta.UnsafeGuessKindToResource(o.GroupVersionKind())
	resource := client.Resource(gvr).Namespace(o.GetNamespace())
	err := wait.PollUntilContextCancel(ctx, poll, true, func(ctx context.Context) (bool, error) {
		_, err := resource.Create(ctx, o, metav1.CreateOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("cannot create %s %s: %w", o.GetKind(), o.GetName(), err)
	}
	return nil
}
