// Command sandbox-controlplane is a whole Kubernetes control plane in one
// binary. Its first argument says which component it is: etcd, kube-apiserver,
// kube-controller-manager, kube-scheduler, kube-proxy or kubectl. The rest of
// the arguments are that component's own.
//
// Every component is the real one, built from its Go module; only etcd differs
// in that it is started through its embed package with file syncs turned off.
// One binary links what they share once, so it builds in a third of the time
// and a third of the space of six.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // CronJobs may name a time zone; the host may have no zone files

	"github.com/spf13/cobra"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // kubectl: users' own kubeconfigs may use exec plugins
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client metrics (request rates, latencies) on /metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // kubernetes_build_info on /metrics
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

// components holds the servers by the name they are called by.
var components = map[string]func() *cobra.Command{
	"etcd":                    newEtcdCommand,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-scheduler":          func() *cobra.Command { return scheduler.NewSchedulerCommand() },
	"kube-proxy":              proxy.NewProxyCommand,
}

func main() {
	if len(os.Args) < 2 {
		usage()
	}
	name := os.Args[1]
	// The components read os.Args themselves (kubectl looks for plugins there),
	// so they must see the command line they would have as separate binaries.
	os.Args = append([]string{filepath.Join(filepath.Dir(os.Args[0]), name)}, os.Args[2:]...)
	if name == "kubectl" {
		runKubectl()
		return
	}
	newCommand, ok := components[name]
	if !ok {
		usage()
	}
	os.Exit(cli.Run(newCommand()))
}

// runKubectl is kubectl's own main: it prints errors in kubectl's way, without
// the usage text that cli.Run would add.
func runKubectl() {
	_, _ = logs.GlogSetter(kubectl.GetLogVerbosity(os.Args))
	kubectlutil.CheckErr(cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()))
}

func usage() {
	fmt.Fprintln(os.Stderr, "usage: sandbox-controlplane (etcd | kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy | kubectl) [ARGS]")
	os.Exit(2)
}
