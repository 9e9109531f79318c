package install

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/client-go/tools/pager"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// Controllers are the controllers that a cluster has, in all namespaces.
type Controllers struct {
	// Ours are of imageclean, Erasers of Eraser, or of AKS Image Cleaner, which is Eraser.
	Ours, Erasers []appsv1.Deployment
}

// Controllers looks for controllers in all namespaces: two of them would be in each other's way wherever they are.
func (t *Target) Controllers(ctx context.Context) (*Controllers, error) {
	found := &Controllers{}
	pages := pager.New(pager.SimplePageFunc(func(options metav1.ListOptions) (runtime.Object, error) {
		return t.Client.AppsV1().Deployments(metav1.NamespaceAll).List(ctx, options)
	}))
	err := pages.EachListItem(ctx, metav1.ListOptions{}, func(object runtime.Object) error {
		if d, ok := object.(*appsv1.Deployment); ok {
			found.add(d)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for controllers: %w", err)
	}
	return found, nil
}

func (c *Controllers) add(d *appsv1.Deployment) {
	switch {
	case d.Labels[api.AppLabel] == api.AppName && d.Name == api.ControllerName:
		c.Ours = append(c.Ours, *d)
	case d.Name == api.ControllerName, runsEraser(d):
		c.Erasers = append(c.Erasers, *d)
	}
}

// runsEraser says whether a Deployment runs Eraser's manager, from whatever registry.
func runsEraser(d *appsv1.Deployment) bool {
	for i := range d.Spec.Template.Spec.Containers {
		image := d.Spec.Template.Spec.Containers[i].Image
		name := image[strings.LastIndexByte(image, '/')+1:]
		if name, _, _ = strings.Cut(name, "@"); strings.HasPrefix(name+":", "eraser-manager:") {
			return true
		}
	}
	return false
}

// Elsewhere are the namespaces other than one that have a controller of ours.
func (c *Controllers) Elsewhere(namespace string) []string {
	var others []string
	for i := range c.Ours {
		if other := c.Ours[i].Namespace; other != namespace {
			others = append(others, other)
		}
	}
	return others
}

// Conflict says why a controller of this version cannot be installed in a namespace beside those that there are.
func (c *Controllers) Conflict(namespace, ours string) error {
	if len(c.Erasers) > 0 {
		d := c.Erasers[0]
		return fmt.Errorf("deployment %[1]s/%[2]s is of Eraser, which removes images by rules of its own; uninstall it first: as you installed it, such as with"+
			" 'helm uninstall -n %[1]s eraser', or with 'kubectl delete deployment -n %[1]s %[2]s'; on AKS with 'az aks update --disable-image-cleaner'",
			d.Namespace, d.Name)
	}
	if err := c.OfHelm(namespace); err != nil {
		return err
	}
	for i := range c.Ours {
		d := &c.Ours[i]
		if release := release(d); release != "" {
			return fmt.Errorf("a controller of imageclean is in namespace %[1]q already, of the Helm release %[2]s, and one is enough:"+
				" uninstall it first with 'helm uninstall -n %[1]s %[2]s'", d.Namespace, release)
		}
		if d.Namespace != namespace {
			return fmt.Errorf("a controller of imageclean is in namespace %[1]q already, and one is enough: give -n %[1]s to configure that,"+
				" or uninstall it first with 'kubectl imageclean uninstall -n %[1]s'", d.Namespace)
		}
		if theirs := d.Labels[api.VersionLabel]; newer(theirs, ours) {
			return fmt.Errorf("the controller in namespace %q is of version %s, newer than this plugin, which is of version %s: take a plugin that is as new",
				namespace, theirs, ours)
		}
	}
	return nil
}

// OfHelm says that Helm has installed the controller in a namespace, and so has to change or to uninstall it: it would undo, or refuse to go
// on at, what others do.
func (c *Controllers) OfHelm(namespace string) error {
	for i := range c.Ours {
		d := &c.Ours[i]
		if release := release(d); release != "" && d.Namespace == namespace {
			return fmt.Errorf("the controller in namespace %[1]q is of the Helm release %[2]s: configure it with 'helm upgrade -n %[1]s %[2]s', or uninstall it"+
				" with 'helm uninstall -n %[1]s %[2]s'", namespace, release)
		}
	}
	return nil
}

// release is the Helm release that a Deployment is of, empty where it is of none. Helm itself goes by the label and the annotation.
func release(d *appsv1.Deployment) string {
	if d.Labels[api.ManagedByLabel] != "Helm" {
		return ""
	}
	return d.Annotations["meta.helm.sh/release-name"]
}

// described is what git describe adds to a version: how many commits are on top of it, and whether something is not committed.
var described = regexp.MustCompile(`(-[0-9]+-g[0-9a-f]+)?(-dirty)?$`)

// newer says whether a version is known to be newer than another. Builds between versions count as the one that they are on top of.
func newer(a, b string) bool {
	left, err := version.ParseSemantic(described.ReplaceAllString(a, ""))
	if err != nil {
		return false
	}
	right, err := version.ParseSemantic(described.ReplaceAllString(b, ""))
	return err == nil && right.LessThan(left)
}
