// Package weir is the root of the module and holds nothing but the directives
// that generate code: deep copies of the API types beside them, and their CRDs
// into the chart. Run `go generate .` after every change of apis/.
package weir

//go:generate go tool controller-gen object paths=./apis/...
//go:generate go tool controller-gen crd paths=./apis/... output:crd:dir=charts/weir/crds
