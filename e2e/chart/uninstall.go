package chart

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Uninstall deletes the chart's objects, as helm does: not the CRDs, and with them
// neither Rollouts nor anything else of people.
func Uninstall(ctx context.Context, c client.Client, values map[string]any) error {
	cluster, err := capabilities(c)
	if err != nil {
		return err
	}
	objects, err := Render(values, cluster)
	if err != nil {
		return err
	}
	for _, object := range slices.Backward(objects) {
		err := c.Delete(ctx, object)
		if client.IgnoreNotFound(err) != nil && !meta.IsNoMatchError(err) {
			return fmt.Errorf("cannot delete %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	return nil
}
