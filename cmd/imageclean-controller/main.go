// Command imageclean-controller runs passes in the cluster that it is in. See pkg/controller.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // the image has none

	_ "golang.org/x/crypto/x509roots/fallback" // nor any authority's certificate, by which it knows the database's registry
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/imageclean/kubectl-imageclean/pkg/controller"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "imageclean-controller:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	o := controller.Options{Hour: time.Hour}
	var kubeconfig string
	var memory int64
	var showVersion bool
	flags := flag.NewFlagSet("imageclean-controller", flag.ContinueOnError)
	flags.StringVar(&o.Namespace, "namespace", "", "the controller's own `namespace`, where node pods go")
	flags.StringVar(&o.CacheDir, "cache-dir", "/var/cache/imageclean", "a `folder` for the vulnerability database and for what was found in layers")
	flags.StringVar(&o.MetricsAddress, "metrics-address", ":8080", "where metrics are served; 0 for nowhere")
	flags.StringVar(&o.HealthAddress, "health-address", ":8081", "where /healthz and /readyz are served")
	flags.BoolVar(&o.LeaderElect, "leader-elect", true, "wait until no other controller is at work")
	flags.Int64Var(&memory, "memory", 0, "how many `bytes` of memory the container may have; 0 where nobody says")
	flags.DurationVar(&o.Hour, "hour", o.Hour, "how long an hour of the schedule is; for tests")
	flags.StringVar(&kubeconfig, "kubeconfig", "", "a kubeconfig `file`, outside of a cluster")
	flags.BoolVar(&showVersion, "version", false, "print the version and end")
	logs := zap.Options{}
	logs.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil
		}
		return err
	}
	switch {
	case showVersion:
		fmt.Println(version.Version)
		return nil
	case o.Namespace == "":
		return errors.New("--namespace is not given: write the controller's own")
	case o.Hour <= 0:
		return fmt.Errorf("--hour is %s; write more than 0s", o.Hour)
	case memory < 0:
		return fmt.Errorf("--memory is %d; write 0 or more", memory)
	}
	limitHeap(memory)
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logs)))
	config, err := connect(kubeconfig)
	if err != nil {
		return fmt.Errorf("reading how to reach the cluster: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return controller.Run(ctx, config, o)
}

// limitHeap has garbage collected harder from four fifths of the container's memory on: the rest is for pages of the vulnerability database.
func limitHeap(memory int64) {
	if memory > 0 {
		debug.SetMemoryLimit(memory / 5 * 4)
	}
}

func connect(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		return rest.InClusterConfig()
	}
	return clientcmd.BuildConfigFromFlags("", kubeconfig)
}
