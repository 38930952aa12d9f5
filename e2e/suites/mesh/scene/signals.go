package scene

import (
	"strings"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/e2e/stage"
)

// GoldenSignals is an analysis by the chart's template alone.
func GoldenSignals() *v1alpha1.Analysis {
	return &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{{Kind: "ClusterAnalysisTemplate", Name: "golden-signals"}}}
}

// FoundBySignal waits until a release is rolled back, and checks that it was for what
// the mesh has counted.
func (s *Scene) FoundBySignal(release int64) {
	s.T.Helper()
	r := s.AwaitState("the rollback", stage.RolledBack(release))
	why := r.Status.History[0].Message
	s.T.Logf("release %d was rolled back: %s", release, why)
	if !strings.Contains(why, "request-errors: ") || !strings.Contains(why, "limit 1%") {
		s.T.Errorf("release %d was rolled back for something else than what the mesh counts: %s", release, why)
	}
}
