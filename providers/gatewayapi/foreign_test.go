package gatewayapi

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func withGeneration(o *unstructured.Unstructured, generation int64) *unstructured.Unstructured {
	o.SetGeneration(generation)
	return o
}
