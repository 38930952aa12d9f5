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
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// installIstio makes the kinds of Istio that its provider reads, and returns when
// they are served.
func installIstio(ctx context.Context, admin client.Client) error {
	crds, err := istioCRDs(ctx)
	if err != nil {
		return err
	}
	for _, crd := range crds {
		if err := admin.Create(ctx, crd); err != nil {
			return fmt.Errorf("cannot create %s: %w", crd.GetName(), err)
		}
	}
	for _, kind := range []string{virtualServiceKind, "DestinationRule"} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(istioKind(kind + "List"))
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
	}
	return nil
}

// istioCRDs are those of the kinds that the provider reads, as Istio ships them
// beside the types that the provider is compiled with.
func istioCRDs(ctx context.Context) ([]*unstructured.Unstructured, error) {
	dir, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "istio.io/api").Output()
	if err != nil {
		return nil, fmt.Errorf("cannot find Istio's CRDs: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "kubernetes", "customresourcedefinitions.gen.yaml"))
	if err != nil {
		return nil, fmt.Errorf("cannot read Istio's CRDs: %w", err)
	}
	wanted := []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}
	var crds []*unstructured.Unstructured
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		crd := &unstructured.Unstructured{}
		err := decoder.Decode(crd)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("cannot read Istio's CRDs: %w", err)
		}
		if slices.Contains(wanted, crd.GetName()) {
			crds = append(crds, crd)
		}
	}
	if len(crds) != len(wanted) {
		return nil, fmt.Errorf("of Istio's CRDs %v only %d are there", wanted, len(crds))
	}
	return crds, nil
}
