package stage

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/load"
)

// coveredTimeout bounds the wait for a load's log to reach the present.
const coveredTimeout = 10 * time.Second

// trafficDuration is the longest that a load may run.
const trafficDuration = "24h"

// firstAnswer bounds the wait of a load for its first good answer.
const firstAnswer = "10s"

// Load is one that runs, with its log.
type Load struct {
	shop *Shop
	name string
	log  *load.Log
}

// LoadThroughGateway sends requests to the shop's host at the gateway.
func (s *Shop) LoadThroughGateway(ctx context.Context, rate int) (*Load, error) {
	return s.LoadOfHost(ctx, "gateway", s.Host(), load.HTTP, rate)
}

// LoadOfHost sends requests of a protocol to a host at the gateway, with headers as
// NAME=VALUE. The name tells the load from others of the shop.
func (s *Shop) LoadOfHost(ctx context.Context, name, host string, protocol load.Protocol, rate int, headers ...string) (*Load, error) {
	return s.startLoad(ctx, name, rate, through(gatewayURL, host, protocol, headers)...)
}

// LoadThroughProxy sends requests of a protocol for a host to a proxy, as a caller does
// whose own proxy that is, with headers as NAME=VALUE. The name tells the load from
// others of the shop.
func (s *Shop) LoadThroughProxy(ctx context.Context, name, proxy, host string, protocol load.Protocol, rate int, headers ...string) (*Load, error) {
	return s.startLoad(ctx, name, rate, through("http://"+proxy, host, protocol, headers)...)
}

// through are the flags of a load by way of a proxy at a URL.
func through(url, host string, protocol load.Protocol, headers []string) []string {
	path := "/"
	if protocol == load.GRPC {
		path = "/shop.Shop/Buy"
	}
	flags := []string{"--target", url + path, "--host", host, "--protocol", string(protocol), "--bind", "10.244.250.1"}
	for _, header := range headers {
		flags = append(flags, "--header", header)
	}
	return flags
}

// LoadBesideRoute sends requests straight to the shop's Service: see LoadOfService.
func (s *Shop) LoadBesideRoute(ctx context.Context, rate int) (*Load, error) {
	return s.LoadOfService(ctx, Name, rate)
}

// LoadOfService sends requests straight to a Service of the shop's namespace: through
// kube-proxy where it runs, else straight over the Service's endpoints.
func (s *Shop) LoadOfService(ctx context.Context, service string, rate int) (*Load, error) {
	flags, name := []string{"--bind", "10.244.250.2", "--keepalive=false"}, "service-"+service
	if s.KubeProxy {
		address, err := s.clusterIP(ctx, service)
		if err != nil {
			return nil, err
		}
		return s.startLoad(ctx, name, rate, append(flags, "--target", "http://"+address+"/")...)
	}
	return s.startLoad(ctx, name, rate, append(flags, "--target", "http://"+service+"."+s.Namespace+"/",
		"--endpoints", s.Namespace+"/"+service, "--kubeconfig", filepath.Join(s.Dir, "kubeconfigs", "admin.yaml"))...)
}

// Traffic sends requests to the shop's host at the gateway, for a day at most, and
// keeps no log of them. It ends with the sandbox, or when stop is called.
func (s *Shop) Traffic(ctx context.Context, rate int) (stop func(context.Context) error, err error) {
	return s.traffic(ctx, rate, through(gatewayURL, s.Host(), load.HTTP, nil))
}

// TrafficThroughProxy is Traffic by way of a proxy, as a caller has whose own that is.
func (s *Shop) TrafficThroughProxy(ctx context.Context, proxy, host string, rate int) (stop func(context.Context) error, err error) {
	return s.traffic(ctx, rate, through("http://"+proxy, host, load.HTTP, nil))
}

func (s *Shop) traffic(ctx context.Context, rate int, flags []string) (stop func(context.Context) error, err error) {
	binary, err := harness.Binary("sandbox")
	if err != nil {
		return nil, err
	}
	name := "traffic-" + s.Namespace
	args := []string{"start", name, "--", binary, "load", "--rate", strconv.Itoa(rate), "--duration", trafficDuration}
	if _, err = s.Run(ctx, append(args, flags...)...); err != nil {
		return nil, fmt.Errorf("cannot start traffic in %s: %w", s.Namespace, err)
	}
	return func(ctx context.Context) error {
		_, err := s.Run(ctx, "stop", name)
		return err
	}, nil
}

func (s *Shop) startLoad(ctx context.Context, via string, rate int, flags ...string) (*Load, error) {
	binary, err := harness.Binary("sandbox")
	if err != nil {
		return nil, err
	}
	l := &Load{shop: s, name: "load-" + s.Namespace + "-" + via}
	path := filepath.Join(s.dir, l.name+".log")
	args := append([]string{"start", l.name, "--", binary, "load", "--name", l.name, "--rate", strconv.Itoa(rate), "--await", firstAnswer, "--out", path}, flags...)
	if _, err := s.Run(ctx, args...); err != nil {
		return nil, fmt.Errorf("cannot start load %s: %w", l.name, err)
	}
	for range 100 { // the process needs a moment to write the log's header
		if l.log, err = load.Open(path); err == nil {
			return l, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return nil, fmt.Errorf("cannot read the log of load %s: %w", l.name, err)
}

// Log gives all responses up to now.
func (l *Load) Log(ctx context.Context) (*load.Log, error) {
	ctx, cancel := context.WithTimeout(ctx, coveredTimeout)
	defer cancel()
	if err := l.log.WaitCovered(ctx, time.Now()); err != nil {
		return nil, fmt.Errorf("cannot read the log of load %s: %w", l.name, err)
	}
	return l.log, nil
}

// Stop ends the load and gives its whole log.
func (l *Load) Stop(ctx context.Context) (*load.Log, error) {
	if _, err := l.shop.Run(ctx, "stop", l.name); err != nil {
		return nil, fmt.Errorf("cannot stop load %s: %w", l.name, err)
	}
	if err := l.log.Refresh(); err != nil {
		return nil, fmt.Errorf("cannot read the log of load %s: %w", l.name, err)
	}
	return l.log, nil
}

// clusterIP is the address of a Service of the shop's namespace.
func (s *Shop) clusterIP(ctx context.Context, name string) (string, error) {
	var service corev1.Service
	if err := s.Admin.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: name}, &service); err != nil {
		return "", fmt.Errorf("cannot read the Service: %w", err)
	}
	return service.Spec.ClusterIP, nil
}
