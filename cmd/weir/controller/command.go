package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// Hold says how new templates are held, as a flag: one of the modes of the API,
// or Auto.
type Hold string

// HoldAuto asks the cluster whether it has the hold policy.
const HoldAuto Hold = "Auto"

// Options are the flags of the controller.
type Options struct {
	// Kubeconfig is the path of a file; empty means the cluster it runs in, or
	// $KUBECONFIG.
	Kubeconfig string
	// Namespaces to work in; empty means all.
	Namespaces []string
	// Hold says how new templates are held.
	Hold Hold
	// MetricsAddress and HealthAddress are where the endpoints listen; "0" means
	// not at all.
	MetricsAddress, HealthAddress string
	// ProfilingAddress is where profiles of the process are served; "0" means not
	// at all.
	ProfilingAddress string
	// LeaderElection lets one of several processes work at a time. Its lease is in
	// Namespace, which is also where the Secrets of MetricSources are read.
	LeaderElection bool
	Namespace      string
	// LeaseDuration is how long a leader that is not heard of stays the leader.
	LeaseDuration time.Duration
	// Concurrency is the number of Rollouts that are worked on at a time.
	Concurrency int
	// QPS and Burst bound the requests to the API server. A negative QPS leaves
	// that to the server.
	QPS   float32
	Burst int
	// LogLevel of the logs.
	LogLevel slog.Level
	// Meshes that are asked what is in force.
	Meshes
}

// Meshes are the control planes that are asked which weights are in force, as HOST:PORT;
// empty for not at all.
type Meshes struct {
	// LinkerdDestination is Linkerd's destination controller.
	LinkerdDestination string
	// Istiod is Istio's control plane. IstiodCA and IstiodToken are the files with what
	// its certificate is signed by, and with Weir's token; without them it is plain text.
	Istiod, IstiodCA, IstiodToken string
}

// bind declares the flags with their defaults.
func (m *Meshes) bind(flags *pflag.FlagSet) {
	flags.StringVar(&m.LinkerdDestination, "linkerd-destination", "",
		"HOST:PORT of Linkerd's destination controller, which is asked whether the weights of a ServiceProfile are in force; absent: not asked, they are when they are written")
	flags.StringVar(&m.Istiod, "istiod", "",
		"HOST:PORT of istiod, which is asked whether the routes of a VirtualService are in force; absent: not asked, they are when they are written")
	flags.StringVar(&m.IstiodCA, "istiod-ca", "", "file with the certificates that istiod's is signed by; absent: plain text")
	flags.StringVar(&m.IstiodToken, "istiod-token", "", "file with a service account token for audience istio-ca, of the namespace that the controller runs in")
}

// validate refuses values that cannot be meant.
func (m *Meshes) validate() error {
	for flag, address := range map[string]string{"--linkerd-destination": m.LinkerdDestination, "--istiod": m.Istiod} {
		if address == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(address); err != nil || host == "" || port == "" {
			return fmt.Errorf("%s %q: use HOST:PORT", flag, address)
		}
	}
	if (m.IstiodCA == "") != (m.IstiodToken == "") {
		return errors.New("--istiod-ca and --istiod-token: use both or none, since a token is not sent in plain text, and without one istiod does not answer by TLS")
	}
	if m.Istiod == "" && m.IstiodCA != "" {
		return errors.New("--istiod-ca without --istiod: say where istiod is")
	}
	return nil
}

// Command is `weir controller`.
func Command() *cobra.Command {
	options := Options{}
	command := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller",
		Long: "Run the controller: it makes releases of the workloads that have a Rollout.\n" +
			"It is installed by the chart; run it by hand to develop it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := options.validate(); err != nil {
				return err
			}
			cmd.SilenceUsage = true
			return Run(cmd.Context(), options)
		},
	}
	options.bind(command.Flags())
	return command
}

// bind declares the flags with their defaults.
func (o *Options) bind(flags *pflag.FlagSet) {
	flags.StringVar(&o.Kubeconfig, "kubeconfig", "", "path of a kubeconfig; absent: $KUBECONFIG, else the cluster that it runs in")
	flags.StringSliceVar(&o.Namespaces, "namespace", nil, "namespaces to work in, separated by commas; absent: all")
	flags.StringVar((*string)(&o.Hold), "hold", string(HoldAuto),
		"how new templates are held: AdmissionPolicy, Paused (idle Deployments stay paused), or Auto (AdmissionPolicy where the policy weir-hold is installed)")
	flags.StringVar(&o.MetricsAddress, "metrics-bind-address", ":8080", "where Weir's own metrics are served; 0 turns them off")
	flags.StringVar(&o.HealthAddress, "health-probe-bind-address", ":8081", "where /healthz and /readyz are served; 0 turns them off")
	flags.StringVar(&o.ProfilingAddress, "pprof-bind-address", "0", "where profiles of the process are served, without any check of who asks; 0 turns them off")
	flags.BoolVar(&o.LeaderElection, "leader-elect", true, "let one of several controllers work at a time")
	flags.StringVar(&o.Namespace, "leader-election-namespace", defaultNamespace(),
		"namespace of the lease, and of the Secrets that MetricSources name; absent: $POD_NAMESPACE")
	flags.DurationVar(&o.LeaseDuration, "leader-election-lease-duration", 15*time.Second, "how long a leader that is not heard of stays the leader")
	flags.IntVar(&o.Concurrency, "concurrency", 16, "number of Rollouts that are worked on at a time")
	flags.Float32Var(&o.QPS, "kube-api-qps", -1, "requests to the API server a second; negative leaves the limit to the server, which shares itself out fairly")
	flags.IntVar(&o.Burst, "kube-api-burst", 0, "requests to the API server that may come at once, where kube-api-qps is positive")
	flags.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "debug, info, warn or error")
	o.Meshes.bind(flags)
}

// defaultNamespace is where the process runs, or where the chart installs it.
func defaultNamespace() string {
	if ns := os.Getenv("POD_NAMESPACE"); ns != "" {
		return ns
	}
	return "weir-system"
}

// validate refuses values that cannot be meant.
func (o *Options) validate() error {
	switch o.Hold {
	case HoldAuto, Hold(v1alpha1.HoldAdmissionPolicy), Hold(v1alpha1.HoldPaused):
	default:
		return fmt.Errorf("--hold %q: use Auto, AdmissionPolicy or Paused", o.Hold)
	}
	if o.Concurrency < 1 {
		return fmt.Errorf("--concurrency %d: use at least 1", o.Concurrency)
	}
	if o.Namespace == "" {
		return fmt.Errorf("--leader-election-namespace is empty: name the namespace that the controller runs in")
	}
	if minLease := 3 * time.Second; o.LeaseDuration < minLease {
		return fmt.Errorf("--leader-election-lease-duration %s: use at least %s", o.LeaseDuration, minLease)
	}
	return o.Meshes.validate()
}
