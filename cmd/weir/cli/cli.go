// Package cli is the command line of Weir, also installed as kubectl-weir. It
// reads Rollouts and explains them, and it speaks for a person: every decision
// becomes an Approval object under the caller's own name. It never writes a
// status.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/weir-dev/weir/apis/v1alpha1"
)

// version is set at link time.
var version = "dev"

// Exit codes of the commands, for scripts.
const (
	// ExitError: the command could not do what it was asked.
	ExitError = 1
	// ExitFailed: the release was rolled back, or the Rollout cannot go on.
	ExitFailed = 3
	// ExitWaiting: the release is under way and waits, and so would the script.
	ExitWaiting = 4
)

// ExitCodeError is an error with the exit code that main leaves with.
type ExitCodeError struct {
	Code int
	Err  error
}

// Error is the message of the cause.
func (e *ExitCodeError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *ExitCodeError) Unwrap() error { return e.Err }

// ExitCode is the code with which a program leaves for an error.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	if coded, ok := errors.AsType[*ExitCodeError](err); ok {
		return coded.Code
	}
	return ExitError
}

// session is what the commands share: where the cluster is and where to print.
type session struct {
	overrides clientcmd.ConfigOverrides
	rules     *clientcmd.ClientConfigLoadingRules
	out       io.Writer
}

// Commands are the commands of the CLI, for a root command to carry.
func Commands() []*cobra.Command {
	s := &session{rules: clientcmd.NewDefaultClientConfigLoadingRules()}
	commands := []*cobra.Command{
		s.getCommand(), s.watchCommand(), s.whyCommand(), s.statusCommand(), s.historyCommand(),
		s.approveCommand(), s.rejectCommand(),
		s.promoteCommand(), s.abortCommand(), s.retryCommand(),
		s.pauseCommand(true), s.pauseCommand(false),
	}
	for _, c := range commands {
		s.bindFlags(c)
	}
	commands = append(commands, s.lintCommand(), s.versionCommand())
	for _, c := range commands {
		// An answer such as "rolled back" is no misuse: it comes without a page of flags.
		c.SilenceUsage = true
		c.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misuse(cmd, err) })
	}
	return commands
}

// takes accepts exactly the arguments of the given names, and says which are
// missing or too many.
func takes(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return misuse(cmd, fmt.Errorf("%s is missing", strings.Join(names[len(args):], " and ")))
		case len(args) > len(names):
			return misuse(cmd, fmt.Errorf("%q is one argument too many", args[len(names)]))
		}
		return nil
	}
}

// misuse is an error in how a command was called, with where to read more.
func misuse(cmd *cobra.Command, err error) error {
	return fmt.Errorf("%w: see '%s --help'", err, cmd.CommandPath())
}

// shownFlags are kubectl's flags that help shows, in words of this command line. The
// others work, too.
func shownFlags() map[string]string {
	return map[string]string{
		clientcmd.FlagNamespace:   "namespace of the Rollout; absent: that of the context",
		clientcmd.FlagContext:     "context of the kubeconfig; absent: the current one",
		clientcmd.FlagImpersonate: "user to act as, where you may impersonate",
	}
}

// bindFlags gives a command kubectl's flags for choosing a cluster.
func (s *session) bindFlags(c *cobra.Command) {
	var connection pflag.FlagSet
	clientcmd.BindOverrideFlags(&s.overrides, &connection, clientcmd.RecommendedConfigOverrideFlags(""))
	shown := shownFlags()
	connection.VisitAll(func(f *pflag.Flag) {
		if usage, ok := shown[f.Name]; ok {
			f.Usage = usage
		} else {
			f.Hidden = true
		}
	})
	c.Flags().AddFlagSet(&connection)
	c.Flags().StringVar(&s.rules.ExplicitPath, "kubeconfig", "",
		"path of the kubeconfig; absent: $KUBECONFIG, else ~/.kube/config (kubectl's other flags for connections work, too)")
	if c.PreRun == nil {
		c.PreRun = func(cmd *cobra.Command, _ []string) { s.out = cmd.OutOrStdout() }
	}
	c.ValidArgsFunction = s.completeNames
}

// connect gives a client and the namespace that the flags choose.
func (s *session) connect() (client.Client, string, error) {
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(s.rules, &s.overrides)
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, "", errors.New("no cluster is configured: set KUBECONFIG or --kubeconfig to a kubeconfig file that exists")
	}
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the kubeconfig: %w", err)
	}
	config.UserAgent = "weir-cli/" + version
	config.QPS = -1 // the server shares itself out fairly; a person sends no floods
	// What the libraries log is not what the caller asked for.
	log.SetLogger(logr.Discard())
	namespace, _, err := loader.Namespace()
	if err != nil {
		return nil, "", fmt.Errorf("cannot tell the namespace: %w", err)
	}
	c, err := client.New(config, client.Options{Scheme: newScheme()})
	if err != nil {
		return nil, "", fmt.Errorf("cannot reach the cluster: %w", err)
	}
	return c, namespace, nil
}

// newScheme knows the kinds that the commands read and write.
func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, discoveryv1.AddToScheme, authenticationv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			panic(err) // a kind registered twice: wrong at build time
		}
	}
	return scheme
}

// rollout reads the Rollout that a command names.
func (s *session) rollout(ctx context.Context, name string) (client.Client, *v1alpha1.Rollout, error) {
	c, namespace, err := s.connect()
	if err != nil {
		return nil, nil, err
	}
	var r v1alpha1.Rollout
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &r); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil, fmt.Errorf("rollout %q does not exist in namespace %q: 'kubectl weir get -A' lists all", name, namespace)
		}
		return nil, nil, cannot(fmt.Sprintf("read rollout %s/%s", namespace, name), err)
	}
	return c, &r, nil
}

// cannot is an error of the API server, with a remedy where it is known.
func cannot(what string, err error) error {
	switch {
	case meta.IsNoMatchError(err):
		return fmt.Errorf("cannot %s: this cluster has no Rollouts: install Weir's chart, or choose another cluster by --context or --kubeconfig", what)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("cannot %s: %w: ask whoever administers the namespace for that right", what, err)
	}
	return fmt.Errorf("cannot %s: %w", what, err)
}

// completeNames offers the names of the namespace's Rollouts to a shell.
func (s *session) completeNames(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	c, namespace, err := s.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var list v1alpha1.RolloutList
	if err := c.List(cmd.Context(), &list, client.InNamespace(namespace)); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	names := make([]string, 0, len(list.Items))
	for i := range list.Items {
		names = append(names, list.Items[i].Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// versionCommand prints the version of this binary.
func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this binary",
		Args:  takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "weir", version)
			return err
		},
	}
}
