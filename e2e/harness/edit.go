package harness

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Edit reads an object, changes it and writes it, and again as long as somebody
// else was faster and the context lasts. The object is as it was written then.
func Edit[T client.Object](ctx context.Context, c client.Client, object T, change func(T)) error {
	for {
		if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return fmt.Errorf("cannot read %T: %w", object, err)
		}
		change(object)
		err := c.Update(ctx, object)
		if err == nil {
			return nil
		}
		if !apierrors.IsConflict(err) {
			return fmt.Errorf("cannot update %T: %w", object, err)
		}
	}
}
