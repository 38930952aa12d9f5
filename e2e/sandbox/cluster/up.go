package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// infoFile holds the Info of a running sandbox in its state directory.
const infoFile = "info.json"

// Up creates a sandbox and returns when all of it works. When it fails, or ctx
// ends first, nothing is left of the sandbox but the error, which quotes the
// log of a component that ended.
func Up(ctx context.Context, opts Options) (*Info, error) {
	binaries, err := FindBinaries()
	if err != nil {
		return nil, err
	}
	if err := binaries.check(opts); err != nil {
		return nil, err
	}
	dir, err := Dir(opts.Name)
	if err != nil {
		return nil, err
	}
	if err := claim(ctx, dir, opts.Name); err != nil {
		return nil, err
	}
	l := layout{dir}
	ports, err := openPorts(opts)
	if err != nil {
		return nil, err
	}
	defer ports.close()
	info := newInfo(l, opts, ports)
	if err := prepare(l, opts, info); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	sup, err := launch(ctx, l, opts, binaries, ports)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	b := bringUp{
		client:     control.NewClient(dir),
		components: components{layout: l, opts: opts, binaries: binaries},
		info:       info,
	}
	if err := b.run(ctx); err != nil {
		err = b.explain(err)
		sup.abandon()
		return nil, err
	}
	return info, sup.release(ctx, b.client)
}

// claim makes sure that no sandbox of that name runs, and clears what is left
// of one that was killed.
func claim(ctx context.Context, dir, name string) error {
	if _, err := control.NewClient(dir).Status(ctx); err == nil {
		return fmt.Errorf("sandbox %q is already up; use `sandbox down --name %s` or another --name", name, name)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("cannot clear the state of an earlier sandbox: %w", err)
	}
	return nil
}

// prepare writes all files the components need.
func prepare(l layout, opts Options, info *Info) error {
	if err := l.make(); err != nil {
		return err
	}
	if err := writePKI(l); err != nil {
		return err
	}
	if err := writeUsers(l, info.APIServerURL); err != nil {
		return err
	}
	return writeConfigs(l, opts)
}

func newInfo(l layout, opts Options, p ports) *Info {
	info := &Info{
		Name:               opts.Name,
		Dir:                l.dir,
		Kubeconfig:         Kubeconfig(l.dir, "admin", true),
		InsideKubeconfig:   Kubeconfig(l.dir, "admin", false),
		APIServerURL:       "https://" + p.apiServer.Addr().String(),
		InsideAPIServerURL: APIServerURL,
	}
	if p.gateway != nil {
		info.GatewayURL = "http://" + p.gateway.Addr().String()
		info.InsideGatewayURL = GatewayURL
	}
	if p.prometheus != nil {
		info.PrometheusURL = "http://" + p.prometheus.Addr().String()
		info.InsidePrometheusURL = PrometheusURL
	}
	if p.istiod != nil {
		info.IstiodURL = "http://" + p.istiod.Addr().String()
		info.InsideIstiodURL = IstiodURL
	}
	if !opts.NoAudit {
		info.AuditLog = l.path("audit.log")
	}
	if opts.Linkerd {
		info.InsideLinkerdAddress = LinkerdAddress
	}
	return info
}

// Load returns the Info of a running sandbox.
func Load(name string) (*Info, error) {
	dir, err := Dir(name)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(filepath.Join(dir, infoFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("no sandbox %q is up; use `sandbox up --name %s`", name, name)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the sandbox's state: %w", err)
	}
	info := &Info{}
	if err := json.Unmarshal(data, info); err != nil {
		return nil, fmt.Errorf("cannot parse the sandbox's state: %w", err)
	}
	return info, nil
}

func (i *Info) write() error {
	data, err := json.MarshalIndent(i, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot encode the sandbox's state: %w", err)
	}
	if err := os.WriteFile(filepath.Join(i.Dir, infoFile), data, 0o600); err != nil {
		return fmt.Errorf("cannot write the sandbox's state: %w", err)
	}
	return nil
}

// ports are listeners outside the sandbox that lead into it. They are nil for
// parts that were left out.
type ports struct{ apiServer, gateway, prometheus, istiod *net.TCPListener }

func openPorts(opts Options) (ports, error) {
	var p ports
	var err error
	open := func(wanted bool) *net.TCPListener {
		if !wanted || err != nil {
			return nil
		}
		var l *net.TCPListener
		l, err = net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
		return l
	}
	p.apiServer = open(true)
	p.gateway = open(!opts.NoGateway)
	p.prometheus = open(!opts.NoPrometheus)
	p.istiod = open(opts.Istio)
	if err != nil {
		p.close()
		return ports{}, fmt.Errorf("cannot open a port on 127.0.0.1: %w", err)
	}
	return p, nil
}

// forwards pairs the listeners with the addresses they lead to.
func (p ports) forwards() map[string]*net.TCPListener {
	all := map[string]*net.TCPListener{
		apiServerIP + ":6443":  p.apiServer,
		gatewayIP + ":80":      p.gateway,
		prometheusIP + ":9090": p.prometheus,
		istiodIP + ":8080":     p.istiod,
	}
	for address, l := range all {
		if l == nil {
			delete(all, address)
		}
	}
	return all
}

// close closes this process's copies; the supervisor has its own.
func (p ports) close() {
	for _, l := range p.forwards() {
		_ = l.Close()
	}
}
