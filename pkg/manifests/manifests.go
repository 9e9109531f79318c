// Package manifests has what an installation of the controller consists of, as YAML for people and as objects to apply. It must not know
// how they are applied, nor what is in a cluster already.
package manifests

import (
	"bufio"
	"bytes"
	_ "embed" // for the templates
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// NetworkPolicyName is the NetworkPolicy of the node pods.
const NetworkPolicyName = "imageclean-node-pods"

// Options say what an installation is like.
type Options struct {
	// Namespace is where the controller and the node pods run.
	Namespace string
	// Settings are what the controller goes by. How it runs itself is in its Deployment as well.
	Settings api.Settings
}

//go:embed roles.yaml
var roles string

//go:embed controller.yaml
var controller string

// They are Helm's as well (Chart), and so use only what Helm's templates have, too.
var templates = template.Must(template.Must(template.New("roles").Funcs(template.FuncMap{"toJson": toJSON}).Parse(roles)).New("controller").Parse(controller))

// toJSON writes a value in one line of YAML that no value can break out of.
func toJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	return string(text), err
}

// Objects are what an installation of this version consists of, in the order to apply it.
func Objects(o Options) ([]*unstructured.Unstructured, error) {
	text, err := YAML(o)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("splitting the manifests: %w", err)
		}
		if document, err = yaml.YAMLToJSONStrict(document); err != nil {
			return nil, fmt.Errorf("reading the manifests: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(document); err != nil {
			return nil, fmt.Errorf("reading the manifests: %w", err)
		}
		objects = append(objects, object)
	}
}

// YAML is Objects for people, with what each rule of a role is for.
func YAML(o Options) ([]byte, error) {
	crds, err := definitions()
	if err != nil {
		return nil, fmt.Errorf("reading the resource definitions: %w", err)
	}
	settings, err := settingsMap(o.Namespace, o.Settings)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	for _, object := range append(crds, SystemExclusion(o.Namespace), settings) {
		document, err := yaml.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("writing the manifests: %w", err)
		}
		text.Write(document)
		text.WriteString("---\n")
	}
	values := o.values()
	if err := templates.ExecuteTemplate(&text, "roles", values); err != nil {
		return nil, fmt.Errorf("writing the roles: %w", err)
	}
	text.WriteString("---\n")
	if err := templates.ExecuteTemplate(&text, "controller", values); err != nil {
		return nil, fmt.Errorf("writing the controller's manifests: %w", err)
	}
	return text.Bytes(), nil
}
