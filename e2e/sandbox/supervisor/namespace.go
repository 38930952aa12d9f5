package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ExitNoProcMount is the supervisor's exit code when it could not mount /proc.
// The caller tries again without a process namespace.
const ExitNoProcMount = 42

var errNoProcMount = errors.New("cannot mount /proc in the sandbox's process namespace")

// NamespaceAttr returns the attributes that put a child into the sandbox's
// namespaces. withPID asks for a process namespace too. A caller that is not
// root gets a user namespace in which it is root; nothing else is needed.
func NamespaceAttr(withPID bool) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET,
		Setsid:     true, // Ctrl-C in the caller's terminal is not for the sandbox
	}
	if withPID {
		attr.Cloneflags |= syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	return attr
}

// Network is every address the sandbox uses. All of it is made local, so any
// process can listen on any address in it without further setup.
const Network = "10.0.0.0/8"

// setUpNetwork brings up the loopback device and makes Network local to it.
func setUpNetwork() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("cannot find the loopback device: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("cannot set the loopback device up: %w", err)
	}
	_, dst, err := net.ParseCIDR(Network)
	if err != nil {
		return fmt.Errorf("cannot parse %s: %w", Network, err)
	}
	// The same as `ip route add local 10.0.0.0/8 dev lo`.
	route := &netlink.Route{
		LinkIndex: lo.Attrs().Index,
		Dst:       dst,
		Table:     unix.RT_TABLE_LOCAL,
		Type:      unix.RTN_LOCAL,
		Scope:     netlink.SCOPE_HOST,
	}
	if err := netlink.RouteAdd(route); err != nil {
		return fmt.Errorf("cannot make %s local: %w", Network, err)
	}
	return nil
}

// setUpProcesses makes sure that orphans of the sandbox end up as children of
// this process. As process 1 it also needs a /proc that shows its namespace;
// the mount is private, so the machine's own /proc is untouched.
func setUpProcesses() error {
	if os.Getpid() != 1 {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("cannot adopt orphans: %w", err)
		}
		return nil
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("%w: cannot make mounts private: %w", errNoProcMount, err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("%w: %w", errNoProcMount, err)
	}
	return nil
}
