package scantest_test

import (
	"testing"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
)

var (
	vulnerable = scantest.Layer{Findings: []scan.Finding{{ID: "CVE-2019-10744", Severity: scan.Critical, Package: "lodash", Installed: "4.17.11", Fixed: "4.17.12"}}}
	clean      = scantest.Layer{}
)

func TestDetector_IsADetector(t *testing.T) {
	scantest.RunDetector(t, scantest.Detector{}, []scan.Analysis{clean.Analysis(), vulnerable.Analysis()}, []scan.Analysis{clean.Analysis()})
}

func TestDetector_TellsWhatWasMadeUp(t *testing.T) {
	ended := scantest.Layer{EndOfLife: true}
	if v := (scantest.Detector{}).Detect(t.Context(), []scan.Analysis{ended.Analysis(), vulnerable.Analysis()}); v.State != scan.EndOfLife || len(v.Findings) != 1 {
		t.Errorf("the verdict is %+v", v)
	}
	doubt := scantest.Layer{Doubt: "no package list"}
	if v := (scantest.Detector{}).Detect(t.Context(), []scan.Analysis{vulnerable.Analysis(), doubt.Analysis()}); v.State != scan.Unscannable || v.Message != "layer 2: no package list" {
		t.Errorf("the verdict is %+v", v)
	}
}
