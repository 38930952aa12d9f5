// Package chart renders Weir's Helm chart with Helm's own engine and installs
// it into a cluster, without the helm command and without a release to manage.
// The suites, the demo and the benchmarks all install by it, so that what is
// tested is what users get.
package chart

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/loader/archive"
	chartv2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	releaseutil "helm.sh/helm/v4/pkg/release/v1/util"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/charts"
)

const (
	// Namespace is where the chart is installed.
	Namespace = "weir-system"
	// ReleaseName is the name of the Helm release that a rendering is of.
	ReleaseName = "weir"
	// ControllerUsername is the user that the policies take for Weir, unless a
	// value says otherwise.
	ControllerUsername = "system:serviceaccount:" + Namespace + ":weir"

	// notes is the template of the text that helm prints, which is no object.
	notes = "NOTES.txt"
)

// Cluster is what a rendering knows of the cluster that it is for.
type Cluster struct {
	// Version of Kubernetes, such as "v1.37.2". Empty: 1.37.
	Version string
	// APIVersions served beyond those that Helm takes for granted, as
	// group/version or group/version/Kind.
	APIVersions []string
}

// Kubernetes' own kinds on which the chart's rendering depends.
const (
	MutatingAdmissionPolicyV1    = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
	MutatingAdmissionPolicyBeta1 = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"
)

// Render gives the chart's objects, less the CRDs, in the order in which Helm
// would create them. Values are merged over the chart's own and checked against
// its schema.
func Render(values map[string]any, cluster Cluster) ([]*unstructured.Unstructured, error) {
	files, err := render(values, cluster)
	if err != nil {
		return nil, err
	}
	for name := range files {
		if path.Base(name) == notes {
			delete(files, name)
		}
	}
	_, manifests, err := releaseutil.SortManifests(files, nil, releaseutil.InstallOrder)
	if err != nil {
		return nil, fmt.Errorf("cannot sort the rendered manifests: %w", err)
	}
	var objects []*unstructured.Unstructured
	for _, m := range manifests {
		object, err := parse([]byte(m.Content))
		if err != nil {
			return nil, fmt.Errorf("cannot parse what %s renders: %w", m.Name, err)
		}
		if object != nil {
			objects = append(objects, object)
		}
	}
	return objects, nil
}

// Notes gives the text that helm prints after an installation.
func Notes(values map[string]any, cluster Cluster) (string, error) {
	files, err := render(values, cluster)
	if err != nil {
		return "", err
	}
	for name, text := range files {
		if path.Base(name) == notes {
			return text, nil
		}
	}
	return "", fmt.Errorf("the chart has no %s", notes)
}

// CRDs gives the chart's CustomResourceDefinitions.
func CRDs() ([]*unstructured.Unstructured, error) {
	loaded, err := load()
	if err != nil {
		return nil, err
	}
	var crds []*unstructured.Unstructured
	for _, crd := range loaded.CRDObjects() {
		object, err := parse(crd.File.Data)
		if err != nil {
			return nil, fmt.Errorf("cannot parse %s: %w", crd.Name, err)
		}
		crds = append(crds, object)
	}
	return crds, nil
}

// render gives the text of every template by its path.
func render(values map[string]any, cluster Cluster) (map[string]string, error) {
	loaded, err := load()
	if err != nil {
		return nil, err
	}
	capabilities := common.DefaultCapabilities.Copy()
	if cluster.Version == "" {
		cluster.Version = "v1.37.0"
	}
	version, err := common.ParseKubeVersion(cluster.Version)
	if err != nil {
		return nil, fmt.Errorf("cannot parse Kubernetes version %q: %w", cluster.Version, err)
	}
	capabilities.KubeVersion = *version
	capabilities.APIVersions = append(append(common.VersionSet{}, capabilities.APIVersions...), cluster.APIVersions...)

	// Values may hold Go types of the caller; Helm knows those of YAML.
	plain, err := normalise(values)
	if err != nil {
		return nil, err
	}
	options := common.ReleaseOptions{Name: ReleaseName, Namespace: Namespace, Revision: 1, IsInstall: true}
	merged, err := util.ToRenderValues(loaded, plain, options, capabilities)
	if err != nil {
		return nil, fmt.Errorf("cannot use the values: %w", err)
	}
	// Strict: a template that reads a value that is not there is a mistake.
	// There is nothing to cancel: without a cluster's client, nothing is asked.
	files, err := engine.Engine{Strict: true}.RenderWithContext(context.Background(), loaded, merged)
	if err != nil {
		return nil, fmt.Errorf("cannot render the chart: %w", err)
	}
	return files, nil
}

// load reads the embedded chart.
func load() (*chartv2.Chart, error) {
	const root = "weir"
	var files []*archive.BufferedFile
	err := fs.WalkDir(charts.FS, root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := fs.ReadFile(charts.FS, name)
		files = append(files, &archive.BufferedFile{Name: strings.TrimPrefix(name, root+"/"), Data: data})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot read the embedded chart: %w", err)
	}
	loaded, err := loader.LoadFiles(files)
	if err != nil {
		return nil, fmt.Errorf("cannot load the embedded chart: %w", err)
	}
	return loaded, nil
}

// parse reads one object, or none where there are only comments.
func parse(text []byte) (*unstructured.Unstructured, error) {
	var object unstructured.Unstructured
	if err := yaml.UnmarshalStrict(text, &object.Object); err != nil {
		return nil, err
	}
	if len(object.Object) == 0 {
		return nil, nil
	}
	return &object, nil
}

func normalise(values map[string]any) (map[string]any, error) {
	text, err := yaml.Marshal(values)
	if err != nil {
		return nil, fmt.Errorf("cannot write the values as YAML: %w", err)
	}
	plain := map[string]any{}
	if err := yaml.Unmarshal(text, &plain); err != nil {
		return nil, fmt.Errorf("cannot read the values back: %w", err)
	}
	return plain, nil
}
