package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// installIstio makes the kinds of Istio that its provider reads, as Istio ships them
// beside the types that the provider is compiled with, and returns when they are served.
func installIstio(ctx context.Context, admin client.Client) error {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		return fmt.Errorf("cannot find Istio's CRDs: %w", err)
	}
	file := filepath.Join(strings.TrimSpace(string(dir)), "kubernetes", "customresourcedefinitions.gen.yaml")
	return installCRDs(ctx, admin, file, istioKind(virtualServiceKind), istioKind("DestinationRule"))
}

// installLinkerd makes the kind of Linkerd that its provider reads, as the sandbox has
// it for Linkerd's own controller, and returns when it is served.
func installLinkerd(ctx context.Context, admin client.Client) error {
	file := filepath.Join("..", "..", "sandbox", "cluster", "manifests", "linkerd.yaml")
	return installCRDs(ctx, admin, file, serviceProfileKind())
}

// installCRDs of kinds that are in a file, and wait until they are served.
func installCRDs(ctx context.Context, admin client.Client, file string, kinds ...schema.GroupVersionKind) error {
	crds, err := readCRDs(file)
	if err != nil {
		return fmt.Errorf("cannot read the CRDs of %s: %w", file, err)
	}
	for _, kind := range kinds {
		crd := crds[kind.GroupKind()]
		if crd == nil {
			return fmt.Errorf("%s has no CRD of %s", file, kind.GroupKind())
		}
		if err := admin.Create(ctx, crd); err != nil {
			return fmt.Errorf("cannot create %s: %w", crd.GetName(), err)
		}
	}
	for _, kind := range kinds {
		if err := awaitKind(ctx, admin, kind); err != nil {
			return err
		}
	}
	return nil
}

// awaitKind waits until the API server serves a kind.
func awaitKind(ctx context.Context, admin client.Client, kind schema.GroupVersionKind) error {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := admin.List(ctx, list)
		if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return fmt.Errorf("%s is not served: %w", kind, err)
	}
	return nil
}

// readCRDs of a file, by their kinds. Other objects in it are left out.
func readCRDs(file string) (map[schema.GroupKind]*unstructured.Unstructured, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	crds := map[schema.GroupKind]*unstructured.Unstructured{}
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		crd := &unstructured.Unstructured{}
		switch err := decoder.Decode(&crd.Object); {
		case errors.Is(err, io.EOF):
			return crds, nil
		case err != nil:
			return nil, err
		case crd.GetKind() != "CustomResourceDefinition":
			continue
		}
		group, _, _ := unstructured.NestedString(crd.Object, "spec", "group")
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		crds[schema.GroupKind{Group: group, Kind: kind}] = crd
	}
}
