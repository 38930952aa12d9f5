package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// options are the flags of the command.
type options struct {
	Config
	headers               []string
	keepAlive             bool
	endpoints, kubeconfig string
	out                   string
	control               string
	json                  bool
}

// Command returns the `load` command.
func Command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "load --target URL --rate N",
		Short: "Send requests at a steady rate and log every response",
		Long: `Send requests at a steady rate, whether or not earlier ones have been answered, until the
duration has passed or SIGINT or SIGTERM comes. Requests are sent once, never again. The log has a
line for each 100 ms with every response; the summary says how many there were by version and code.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
			defer stop()
			return o.run(ctx, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Target, "target", "", "URL to request, http://HOST[:PORT]/PATH")
	f.StringVar(&o.Host, "host", "", "Host header (default the target's)")
	f.Float64Var(&o.Rate, "rate", 0, "mean number of requests a second")
	f.DurationVar(&o.Duration, "duration", 0, "how long to send; 0 means "+DefaultDuration.String())
	f.StringVar(&o.Name, "name", "load", "name of this load in its log")
	f.StringVar(&o.Bind, "bind", "", "local address to send from")
	f.BoolVar(&o.keepAlive, "keepalive", true, "use connections again; false opens one for each request")
	f.StringArrayVar(&o.headers, "header", nil, "NAME=VALUE to send with each request; may be given again")
	f.IntVar(&o.Sessions, "sessions", 0, "number of users with a cookie jar each, who send the requests by turns; 0 means that nobody keeps cookies")
	f.StringVar((*string)(&o.Protocol), "protocol", string(HTTP), "http, or grpc for unary calls without TLS")
	f.StringVar((*string)(&o.Arrivals), "arrivals", string(Even), "even or poisson")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of poisson arrivals")
	f.DurationVar(&o.Timeout, "timeout", DefaultTimeout, "time that one request has")
	f.DurationVar(&o.Await, "await", 0, "wait so long at most for a first good answer, and count from then on")
	f.IntVar(&o.MaxInFlight, "max-in-flight", DefaultMaxInFlight, "most requests unanswered at once; more are counted as unsent")
	f.StringVar(&o.endpoints, "endpoints", "", "NAMESPACE/NAME of a Service whose ready endpoints are connected to, in place of the target's address")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "for --endpoints")
	f.StringVar(&o.out, "out", "", "file for the log; - is standard output (default no log)")
	f.StringVar(&o.control, "control", "", "address to answer GET /snapshot and POST /stop at: HOST:PORT or unix:///PATH")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON")
	return cmd
}

// run sends the load and prints its summary to out.
func (o *options) run(ctx context.Context, out io.Writer) (err error) {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	if o.endpoints != "" {
		e, err := watchEndpoints(ctx, o.kubeconfig, o.endpoints)
		if err != nil {
			return err
		}
		cfg.Pick = e.pick
	}
	log, err := openLog(o.out, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	g, err := New(cfg, log)
	if err != nil {
		return err
	}
	if o.control != "" {
		server, err := o.serveControl(g)
		if err != nil {
			return err
		}
		defer server.Close() //nolint:errcheck // the process is about to end
	}
	if _, err := g.Run(ctx); err != nil {
		return err
	}
	if o.out == "-" {
		return nil // the log has the totals; a summary would spoil it
	}
	return o.summarize(g, out)
}

func (o *options) config() (Config, error) {
	cfg := o.Config
	cfg.NewConnections = !o.keepAlive
	cfg.Header = http.Header{}
	for _, h := range o.headers {
		name, value, ok := strings.Cut(h, "=")
		if !ok || name == "" {
			return cfg, fmt.Errorf("invalid header %q: want NAME=VALUE", h)
		}
		cfg.Header.Add(name, value)
	}
	return cfg, nil
}

// openLog opens the file that the log goes to.
func openLog(path string, out io.Writer) (io.WriteCloser, error) {
	switch path {
	case "":
		return nopCloser{io.Discard}, nil
	case "-":
		return nopCloser{out}, nil
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("cannot write the log: %w", err)
	}
	return f, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func (o *options) serveControl(g *Generator) (*http.Server, error) {
	network, address := "tcp", o.control
	if path, ok := strings.CutPrefix(o.control, "unix://"); ok {
		network, address = "unix", path
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for control: %w", err)
	}
	server := &http.Server{Handler: g.Handler(), ReadHeaderTimeout: 5 * time.Second}
	go server.Serve(listener) //nolint:errcheck // it ends with Close
	return server, nil
}

func (o *options) summarize(g *Generator, out io.Writer) error {
	counts, totals := g.Snapshot()
	if o.json {
		if err := json.NewEncoder(out).Encode(snapshot{Totals: totals, Counts: counts, At: time.Now()}); err != nil {
			return fmt.Errorf("cannot print the summary: %w", err)
		}
		return nil
	}
	text := fmt.Sprintf("%d requests sent, %d bad, %d of them without an answer; %d could not be sent\nVERSION\tCODE\tRESPONSES\tREASON\n",
		totals.Sent, counts.Bad().Total(), counts.Lost().Total(), totals.Unsent)
	for _, c := range counts.byVersionAndCode() {
		text += fmt.Sprintf("%s\t%d\t%d\t%s\n", orDash(c.Version), c.Code, c.N, orDash(c.Reason))
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, err := io.WriteString(table, text)
	if err = errors.Join(err, table.Flush()); err != nil {
		return fmt.Errorf("cannot print the summary: %w", err)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
