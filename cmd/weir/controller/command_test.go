package controller

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

func TestOptions(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Defaults":    {reason: "the defaults can be run with"},
		"Hold":        {reason: "a mode that does not exist is named with those that do", args: []string{"--hold=Never"}, want: `--hold "Never": use Auto, AdmissionPolicy or Paused`},
		"Concurrency": {reason: "without workers nothing is done", args: []string{"--concurrency=0"}, want: "--concurrency 0: use at least 1"},
		"Namespace":   {reason: "the lease needs a namespace", args: []string{"--leader-election-namespace="}, want: "--leader-election-namespace is empty: name the namespace that the controller runs in"},
		"Lease":       {reason: "a lease that cannot be renewed in time is none", args: []string{"--leader-election-lease-duration=1s"}, want: "--leader-election-lease-duration 1s: use at least 3s"},
		"Istiod":      {reason: "istiod may be asked in plain text", args: []string{"--istiod=istiod.istio-system.svc:15010", "--linkerd-destination=linkerd-dst.linkerd.svc:8086"}},
		"Address":     {reason: "an address has a port", args: []string{"--istiod=istiod.istio-system.svc"}, want: `--istiod "istiod.istio-system.svc": use HOST:PORT`},
		"Token":       {reason: "a token is not sent in plain text", args: []string{"--istiod=istiod:15012", "--istiod-token=token"}, want: "--istiod-ca and --istiod-token: use both or none, since a token is not sent in plain text, and without one istiod does not answer by TLS"},
		"NoIstiod":    {reason: "files for nobody are a mistake", args: []string{"--istiod-ca=ca", "--istiod-token=token"}, want: "--istiod-ca without --istiod: say where istiod is"},
		"Level":       {reason: "a level that does not exist is refused", args: []string{"--log-level=loud"}, want: `invalid argument "loud" for "--log-level" flag: slog: level string "loud": unknown name`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			options := Options{}
			flags := pflag.NewFlagSet("controller", pflag.ContinueOnError)
			options.bind(flags)
			err := flags.Parse(tc.args)
			if err == nil {
				err = options.validate()
			}
			got := ""
			if err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// bindings answers by the version that is asked for.
type bindings map[string]error

func (b bindings) Get(_ context.Context, _ client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	return b[obj.GetObjectKind().GroupVersionKind().Version]
}

func (b bindings) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nothing is listed")
}

func TestHoldMode(t *testing.T) {
	kind := schema.GroupKind{Group: "admissionregistration.k8s.io", Kind: "MutatingAdmissionPolicyBinding"}
	absent := apierrors.NewNotFound(schema.GroupResource{Group: kind.Group}, holdPolicy)
	unknown := &meta.NoKindMatchError{GroupKind: kind}
	cases := map[string]struct {
		reason   string
		hold     Hold
		bindings bindings
		want     v1alpha1.HoldMode
		err      bool
	}{
		"Given":     {reason: "what is given is not asked for", hold: "Paused", bindings: bindings{}, want: v1alpha1.HoldPaused},
		"Bound":     {reason: "a policy that is bound holds", hold: HoldAuto, bindings: bindings{}, want: v1alpha1.HoldAdmissionPolicy},
		"BoundBeta": {reason: "in a cluster of 1.34 or 1.35 it may be served as beta", hold: HoldAuto, bindings: bindings{"v1": unknown}, want: v1alpha1.HoldAdmissionPolicy},
		"NotBound":  {reason: "without the binding nothing holds", hold: HoldAuto, bindings: bindings{"v1": absent, "v1beta1": unknown}, want: v1alpha1.HoldPaused},
		"NotServed": {reason: "nor in a cluster that does not know the kind", hold: HoldAuto, bindings: bindings{"v1": unknown, "v1beta1": unknown}, want: v1alpha1.HoldPaused},
		"Error":     {reason: "not to know is not to be without", hold: HoldAuto, bindings: bindings{"v1": errors.New("no answer")}, err: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := holdMode(t.Context(), tc.bindings, tc.hold)
			if got != tc.want || (err != nil) != tc.err {
				t.Errorf("%s: got %q, %v, want %q", tc.reason, got, err, tc.want)
			}
		})
	}
}

func TestSearchedDomain(t *testing.T) {
	cases := map[string]struct{ reason, config, want string }{
		"Pod":       {"the kubelet writes the cluster's domain", "nameserver 10.0.0.10\nsearch shop.svc.example.org svc.example.org example.org\n", "example.org"},
		"Elsewhere": {"a process outside finds the usual one", "search example.com\n", "cluster.local"},
		"Empty":     {"so does one without a configuration", "", "cluster.local"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := searchedDomain(strings.NewReader(tc.config)); got != tc.want {
				t.Errorf("%s: got %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}
