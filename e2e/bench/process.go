package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weir-dev/weir/e2e/harness"
	"github.com/weir-dev/weir/e2e/sandbox/control"
)

// clockTick is the unit of CPU times in /proc, which Linux fixes at 100 a second
// for programs.
const clockTick = 10 * time.Millisecond

// process is a supervised process of a sandbox. Its PID is the one inside, so
// its state is read inside.
type process struct {
	sandbox *harness.Sandbox
	pid     int
}

// findProcess asks the sandbox for the process of a name.
func findProcess(ctx context.Context, s *harness.Sandbox, name string) (process, error) {
	out, err := s.Run(ctx, "status", "--json")
	if err != nil {
		return process{}, err
	}
	var all []control.Status
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		return process{}, fmt.Errorf("cannot read the sandbox's status: %w", err)
	}
	for _, p := range all {
		if p.Name == name && p.PID > 0 {
			return process{sandbox: s, pid: p.PID}, nil
		}
	}
	return process{}, fmt.Errorf("no process %q runs in the sandbox", name)
}

// cpu is the time that the process has used so far.
func (p process) cpu(ctx context.Context) (time.Duration, error) {
	text, err := p.read(ctx, "stat")
	if err != nil {
		return 0, err
	}
	// The command, in brackets, may have spaces: fields are counted after it.
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const user, system = 11, 12
	var ticks int64
	for _, i := range []int{user, system} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("cannot read the CPU time of process %d: %w", p.pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is a field of the process's status, such as VmHWM (its largest resident
// size) or VmRSS (the present one), in megabytes.
func (p process) memory(ctx context.Context, field string) (float64, error) {
	text, err := p.read(ctx, "status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			kb, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			if err != nil {
				return 0, fmt.Errorf("cannot read %s of process %d: %w", field, p.pid, err)
			}
			return kb / 1024, nil
		}
	}
	return 0, fmt.Errorf("process %d has no %s", p.pid, field)
}

func (p process) read(ctx context.Context, file string) (string, error) {
	text, err := p.sandbox.Run(ctx, "exec", "--", "cat", "/proc/"+strconv.Itoa(p.pid)+"/"+file)
	if err != nil {
		return "", fmt.Errorf("cannot read the state of process %d: %w", p.pid, err)
	}
	return strings.TrimSpace(text), nil
}
