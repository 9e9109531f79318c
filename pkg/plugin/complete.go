package plugin

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/scan"
)

// completionTimeout bounds what a completion asks of the cluster: somebody has pressed a key and waits.
const completionTimeout = 2500 * time.Millisecond

// lister lists what may be completed. typed is the beginning of it.
type lister func(ctx context.Context, client kubernetes.Interface, typed string) ([]string, error)

// fromCluster completes with what the cluster has. What cannot be found out, or not in time, is not offered: a command line is no
// place for errors.
func (f *sessionFlags) fromCluster(list lister) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
		defer cancel()
		listed := make(chan []string, 1)
		go func() { // a program that fetches credentials does not end with ctx
			names, _ := f.ask(ctx, list, typed)
			listed <- names
		}()
		var names []string
		select {
		case names = <-listed:
		case <-ctx.Done():
		}
		return begun(names, args, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

func (f *sessionFlags) ask(ctx context.Context, list lister, typed string) ([]string, error) {
	config, err := f.config.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.WarningHandler = rest.NoWarnings{}
	if config.ExecProvider != nil {
		config.ExecProvider.StdinUnavailable = true // what is typed is meant for the shell
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return list(ctx, client, typed)
}

// begun are the names that begin with what was typed, but for those that are on the command line already.
func begun(names, args []string, typed string) []string {
	names = slices.DeleteFunc(names, func(name string) bool {
		// What a shell is handed must be one line, and what it would act on is no name.
		return !strings.HasPrefix(name, typed) || slices.Contains(args, name) || name != report.Printable(name) || strings.ContainsAny(name, "\n\t")
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// anyVersion lets the API server answer from its memory.
var anyVersion = metav1.ListOptions{ResourceVersion: "0"}

func nodeNames(ctx context.Context, client kubernetes.Interface, _ string) ([]string, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, anyVersion)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range nodes.Items {
		names = append(names, nodes.Items[i].Name)
	}
	return names, nil
}

func namespaceNames(ctx context.Context, client kubernetes.Interface, _ string) ([]string, error) {
	namespaces, err := client.CoreV1().Namespaces().List(ctx, anyVersion)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range namespaces.Items {
		names = append(names, namespaces.Items[i].Name)
	}
	return names, nil
}

// imageNames are the images that the kubelets report, which takes no pod: of each node the largest, 50 unless it is configured
// otherwise. A digest is offered once it is being typed, and for an image that has nothing else.
func imageNames(ctx context.Context, client kubernetes.Interface, typed string) ([]string, error) {
	nodes, err := client.CoreV1().Nodes().List(ctx, anyVersion)
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range nodes.Items {
		for _, img := range nodes.Items[i].Status.Images {
			tagged := slices.DeleteFunc(slices.Clone(img.Names), func(name string) bool { return strings.Contains(name, "@") })
			if len(tagged) == 0 || strings.Contains(typed, "@") {
				tagged = img.Names
			}
			for _, name := range tagged {
				names = append(names, asTyped(name, typed))
			}
		}
	}
	return names, nil
}

// asTyped leaves away from an image's name what people do.
func asTyped(name, typed string) string {
	for _, implied := range []string{"docker.io/library/", "docker.io/"} {
		if short, ok := strings.CutPrefix(name, implied); ok && typed != "" && !strings.HasPrefix(name, typed) && strings.HasPrefix(short, typed) {
			return short
		}
	}
	return name
}

// only completes the first argument.
func only(complete cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return complete(cmd, args, typed)
	}
}

// fromKubeconfig completes with names that the kubeconfig has.
func (f *sessionFlags) fromKubeconfig(names func(*api.Config) []string) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		config, err := f.config.ToRawKubeConfigLoader().RawConfig()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return begun(names(&config), nil, typed), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeCluster completes the flags that say which cluster is meant.
func (f *sessionFlags) completeCluster(cmd *cobra.Command) {
	completeFlag(cmd, "context", f.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.Contexts)) }))
	completeFlag(cmd, "cluster", f.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.Clusters)) }))
	completeFlag(cmd, "user", f.fromKubeconfig(func(c *api.Config) []string { return slices.Collect(maps.Keys(c.AuthInfos)) }))
	completeFlag(cmd, "namespace", f.fromCluster(namespaceNames))
	for _, name := range []string{"kubeconfig", "certificate-authority", "client-certificate", "client-key"} {
		completeFlag(cmd, name, anyFile)
	}
	completeFlag(cmd, "cache-dir", folders)
}

// completeFlag has a flag that there is completed.
func completeFlag(cmd *cobra.Command, name string, complete cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, complete); err != nil {
		panic(err) // a flag that the command does not have, or that is completed twice
	}
}

func anyFile(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

func folders(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

// documents are the files that readDocuments reads.
func documents(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"json", "yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

// severities completes a list of severities, in the letters that the last of them was begun in.
func severities(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	at := strings.LastIndexByte(typed, ',') + 1
	before, last := typed[:at], typed[at:]
	given := strings.Split(strings.ToUpper(before), ",")
	var lists []string
	for _, severity := range scan.Severities {
		name := string(severity)
		if slices.Contains(given, name) {
			continue
		}
		if last != strings.ToUpper(last) {
			name = strings.ToLower(name)
		}
		if strings.HasPrefix(name, last) {
			lists = append(lists, before+name)
		}
	}
	return lists, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveKeepOrder
}
