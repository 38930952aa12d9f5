package load

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Arrivals is how the times between requests are chosen.
type Arrivals string

const (
	// Even arrivals are all 1/rate apart.
	Even Arrivals = "even"
	// Poisson arrivals are independent of each other, as those of many users
	// are: the times between them are exponential, 1/rate on average.
	Poisson Arrivals = "poisson"
)

// Protocol is what is sent.
type Protocol string

const (
	// HTTP sends HTTP/1.1 GET requests.
	HTTP Protocol = "http"
	// GRPC sends unary gRPC calls with an empty message, over HTTP/2 without
	// TLS, to the method that the path of the target names.
	GRPC Protocol = "grpc"
)

// Bounds of a load. They keep a wrong figure in a script from taking the
// machine down or running for ever.
const (
	MaxRate            = 20_000
	MaxSessions        = 100_000
	MaxDuration        = 24 * time.Hour
	DefaultDuration    = time.Hour
	DefaultTimeout     = 5 * time.Second
	DefaultMaxInFlight = 1000
)

// Config describes a load.
type Config struct {
	// Name tells this load from others; it has no effect.
	Name string
	// Target is the URL to request, http://HOST[:PORT]/PATH.
	Target string
	// Host is the Host header; empty means the target's.
	Host string
	// Header is sent with every request.
	Header http.Header
	// Protocol is HTTP unless set.
	Protocol Protocol
	// Rate is the mean number of arrivals a second.
	Rate float64
	// Arrivals is Even unless set; Seed makes Poisson arrivals repeatable.
	Arrivals Arrivals
	Seed     uint64
	// Duration is for how long requests are sent; 0 means DefaultDuration.
	Duration time.Duration
	// Timeout is the time that one request has, from when it is sent; 0 means
	// DefaultTimeout.
	Timeout time.Duration
	// MaxInFlight is how many requests may be unanswered at once; 0 means
	// DefaultMaxInFlight.
	MaxInFlight int
	// Bind is the local address to send from; empty leaves it to the system.
	Bind string
	// Sessions is the number of users whose requests these are, by turns, each with a
	// cookie jar of their own; 0 means that nobody keeps cookies. A user's next request
	// does not wait for their last answer, so that there ought to be more of them than
	// requests in flight.
	Sessions int
	// NewConnections opens a connection for every request, as callers do that
	// come once. Otherwise connections are kept and used again.
	NewConnections bool
	// Await is how long the load waits at most for a first good answer before it
	// begins. What is sent until then is in no count: a new Service answers when the
	// last node has heard of it, which is not what a load is to measure.
	Await time.Duration
	// Pick chooses the address of each new connection. Nil means the target's.
	Pick func() (address string, err error)
}

// withDefaults returns the configuration with nothing left unset, or an error
// that names the field, the value and what is allowed.
func (c Config) withDefaults() (Config, error) {
	setDefault(&c.Protocol, HTTP)
	setDefault(&c.Arrivals, Even)
	setDefault(&c.Duration, DefaultDuration)
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.MaxInFlight, DefaultMaxInFlight)
	target, err := url.Parse(c.Target)
	switch {
	case err != nil || target.Scheme != "http" || target.Host == "":
		return c, fmt.Errorf("invalid target %q: want http://HOST[:PORT]/PATH", c.Target)
	// Written so that NaN, too, is refused.
	case !(c.Rate > 0 && c.Rate <= MaxRate):
		return c, fmt.Errorf("invalid rate %v: want more than 0 and at most %d a second", c.Rate, MaxRate)
	case c.Duration < 0 || c.Duration > MaxDuration:
		return c, fmt.Errorf("invalid duration %s: want at most %s", c.Duration, MaxDuration)
	case c.Timeout < 0:
		return c, fmt.Errorf("invalid timeout %s: want more than 0", c.Timeout)
	case c.Await < 0:
		return c, fmt.Errorf("invalid await %s: want 0 or more", c.Await)
	case c.MaxInFlight < 0:
		return c, fmt.Errorf("invalid max-in-flight %d: want more than 0", c.MaxInFlight)
	}
	return c, c.validateChoices()
}

func (c Config) validateChoices() error {
	if c.Arrivals != Even && c.Arrivals != Poisson {
		return fmt.Errorf("invalid arrivals %q: want %s or %s", c.Arrivals, Even, Poisson)
	}
	if c.Protocol != HTTP && c.Protocol != GRPC {
		return fmt.Errorf("invalid protocol %q: want %s or %s", c.Protocol, HTTP, GRPC)
	}
	if c.Sessions < 0 || c.Sessions > MaxSessions {
		return fmt.Errorf("invalid sessions %d: want 0 to %d", c.Sessions, MaxSessions)
	}
	if c.Bind != "" {
		if _, err := netip.ParseAddr(c.Bind); err != nil {
			return fmt.Errorf("invalid bind %q: want an IP address of this machine", c.Bind)
		}
	}
	return nil
}

// setDefault sets a field that has its zero value.
func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
