// Package charts embeds the Helm chart, so that the binary and the tests read
// the CRDs and policies of the very build that they belong to.
package charts

import "embed"

// FS holds the chart under the directory weir.
//
//go:embed all:weir
var FS embed.FS

// CRDDir is the directory of the CRDs in FS, one a file.
const CRDDir = "weir/crds"
