package kubelet

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestCommand(t *testing.T) {
	type want struct {
		path   string
		args   []string
		reason string // why it cannot start
	}
	p := programs{sandbox: "/bin/sandbox", images: map[string]string{"weir.dev/weir": "/bin/weir", "example.com:5000/demo": "shop"}}
	cases := map[string]struct {
		reason    string
		container corev1.Container
		want      want
	}{
		"Shop": {
			reason:    "the demo app is the sandbox's own",
			container: corev1.Container{Image: "weir.dev/shop:v1", Args: []string{"--x"}},
			want:      want{path: "/bin/sandbox", args: []string{"shop", "--x"}},
		},
		"Envoy": {
			reason:    "a proxy of the mesh is the sandbox's own",
			container: corev1.Container{Image: "weir.dev/envoy", Args: []string{"--role=gateway"}},
			want:      want{path: "/bin/sandbox", args: []string{"envoy", "--role=gateway"}},
		},
		"Mapped": {
			reason:    "an image may stand for a program",
			container: corev1.Container{Image: "weir.dev/weir:v0.1@sha256:00", Args: []string{"controller"}},
			want:      want{path: "/bin/weir", args: []string{"controller"}},
		},
		"MappedToShop": {
			reason:    "the port of a registry is not a tag, and shop names the demo app",
			container: corev1.Container{Image: "example.com:5000/demo"},
			want:      want{path: "/bin/sandbox", args: []string{"shop"}},
		},
		"Command": {
			reason:    "a command runs whatever the image",
			container: corev1.Container{Image: "nginx", Command: []string{"/bin/sh", "-c"}, Args: []string{"true"}},
			want:      want{path: "/bin/sh", args: []string{"-c", "true"}},
		},
		"Missing": {
			reason:    "the missing image is missing even with a command",
			container: corev1.Container{Image: "weir.dev/missing:v2", Command: []string{"/bin/sh"}},
			want:      want{reason: "ErrImagePull"},
		},
		"Unknown": {
			reason:    "an image that stands for nothing cannot be pulled",
			container: corev1.Container{Image: "nginx"},
			want:      want{reason: "ErrImagePull"},
		},
		"NoProgram": {
			reason:    "a command that does not exist cannot run",
			container: corev1.Container{Image: "nginx", Command: []string{"/does/not/exist"}},
			want:      want{reason: "RunContainerError"},
		},
		"Linkerd": {
			reason:    "the stand-in for Linkerd's proxy is the sandbox's own",
			container: corev1.Container{Image: "weir.dev/linkerd-outbound"},
			want:      want{path: "/bin/sandbox", args: []string{"outbound"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got want
			path, args, failure := p.command(&tc.container)
			got.path, got.args = path, args
			if failure != nil {
				got.reason = failure.reason
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("%s: command (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestSplitImage(t *testing.T) {
	cases := map[string]struct{ image, name, tag, reason string }{
		"Tag":    {"weir.dev/shop:v1", "weir.dev/shop", "v1", "the tag follows the last colon"},
		"Digest": {"a/b:v1@sha256:0", "a/b", "v1", "a digest is no part of the name"},
		"Port":   {"localhost:5000/b", "localhost:5000/b", "", "a colon before a slash is a port"},
		"Bare":   {"nginx", "nginx", "", "a tag may be missing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			gotName, gotTag := splitImage(tc.image)
			if diff := cmp.Diff([]string{tc.name, tc.tag}, []string{gotName, gotTag}); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	values := map[string]string{"A": "1", "B": "$(A)"}
	cases := map[string]struct{ in, want, reason string }{
		"Known":        {"x$(A)y", "x1y", "a reference is replaced"},
		"Unknown":      {"$(C)", "$(C)", "an unknown reference stays"},
		"Escaped":      {"$$(A)", "$(A)", "two dollars make one, and no reference"},
		"NotRecursive": {"$(B)", "$(A)", "values are not expanded again"},
		"Lone":         {"a$b$", "a$b$", "a dollar without parenthesis is a dollar"},
		"Open":         {"$(A", "$(A", "an open reference is none"},
		"Shell":        {"$A ${A}", "$A ${A}", "shell variables are the shell's"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := expand(tc.in, func(name string) (string, bool) {
				value, ok := values[name]
				return value, ok
			})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
