package scene

import (
	"context"
	"os"
	"path/filepath"
	"strings"

	"github.com/imageclean/kubectl-imageclean/pkg/scan/scantest"
	"github.com/imageclean/kubectl-imageclean/test/cluster"
)

// Stage lays the scene for commands that are typed by this process: kubectl and the plugin, built at root, are on the PATH from then
// on, and the user's own caches are left alone in favour of folder. It returns the flags that `run` needs here.
func Stage(ctx context.Context, c *cluster.Cluster, root, folder string, say func(format string, args ...any)) (flags []string, err error) {
	say("putting imageclean's own images onto the nodes (a real cluster pulls them)")
	for _, node := range c.Nodes() {
		for _, component := range []string{"controller", "node", "scanner"} {
			if err := c.Import(ctx, node, filepath.Join(root, "dist/images", component+".tar")); err != nil {
				return nil, err
			}
		}
	}
	// Nothing of the user's own: neither a database nor what other clusters' layers have in them.
	if err := os.Setenv("XDG_CACHE_HOME", folder); err != nil {
		return nil, err
	}
	say("pushing a small vulnerability database to the cluster's registry")
	repository := c.Registry() + "/security/trivy-db"
	if err := scantest.WriteDB(filepath.Join(folder, "db")); err != nil {
		return nil, err
	}
	if err := scantest.PushDB(ctx, repository+":2", filepath.Join(folder, "db")); err != nil {
		return nil, err
	}
	if err := Lay(ctx, c, say); err != nil {
		return nil, err
	}
	// kubectl finds the plugin by its name on the PATH.
	path := strings.Join([]string{filepath.Join(root, "bin"), filepath.Dir(c.Kubectl()), os.Getenv("PATH")}, string(os.PathListSeparator))
	return []string{"--older-than=" + MinAge.String(), "--db-repository=" + repository}, os.Setenv("PATH", path)
}
