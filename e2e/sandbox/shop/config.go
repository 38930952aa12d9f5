package shop

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// Config says what the shop answers and how it behaves. FromEnv makes one from
// environment variables; the help of Command lists them.
type Config struct {
	// Version, Pod and Revision are stated in every answer.
	Version, Pod, Revision string
	// PodIP and Port are the address to listen on.
	PodIP, Port string
	// ErrorRate is the share of requests, 0 to 1, that are answered with 500.
	ErrorRate float64
	// Latency is the mean time an answer takes; Jitter is the most it varies
	// either way, evenly distributed.
	Latency, Jitter time.Duration
	// StartDelay is the time from start until the shop reports ready.
	StartDelay time.Duration
	// NeverReady keeps the shop from ever reporting ready. It serves all the
	// same: readiness is for the caller to respect.
	NeverReady bool
	// CrashAfter is the time from start until the process exits with ExitCode;
	// nil means never.
	CrashAfter *time.Duration
	// ExitCode is the exit code of that crash, 0 to 255.
	ExitCode int
	// Drain is how long the shop goes on serving once it is asked to stop.
	Drain time.Duration
}

// FromEnv reads the configuration through getenv. Its errors name the
// variable, the value and what is allowed.
func FromEnv(getenv func(string) string) (Config, error) {
	or := func(name, fallback string) string {
		if v := getenv(name); v != "" {
			return v
		}
		return fallback
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := parser{or: or}
	cfg := Config{
		Version:    or("VERSION", "unknown"),
		Pod:        or("POD_NAME", host),
		Revision:   getenv("REVISION"),
		PodIP:      or("POD_IP", "127.0.0.1"),
		Port:       or("PORT", "8080"),
		ErrorRate:  p.share("ERROR_RATE"),
		StartDelay: p.duration("START_DELAY", "0s"),
		NeverReady: !p.boolean("READY", "true"),
		ExitCode:   p.exitCode("EXIT_CODE"),
		Drain:      p.duration("DRAIN", "6s"),
	}
	cfg.Latency, cfg.Jitter = p.latency("LATENCY")
	if getenv("CRASH_AFTER") != "" {
		d := p.duration("CRASH_AFTER", "")
		cfg.CrashAfter = &d
	}
	if p.err != nil {
		return Config{}, p.err
	}
	return cfg, nil
}

// parser reads typed values and keeps the first error.
type parser struct {
	or  func(name, fallback string) string
	err error
}

func (p *parser) fail(name, value, want string) {
	if p.err == nil {
		p.err = fmt.Errorf("invalid %s %q: want %s", name, value, want)
	}
}

func (p *parser) share(name string) float64 {
	value := p.or(name, "0")
	f, err := strconv.ParseFloat(value, 64)
	// The comparison is written so that NaN, too, is refused.
	if err != nil || !(f >= 0 && f <= 1) {
		p.fail(name, value, "a number from 0 to 1, such as 0.05")
		return 0
	}
	return f
}

func (p *parser) duration(name, fallback string) time.Duration {
	value := p.or(name, fallback)
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 {
		p.fail(name, value, "a duration of 0 or more, such as 20ms or 6s")
		return 0
	}
	return d
}

func (p *parser) boolean(name, fallback string) bool {
	value := p.or(name, fallback)
	b, err := strconv.ParseBool(value)
	if err != nil {
		p.fail(name, value, "true or false")
	}
	return b
}

func (p *parser) exitCode(name string) int {
	value := p.or(name, "1")
	n, err := strconv.Atoi(value)
	if err != nil || n < 0 || n > 255 {
		p.fail(name, value, "a whole number from 0 to 255")
		return 0
	}
	return n
}

// latency reads "20ms" or "20ms+/-5ms". Without a stated jitter it is a tenth
// of the mean, so that latencies are never all the same.
func (p *parser) latency(name string) (mean, jitter time.Duration) {
	value := p.or(name, "0s")
	base, spread, stated := strings.Cut(value, "+/-")
	mean, err := time.ParseDuration(base)
	if err != nil || mean < 0 {
		p.fail(name, value, `a duration with or without its jitter, such as 20ms or 20ms+/-5ms`)
		return 0, 0
	}
	if !stated {
		return mean, mean / 10
	}
	jitter, err = time.ParseDuration(spread)
	if err != nil || jitter < 0 || jitter > mean {
		p.fail(name, value, `a jitter from 0 to the duration itself, such as 20ms+/-5ms`)
		return 0, 0
	}
	return mean, jitter
}
