// Package control is the way into a running sandbox: the messages its
// supervisor understands and a client that sends them.
//
// A message is one JSON value on a connection to the supervisor's unix socket.
// File descriptors travel beside it, so a caller outside the sandbox's network
// can own a connection or a listener that lives inside: the supervisor opens
// it and hands it over, and no byte passes through the supervisor afterwards.
package control

import "time"

// SocketName is the name of the supervisor's socket in the state directory.
const SocketName = "control.sock"

// Op names what a request asks for.
type Op string

// The requests a supervisor answers.
const (
	OpStatus   Op = "status"   // report all processes
	OpStart    Op = "start"    // start Process, or Name again as it was
	OpSignal   Op = "signal"   // send Signal to Name
	OpStop     Op = "stop"     // SIGTERM, after Grace SIGKILL; wait for the end
	OpKill     Op = "kill"     // SIGKILL; wait for the end
	OpPause    Op = "pause"    // SIGSTOP
	OpResume   Op = "resume"   // SIGCONT
	OpRestart  Op = "restart"  // stop, then start as it was
	OpExec     Op = "exec"     // run Process attached to the three descriptors sent along
	OpDial     Op = "dial"     // open a connection to Address and hand it over
	OpListen   Op = "listen"   // listen on Address and hand the listener over
	OpDetach   Op = "detach"   // the sandbox is complete: outlive the process that made it
	OpShutdown Op = "shutdown" // end every process, remove the state, exit
)

// Request is what a client sends.
type Request struct {
	Op      Op       `json:"op"`
	Name    string   `json:"name,omitempty"`
	Process *Process `json:"process,omitempty"`
	// Signal is the number of the signal to send, for OpSignal.
	Signal int `json:"signal,omitempty"`
	// Network is tcp or udp, for OpDial and OpListen.
	Network string `json:"network,omitempty"`
	// Address to dial or to listen on, host:port.
	Address string `json:"address,omitempty"`
	// LocalAddress, when set, is the IP address to dial from.
	LocalAddress string `json:"localAddress,omitempty"`
	// Grace is how long OpStop and OpRestart wait before SIGKILL. Zero means
	// DefaultGrace.
	Grace time.Duration `json:"grace,omitempty"`
}

// DefaultGrace is the time a process has to end after SIGTERM.
const DefaultGrace = 10 * time.Second

// Response is what the supervisor answers. For OpExec there are two: one when
// the process has started and one, with ExitCode, when it has ended.
type Response struct {
	// Error is empty on success.
	Error     string   `json:"error,omitempty"`
	Processes []Status `json:"processes,omitempty"`
	ExitCode  *int     `json:"exitCode,omitempty"`
}

// Process describes a process to run inside the sandbox.
type Process struct {
	// Name is unique among the supervised processes.
	Name string   `json:"name,omitempty"`
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"`
	// Env is the whole environment, KEY=VALUE.
	Env []string `json:"env,omitempty"`
	Dir string   `json:"dir,omitempty"`
	// Component marks the sandbox's own processes. They hold nothing worth
	// saving, so a shutdown kills them without asking.
	Component bool `json:"component,omitempty"`
}

// State is where a supervised process stands.
type State string

// The states of a supervised process.
const (
	Running State = "running"
	Paused  State = "paused"
	Exited  State = "exited"
)

// Status is the state of one supervised process.
type Status struct {
	Name  string `json:"name"`
	State State  `json:"state"`
	// PID as seen inside the sandbox; zero when the process has ended.
	PID     int       `json:"pid,omitempty"`
	Started time.Time `json:"started"`
	// Starts counts how often the process was started.
	Starts int `json:"starts"`
	// ExitCode of an ended process; 128+N after signal N.
	ExitCode int `json:"exitCode,omitempty"`
	// CPU is the processor time used so far, user and system.
	CPU time.Duration `json:"cpuNanoseconds,omitempty"`
	// RSS is the resident memory in bytes.
	RSS int64  `json:"rssBytes,omitempty"`
	Log string `json:"log"`
	// Component is true for the sandbox's own processes.
	Component bool `json:"component,omitempty"`
}
