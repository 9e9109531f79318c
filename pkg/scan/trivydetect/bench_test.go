package trivydetect_test

import (
	"fmt"
	"testing"

	"github.com/aquasecurity/trivy/pkg/fanal/types"

	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// BenchmarkDetect judges an image of a usual kind: Debian with 100 packages, an npm application with 300, a Go binary with 60 modules,
// and five layers that change little.
func BenchmarkDetect(b *testing.B) {
	packages := []types.Package{deb("openssl", "3.0.11", "1~deb12u1"), deb("curl", "7.88.1", "1"), deb("glibc", "2.36", "9"), deb("zlib", "1.2.13", "1")}
	for i := range 96 {
		packages = append(packages, deb(fmt.Sprintf("package-%d", i), "1.0", "1"))
	}
	npm, modules := []string{"lodash 4.17.11", "minimist 1.2.0"}, []string{"stdlib v1.19.1", "golang.org/x/net v0.1.0"}
	for i := range 298 {
		npm = append(npm, fmt.Sprintf("library-%d 1.0.0", i))
	}
	for i := range 58 {
		modules = append(modules, fmt.Sprintf("example.com/module-%d v1.0.0", i))
	}
	layers := []scan.Analysis{
		pack(b, system(types.Debian, "12.4", packages...)),
		pack(b, app(types.NodePkg, "app/node_modules/a/package.json", npm...)),
		pack(b, app(types.GoBinary, "app/server", modules...)),
	}
	for i := range 5 {
		layers = append(layers, pack(b, types.BlobInfo{WhiteoutFiles: []string{fmt.Sprintf("tmp/%d", i)}}))
	}
	detector := open(b)
	if v := detector.Detect(b.Context(), layers); v.State != scan.Vulnerable || len(v.Findings) < 15 {
		b.Fatalf("the verdict is %+v", v)
	}
	for b.Loop() {
		detector.Detect(b.Context(), layers)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
}
