package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/rollout/decide"
)

var update = flag.Bool("update", false, "rewrite the outputs in the transcripts")

// transcripts are where the documented behaviour of the core lives.
const transcripts = "../decide/testdata"

// TestTranscripts runs every transcript and compares what it prints. A
// transcript is a file of blocks: commands, a line of dashes, and what they
// print. See the README beside them for the commands.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(transcripts, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s: %v", transcripts, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, w, err := runTranscript(string(want), None)
			if err != nil {
				t.Fatal(err)
			}
			if len(w.ledger.violations) > 0 {
				t.Errorf("invariants: %v", w.ledger.violations)
			}
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("what happens is not what is written (go test ./rollout/sim -run TestTranscripts -update rewrites it):\n%s", diff)
			}
		})
	}
}

// runTranscript runs a transcript, perhaps with a defect switched on, and gives
// it with the outputs as they are now, and the world as it ends.
func runTranscript(text string, mutant Mutant) (string, *World, error) {
	var out strings.Builder
	s := &script{mutant: mutant}
	lines := strings.Split(text, "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if line != "----" {
			out.WriteString(line + "\n")
			if command, _, _ := strings.Cut(line, "#"); strings.TrimSpace(command) != "" {
				if err := s.run(strings.Fields(command)); err != nil {
					return "", nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
				}
			}
			continue
		}
		out.WriteString("----\n" + s.flush() + "\n")
		for i+1 < len(lines) && lines[i+1] != "" {
			i++
		}
		i++
	}
	if s.w == nil {
		return "", nil, fmt.Errorf("there is no world")
	}
	return strings.TrimRight(out.String(), "\n") + "\n", s.w, nil
}

// script is the state of a transcript.
type script struct {
	w      *World
	mutant Mutant
	// old is the process that was deposed.
	old *process
	// seen is how much of the trace has been printed.
	seen int
	all  bool
	// writes at the last count.
	writes, records int
}

// flush gives what happened since the last time: what Weir does, and the last
// reason that it waits for; with "log all" everything.
func (s *script) flush() string {
	text := s.w.trace.String()[s.seen:]
	s.seen = s.w.trace.Len()
	var out []string
	wait := ""
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		if line == "" {
			continue
		}
		at, what := line[:10], line[10:]
		isWait := strings.Contains(what, " waits (")
		switch {
		case strings.Contains(what, " decides on "):
		case isWait:
			wait = line
		case s.all, strings.HasPrefix(what, "term"), strings.HasPrefix(what, "  event"), strings.HasPrefix(what, "race"),
			strings.HasPrefix(what, "VIOLATION"), strings.HasPrefix(what, "="):
			out = append(out, strings.TrimRight(at+what, " "))
		}
		if !isWait && !strings.Contains(what, "analysis of release") {
			continue
		}
	}
	if wait != "" {
		out = append(out, wait)
	}
	return strings.Join(out, "\n") + "\n"
}

// run performs one command.
func (s *script) run(words []string) error {
	name, args := words[0], words[1:]
	if name == "world" {
		return s.world(args)
	}
	if s.w == nil {
		return fmt.Errorf("begin with the command world")
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	if run, ok := s.simple()[name]; ok {
		run(arg)
		s.w.checkState()
		return nil
	}
	return s.timed(name, arg)
}

// simple are the commands that cannot fail.
func (s *script) simple() map[string]func(arg func(int) string) {
	w := s.w
	say := func(action v1alpha1.ApprovalAction, gated bool) func(func(int) string) {
		return func(arg func(int) string) {
			gate, user := "", arg(0)
			if gated {
				gate, user = arg(0), arg(1)
			}
			w.say(action, gate, user, nil)
		}
	}
	return map[string]func(func(int) string){
		"log":            func(arg func(int) string) { s.all = arg(0) == "all" },
		"deploy":         func(arg func(int) string) { w.deploy(templateNamed(arg(0)), arg(1)) },
		"revert":         func(func(int) string) { w.deploy(hashNamed(w.status().Stable.Revision).template, "alice") },
		"scale":          func(arg func(int) string) { w.scale(atoi(arg(0))) },
		"pause":          func(func(int) string) { w.setPaused(true) },
		"unpause":        func(func(int) string) { w.setPaused(false) },
		"approve":        say(v1alpha1.ActionApprove, true),
		"reject":         say(v1alpha1.ActionReject, true),
		"abort":          say(v1alpha1.ActionAbort, false),
		"promote":        say(v1alpha1.ActionPromote, false),
		"retry":          say(v1alpha1.ActionRetry, false),
		"delete":         func(func(int) string) { w.deleteRollout() },
		"create":         func(func(int) string) { w.recreateRollout() },
		"resume":         func(func(int) string) { w.userTarget(func(d *target) { d.paused = false }) },
		"apply-routes":   func(func(int) string) { w.applyRoutes(false) },
		"replace-routes": func(func(int) string) { w.applyRoutes(true) },
		"apply-service":  func(func(int) string) { w.applyService() },
		"drop-label":     func(func(int) string) { w.dropLabel() },
		"recreate":       func(func(int) string) { w.recreate() },
		"metrics":        func(arg func(int) string) { w.metricsUp = arg(0) == "up" },
		"quality":        func(arg func(int) string) { w.quality[templateNamed(arg(0))] = qualityNamed(arg(1)) },
		"steps": func(arg func(int) string) {
			steps := parseSteps(arg(0))
			w.userRollout(func(r *v1alpha1.Rollout) { r.Spec.Steps = steps })
		},
		"preview": func(func(int) string) { w.togglePreview() },
		"kill":    func(arg func(int) string) { s.kill(arg(0)) },
		"crash":   func(func(int) string) { w.log("%s crashes", w.leader.term); w.newLeader() },
		"depose":  func(func(int) string) { s.old = w.leader; w.log("%s is stopped", s.old.term); w.newLeader() },
		"nature":  func(func(int) string) { s.nature() },
		"pods":    func(func(int) string) { s.pods() },
		"status":  func(func(int) string) { w.log("= %s", summary(w.status())) },
		"objects": func(func(int) string) { w.log("= %s", w.objects()) },
		"writes":  func(func(int) string) { s.count() },
	}
}

// timed are the commands that let processes act, or time pass.
func (s *script) timed(name string, arg func(int) string) error {
	w := s.w
	switch name {
	case "tick":
		d, err := time.ParseDuration(arg(0))
		if err != nil {
			return fmt.Errorf("cannot tick: %w", err)
		}
		w.now = w.now.Add(d)
		w.leader.dirty = true
	case "calm":
		for i := 0; w.breathe(); i++ {
			if w.checkState(); i > maxRounds {
				return fmt.Errorf("no calm")
			}
		}
	case "settle":
		w.settle()
	case "step", "old":
		p := w.leader
		if name == "old" {
			p = s.old
		}
		for range max(1, atoi(arg(0))) {
			for k := range kinds {
				if p == w.leader {
					p.advance(k, depth)
				}
			}
			p.step()
			w.checkState()
		}
	case "until":
		return s.until(arg(0))
	default:
		return fmt.Errorf("no such command")
	}
	return nil
}

// until lets the leader and the cluster act until the leader is about to
// perform an effect of a kind, or to write a record of a stage.
func (s *script) until(what string) error {
	w := s.w
	for range maxRounds {
		p := w.leader
		if p.phase == recording && string(stageOf(p.decision.Status)) == what {
			return nil
		}
		if (p.phase == checking || p.phase == writing) && string(p.decision.Effects[p.effect].Kind) == what {
			return nil
		}
		if p.phase != resting {
			p.step()
			w.checkState()
			continue
		}
		if w.breathe() {
			w.checkState()
			continue
		}
		at := w.nextTime()
		if at.IsZero() {
			break
		}
		w.now, p.dirty = at, true
	}
	return fmt.Errorf("it does not come to that")
}

// nature lets everything but Weir act until nothing moves.
func (s *script) nature() {
	w := s.w
	for moved := true; moved; {
		moved = w.natureMoves()
		w.checkState()
	}
}

func (s *script) pods() {
	for i := range s.w.sets.live().n {
		for s.w.stepPods(i) {
		}
	}
}

func (s *script) kill(name string) {
	all := s.w.sets.live()
	for i := range all.n {
		for all := s.w.sets.live(); all.list[i].hash.String() == name && all.list[i].available > 0; all = s.w.sets.live() {
			s.w.killPod(i)
		}
	}
}

// count prints the writes since the last count.
func (s *script) count() {
	l := &s.w.ledger
	s.w.log("= %d writes, %d of them records", l.writes-s.writes, l.records-s.records)
	s.writes, s.records = l.writes, l.records
}

// world makes the cluster.
func (s *script) world(args []string) error {
	cfg := Config{Replicas: 4, Surge: 1, HistoryLimit: 10, Labelled: true, Hold: v1alpha1.HoldAdmissionPolicy, PinPolicy: true,
		SplitPolicy: true, ExemptRevert: true, Deadline: "10m", Drain: "30s", Mutant: s.mutant}
	cfg.ConfirmFirst = s.mutant == ConfirmBeforeRead || s.mutant == NoStamp
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		set, ok := settings[key]
		if !ok {
			return fmt.Errorf("no such setting: %s", key)
		}
		set(&cfg, value)
	}
	s.w = newWorld(1, cfg)
	s.w.calm, s.w.tracing = true, true
	return nil
}

// settings of a world.
var settings = map[string]func(*Config, string){
	"replicas":    func(c *Config, v string) { c.Replicas = atoi(v) },
	"surge":       func(c *Config, v string) { c.Surge = atoi(v) },
	"unavailable": func(c *Config, v string) { c.Unavailable = atoi(v) },
	"history":     func(c *Config, v string) { c.HistoryLimit = int(atoi(v)) },
	"routes":      func(c *Config, v string) { c.Routes = int(atoi(v)) },
	"quota":       func(c *Config, v string) { c.Quota = atoi(v) },
	"steps":       func(c *Config, v string) { c.Steps = parseSteps(v) },
	"hold":        func(c *Config, v string) { c.Hold = v1alpha1.HoldMode(v) },
	"on-failure":  func(c *Config, v string) { c.OnFailure = v1alpha1.FailurePolicy(v) },
	"deletion":    func(c *Config, v string) { c.DeletionPolicy = v1alpha1.DeletionPolicy(v) },
	"preview":     func(c *Config, v string) { c.Preview = v == "yes" },
	"callers":     func(c *Config, v string) { c.OtherCallers = v1alpha1.OtherCallers(v) },
	"deadline":    func(c *Config, v string) { c.Deadline = v1alpha1.Duration(v) },
	"drain":       func(c *Config, v string) { c.Drain = v1alpha1.Duration(v) },
	"analysis": func(c *Config, v string) {
		c.Analysis = &v1alpha1.Analysis{TemplateRefs: []v1alpha1.TemplateReference{{Name: "golden"}}, Timeout: v1alpha1.Duration(v)}
	},
	"fresh":        func(c *Config, v string) { c.Fresh = v == "true" },
	"labelled":     func(c *Config, v string) { c.Labelled = v == "true" },
	"pin-policy":   func(c *Config, v string) { c.PinPolicy = v == "true" },
	"split-policy": func(c *Config, v string) { c.SplitPolicy = v == "true" },
}

// parseSteps reads steps such as 5,25:hold=1m:approve=sre,100 or pods=1,pods=100%.
func parseSteps(text string) []v1alpha1.Step {
	var steps []v1alpha1.Step
	for _, word := range strings.Split(text, ",") {
		var s v1alpha1.Step
		g := &v1alpha1.Gates{Hold: "0s"}
		for i, part := range strings.Split(word, ":") {
			key, value, _ := strings.Cut(part, "=")
			switch {
			case i == 0 && key == "pods":
				s.Replicas = pods(value)
			case i == 0 && strings.HasSuffix(key, "%"):
				s.Weight = ptrTo(intstr.FromString(key))
			case i == 0:
				s.Weight = pct(int(atoi(key)))
			case key == "name":
				s.Name = value
			case key == "pods":
				s.Replicas = pods(value)
			case key == "hold":
				g.Hold = v1alpha1.Duration(value)
			case key == "approve":
				g.Approvals = append(g.Approvals, v1alpha1.ApprovalGate{Name: value, MinApprovals: 1})
			case key == "min":
				g.Approvals[len(g.Approvals)-1].MinApprovals = atoi(value)
			case key == "excluded":
				g.Approvals[len(g.Approvals)-1].ChangeAuthor = v1alpha1.ChangeAuthorExcluded
			case key == "timeout":
				g.Approvals[len(g.Approvals)-1].Timeout = v1alpha1.Duration(value)
			case key == "mirror":
				s.Extras = mirrored(atoi(value))
			case key == "cohort":
				s.Extras = cohort(value)
			case key == "nogates":
				g = nil
			}
		}
		s.Gates = g
		steps = append(steps, s)
	}
	return steps
}

func ptrTo[T any](v T) *T { return &v }

func atoi(s string) int32 {
	n, _ := strconv.Atoi(s)
	return int32(n)
}

func templateNamed(s string) template {
	if len(s) != 1 {
		return 0
	}
	return template(s[0] - 'A' + 1)
}

func qualityNamed(s string) quality {
	return map[string]quality{"good": good, "slow": slow, "failing": failing, "stuck": stuck, "crashing": crashing}[s]
}

// objects prints what is there.
func (w *World) objects() string {
	var b strings.Builder
	t, all, rs, sv := w.target.live(), w.sets.live(), w.routes.live(), w.services.live()
	fmt.Fprintf(&b, "workload %s replicas %d", t.template, t.replicas)
	for _, flag := range []struct {
		on   bool
		name string
	}{{t.paused, "paused"}, {t.vetoed, "vetoed"}, {!t.labelled, "not labelled"}} {
		if flag.on {
			b.WriteString(" " + flag.name)
		}
	}
	for i := range all.n {
		s := &all.list[i]
		fmt.Fprintf(&b, "; set %s of %s %d/%d", s.hash, s.owner, s.available, s.size)
		if s.vetoed {
			b.WriteString(" vetoed")
		}
	}
	for i := range rs.n {
		if r := &rs.list[i]; r.split {
			fmt.Fprintf(&b, "; route %d canary %s%s", i, percent(r.weight), extrasNote(r.extras))
		} else {
			fmt.Fprintf(&b, "; route %d as written", i)
		}
	}
	if rs.n > 0 {
		if sv.user.pin == (hash{}) {
			b.WriteString("; Service wide")
		} else {
			fmt.Fprintf(&b, "; Service pinned to %s", sv.user.pin)
		}
		if sv.canary.exists {
			b.WriteString("; canary's Service")
		}
		if sv.preview.exists && sv.preview.pin == (hash{}) {
			b.WriteString("; preview of all")
		} else if sv.preview.exists {
			fmt.Fprintf(&b, "; preview of %s", sv.preview.pin)
		}
	}
	if ro := w.rollout.live(); !ro.exists {
		b.WriteString("; no Rollout")
	} else if len(ro.Finalizers) > 0 {
		b.WriteString("; finalizer")
	}
	return b.String()
}

var _ = decide.WaitNothing
