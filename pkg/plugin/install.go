package plugin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/kubectl/pkg/util/templates"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
	"github.com/imageclean/kubectl-imageclean/pkg/install"
	"github.com/imageclean/kubectl-imageclean/pkg/kube"
	"github.com/imageclean/kubectl-imageclean/pkg/manifests"
	"github.com/imageclean/kubectl-imageclean/pkg/report"
	"github.com/imageclean/kubectl-imageclean/pkg/version"
)

// installFlags are what was typed.
type installFlags struct {
	*sessionFlags
	settingsFlags
	dryRun              string
	export, wait, reset bool
}

// installOptions are what runs.
type installOptions struct {
	*sessionOptions
	genericiooptions.IOStreams
	settings            *settingsFlags
	changed             func(flag string) bool
	dryRun              install.DryRun
	export, wait, reset bool
}

// installTimeout is how long an installation waits for the controller, unless --timeout says otherwise.
const installTimeout = 2 * time.Minute

func newInstallCommand(streams genericiooptions.IOStreams) *cobra.Command {
	flags := &installFlags{sessionFlags: newSessionFlags(), wait: true}
	flags.timeout = installTimeout
	flags.settingsFlags.sessionFlags = flags.sessionFlags
	cmd := &cobra.Command{
		Use:     "install",
		Aliases: []string{"enable"},
		Short:   "Install the controller, or configure the one that is installed",
		Long: templates.LongDesc(`
			Install the controller, which cleans the nodes at an interval, and whenever an ImageList is applied.

			Where it is installed already, only what you give flags for is changed, and it is brought to the version of this
			plugin. The settings are in the ConfigMap imageclean-settings. They survive an uninstallation, so that a later
			installation without flags takes them up again.`),
		Example: templates.Examples(`
			# Remove vulnerable images that nothing uses, every week
			kubectl imageclean install

			# Every two days
			kubectl imageclean install --interval 48h

			# On Sundays at three, whatever vulnerabilities an image has
			kubectl imageclean install --schedule '0 3 * * 0' --time-zone Europe/Berlin --no-scan

			# See what it consists of, or keep that in git
			kubectl imageclean install --export > imageclean.yaml`),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			options, err := flags.toOptions(streams, cmd.Flags().Changed)
			if err != nil {
				return err
			}
			return options.run(cmd.Context())
		},
	}
	flags.addTo(cmd)
	return cmd
}

func (f *installFlags) addTo(cmd *cobra.Command) {
	set := f.connectionFlags()
	set.Lookup("namespace").Usage = "Where the controller and its node pods go. It must admit pods that mount host paths (default kube-system)"
	set.Lookup("timeout").Usage = "How long it may take until the controller is available"
	set.BoolVar(&f.export, "export", f.export, "Print what would be applied as YAML, and ask no cluster: the flags change the defaults then")
	set.BoolVar(&f.wait, "wait", f.wait, "Wait until the controller is available")
	set.BoolVar(&f.reset, "reset", f.reset, "Change the defaults, and not the settings in the cluster")
	addDryRunFlag(set, &f.dryRun)
	cmd.Flags().AddFlagSet(set)
	f.completeCluster(cmd)
	f.settingsFlags.addTo(cmd)
}

func (f *installFlags) toOptions(streams genericiooptions.IOStreams, changed func(flag string) bool) (*installOptions, error) {
	session, err := f.sessionFlags.toOptions(nil)
	if err != nil {
		return nil, err
	}
	o := &installOptions{
		sessionOptions: session, IOStreams: streams, settings: &f.settingsFlags, changed: changed, export: f.export, wait: f.wait, reset: f.reset,
	}
	if o.dryRun, err = parseDryRun(f.dryRun); err != nil {
		return nil, err
	}
	if o.export && changed("dry-run") {
		return nil, rejectf("--export and --dry-run exclude each other: nothing is applied by --export")
	}
	return o, f.check(changed)
}

func (o *installOptions) run(ctx context.Context) error {
	if o.export {
		return o.print()
	}
	timed, cancel := o.timed(ctx)
	defer cancel()
	err := o.install(timed)
	if err != nil && ctx.Err() != nil {
		return &interruptedError{"what was applied stays: install again to go on, or uninstall"}
	}
	return err
}

// print prints what an installation consists of.
func (o *installOptions) print() error {
	settings := api.DefaultSettings()
	if err := o.settings.apply(&settings, o.changed); err != nil {
		return err
	}
	text, err := manifests.YAML(manifests.Options{Namespace: o.namespace, Settings: settings})
	if err != nil {
		return err
	}
	_, err = o.Out.Write(text)
	return err
}

func (o *installOptions) install(ctx context.Context) error {
	target, err := o.target(o.IOStreams, o.dryRun)
	if err != nil {
		return err
	}
	if err := o.admit(ctx, target); err != nil {
		return err
	}
	objects, settings, err := o.objects(ctx, target)
	if err != nil {
		return err
	}
	if o.dryRun != install.DryRunClient {
		missing, err := target.Missing(ctx, objects, "get", "create", "patch")
		if err := errors.Join(err, lacks(missing)); err != nil {
			return err
		}
	}
	err = target.Apply(ctx, objects, func(object *unstructured.Unstructured, outcome install.Outcome) {
		fmt.Fprintf(o.Out, "%s %s%s\n", install.Name(object), outcome, dryRunNote(o.dryRun))
	})
	if err != nil || o.dryRun != install.DryRunNone {
		return err
	}
	if o.wait {
		fmt.Fprintf(o.ErrOut, "waiting for the controller to be available\n")
		if err := target.WaitAvailable(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(o.ErrOut, "scheduled passes: %s\n", settings.Schedule.String())
	return nil
}

// target connects to the cluster.
func (o *sessionOptions) target(streams genericiooptions.IOStreams, dryRun install.DryRun) (*install.Target, error) {
	config, client, err := o.connect(streams.ErrOut)
	if err != nil {
		return nil, err
	}
	objects, err := dynamicClient(config)
	if err != nil {
		return nil, err
	}
	return &install.Target{Client: client, Dynamic: objects, Namespace: o.namespace, DryRun: dryRun}, nil
}

// admit says why nothing can be installed there, before anything is.
func (o *installOptions) admit(ctx context.Context, target *install.Target) error {
	_, err := target.Client.CoreV1().Namespaces().Get(ctx, o.namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("namespace %q does not exist: create it first", o.namespace)
	case err != nil && !apierrors.IsForbidden(err):
		return fmt.Errorf("getting namespace %q: %w", o.namespace, err)
	}
	controllers, err := target.Controllers(ctx)
	if err != nil {
		return err
	}
	return controllers.Conflict(o.namespace, version.Version)
}

// objects are what is to be applied, with the settings in the cluster changed by the flags. Settings that the flags do not change stay as
// they are written.
func (o *installOptions) objects(ctx context.Context, target *install.Target) ([]*unstructured.Unstructured, api.Settings, error) {
	settings, text, err := target.Settings(ctx)
	broken, isBroken := errors.AsType[*install.SettingsError](err)
	switch {
	case o.reset && (err == nil || isBroken):
		settings, text = api.DefaultSettings(), ""
	case isBroken:
		return nil, settings, fmt.Errorf("the settings in the cluster are broken: %w; mend them, or give --reset to begin with the defaults", broken)
	case err != nil:
		return nil, settings, err
	}
	before := *settings.DeepCopy()
	if err := o.settings.apply(&settings, o.changed); err != nil {
		return nil, settings, err
	}
	objects, err := target.Objects(settings)
	if text != "" && install.SameSettings(before, settings) {
		err = errors.Join(err, install.KeepSettings(objects, text))
	}
	return objects, settings, err
}

// lacks says what the user may not do and has to.
func lacks(missing []kube.Permission) error {
	if len(missing) == 0 {
		return nil
	}
	said := make([]string, len(missing))
	for i, p := range missing {
		said[i] = p.String()
	}
	return errors.New(report.Printable("nothing was done: the user may not " + strings.Join(said, "; ")))
}
