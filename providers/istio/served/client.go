package served

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/providers/internal/outage"
	"github.com/weir-dev/weir/providers/istio"
)

const (
	// Pauses before the stream is opened again.
	minPause, maxPause = 100 * time.Millisecond, 5 * time.Second
	// gather is how long new names wait for others.
	gather = 20 * time.Millisecond
	// forgetAfter is how long a name is subscribed to that nobody asks for, and
	// forgetPace how often is looked for such names.
	forgetAfter, forgetPace = 2 * time.Minute, 30 * time.Second
	// maxBackoff is the longest time that Envoy waits between two attempts to connect
	// to its control plane: it draws it from a range that doubles from 0.5 to 30 s
	// (RetryInitialDelayMs, RetryMaxDelayMs and JitteredExponentialBackOffStrategy).
	// After an outage of one second or more, all but one of a thousand are back within
	// backoffFactor times its length.
	maxBackoff, backoffFactor = 30 * time.Second, 10
)

// errNotYet says that there was no time to ask.
var errNotYet = errors.New("it has not been asked yet")

// Options of a client.
type Options struct {
	// Address of istiod, HOST:PORT.
	Address string
	// CA is a file with the certificates that istiod's is signed by; empty for plain
	// text. Token is a file with the token of a service account for audience istio-ca.
	// Both are read anew for each stream.
	CA, Token string
	// Namespace that Weir runs in.
	Namespace string
	// Domain of the cluster, such as cluster.local.
	Domain string
	// Dial opens connections; nil for the network.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

// Client asks one istiod. It is safe for concurrent use.
type Client struct {
	options Options
	// wanted has an entry when the names have changed.
	wanted chan struct{}

	mu sync.Mutex
	// names that are subscribed to.
	names map[string]*subscription
	// problem is why there is no stream, nil where there is one.
	problem error
	outage  outage.Outage
	// changed is closed when any of the above changes.
	changed chan struct{}
}

// subscription is what is known of one name.
type subscription struct {
	asked time.Time
	// routes are nil before istiod has served the name on this stream.
	routes served
}

var _ istio.Proxies = &Client{}

// New makes a client, which opens its stream when it is first asked.
func New(options Options) *Client {
	return &Client{
		options: options, wanted: make(chan struct{}, 1), names: map[string]*subscription{},
		changed: make(chan struct{}), outage: outage.Outage{Name: "istiod", Factor: backoffFactor, Max: maxBackoff},
	}
}

// Served routes, as package istio wants them.
func (c *Client) Served(ctx context.Context, service, object client.ObjectKey, port int32) ([]istio.ServedRoute, error) {
	name := fmt.Sprintf("%s.%s.svc.%s:%d", service.Name, service.Namespace, c.options.Domain, port)
	for {
		routes, changed, err := c.look(name)
		switch {
		case err != nil:
			return nil, err
		case routes != nil:
			return routes[object], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("no answer for %s: %w", name, ctx.Err())
		}
	}
}

// look at what is known of a name, and subscribe to it if it is new.
func (c *Client) look(name string) (served, <-chan struct{}, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.names[name]
	if s == nil {
		s = &subscription{}
		c.names[name] = s
		select {
		case c.wanted <- struct{}{}:
		default: // That the names have changed is known.
		}
	}
	s.asked = time.Now()
	if c.problem != nil {
		return nil, nil, c.problem
	}
	if why := c.outage.Settling(s.asked); why != "" {
		return nil, nil, errors.New(why)
	}
	return s.routes, c.changed, nil
}

// Start asks until the context ends. It opens a stream while there is anything to ask
// for, and another one when it breaks.
func (c *Client) Start(ctx context.Context) error {
	pause := minPause
	for {
		heard := false
		err := c.awaitNames(ctx)
		if err == nil {
			err = c.session(ctx, func() { heard = true })
		}
		if ctx.Err() != nil {
			c.lost(ctx.Err())
			return nil
		}
		if heard {
			pause = minPause
		}
		if err == nil { // Nobody asks any more.
			continue
		}
		c.lost(err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, maxPause)
	}
}

// awaitNames waits until there is anything to ask for.
func (c *Client) awaitNames(ctx context.Context) error {
	for len(c.current(time.Time{})) == 0 {
		select {
		case <-c.wanted:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", errNotYet, ctx.Err())
		}
	}
	return nil
}

// current names that somebody asked for after a time, in order. The others are
// forgotten.
func (c *Client) current(after time.Time) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.names, func(_ string, s *subscription) bool { return s.asked.Before(after) })
	return slices.Sorted(maps.Keys(c.names))
}

// lost the stream: nothing is known any more. Who asks is told why.
func (c *Client) lost(err error) {
	c.update(func() {
		c.problem = err
		c.outage.Failed(time.Now())
		for _, s := range c.names {
			s.routes = nil
		}
	})
}

// got route configurations. Of a name that was forgotten since nothing is kept.
func (c *Client) got(configs map[string]served) {
	c.update(func() {
		c.problem = nil
		c.outage.Answered(time.Now())
		for name, routes := range configs {
			if s := c.names[name]; s != nil {
				s.routes = routes
			}
		}
	})
}

// update what is known, and wake those who wait for it.
func (c *Client) update(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
	close(c.changed)
	c.changed = make(chan struct{})
}
