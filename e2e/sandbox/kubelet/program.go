package kubelet

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// Images of the sandbox itself.
const (
	shopImage    = "weir.dev/shop"    // the demo app
	envoyImage   = "weir.dev/envoy"   // a proxy of Istio's mesh
	missingImage = "weir.dev/missing" // cannot be pulled, ever
)

// linkerdImage is the stand-in for Linkerd's proxy.
const linkerdImage = "weir.dev/linkerd-outbound"

// programs knows which program stands for an image.
type programs struct {
	// sandbox is the path of the sandbox's own binary.
	sandbox string
	// images maps image names without tag to paths, or to "shop".
	images map[string]string
}

// startError says why a container could not be started.
type startError struct {
	// reason is what the container's waiting state says at first.
	reason string
	err    error
}

func (e *startError) Error() string { return e.err.Error() }

// retryReason is what the waiting state says until the next try.
func (e *startError) retryReason() string {
	if e.reason == "ErrImagePull" {
		return "ImagePullBackOff"
	}
	return e.reason
}

// command returns the program of a container and its arguments: the container's
// command if it has one, else what stands for its image.
func (p programs) command(spec *corev1.Container) (path string, args []string, failure *startError) {
	name, _ := splitImage(spec.Image)
	if name == missingImage {
		return "", nil, &startError{"ErrImagePull", fmt.Errorf("image %q does not exist", spec.Image)}
	}
	if len(spec.Command) > 0 {
		path, err := exec.LookPath(spec.Command[0])
		if err != nil {
			// The code and reason of a container whose program is missing.
			return "", nil, &startError{"RunContainerError", err}
		}
		return path, slices.Concat(spec.Command[1:], spec.Args), nil
	}
	if name == linkerdImage && p.images[name] == "" {
		return p.sandbox, append([]string{"outbound"}, spec.Args...), nil
	}
	program := p.images[name]
	switch {
	case name == shopImage || program == "shop":
		return p.sandbox, append([]string{"shop"}, spec.Args...), nil
	case name == envoyImage && program == "":
		return p.sandbox, append([]string{"envoy"}, spec.Args...), nil
	case program == "":
		return "", nil, &startError{"ErrImagePull", fmt.Errorf(
			"no program stands for image %q in the sandbox: give the container a command, or use up --image %s=PROGRAM", spec.Image, name)}
	}
	return program, spec.Args, nil
}

// splitImage splits an image reference into name and tag.
func splitImage(image string) (name, tag string) {
	name, _, _ = strings.Cut(image, "@")
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// start starts a container's program.
func (w *worker) start(ctx context.Context, spec *corev1.Container, log *os.File) (*process, *startError) {
	path, args, failure := w.kubelet.programs.command(spec)
	if failure != nil {
		return nil, failure
	}
	env, err := w.environment(ctx, spec)
	if err != nil {
		return nil, &startError{"CreateContainerConfigError", err}
	}
	lookup := func(name string) (string, bool) {
		value, ok := env.values[name]
		return value, ok
	}
	args = slices.Clone(args) // they may be the cached pod's
	for i := range args {
		args[i] = expand(args[i], lookup)
	}
	dir := spec.WorkingDir
	if dir == "" {
		if dir, err = directory(filepath.Join(w.podDir(), spec.Name)); err != nil {
			return nil, &startError{"CreateContainerError", err}
		}
	}
	p, err := startProcess(path, args, env.list(), dir, log)
	if err != nil {
		return nil, &startError{"RunContainerError", err}
	}
	return p, nil
}

// podDir is where the pod's logs are and where its programs start.
func (w *worker) podDir() string {
	pod := w.current()
	return filepath.Join(w.kubelet.dir, pod.Namespace+"_"+pod.Name+"_"+string(pod.UID))
}
