package harness

import (
	"context"
	"fmt"

	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Edit reads an object, changes it and writes it, and again when somebody else
// was faster. The object is as it was written then.
func Edit[T client.Object](ctx context.Context, c client.Client, object T, change func(T)) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		change(object)
		return c.Update(ctx, object)
	})
	if err != nil {
		return fmt.Errorf("cannot edit %T %s: %w", object, client.ObjectKeyFromObject(object), err)
	}
	return nil
}
