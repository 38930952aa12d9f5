package control

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// pair returns two ends of one connection.
func pair(t *testing.T) (a, b *Wire) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialled, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	a, b = NewWire(dialled.(*net.UnixConn)), NewWire(accepted)
	t.Cleanup(func() {
		_ = a.Close()
		_ = b.Close()
	})
	return a, b
}

// What is sent arrives, however long it is, with files that work.
func TestWire(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	// Longer than any socket buffer, so it is split on the way.
	sent := Request{Op: OpStart, Process: &Process{Path: "/bin/true", Args: []string{strings.Repeat("x", 1<<20)}}}
	errs := make(chan error, 1)
	go func() { errs <- a.Send(sent, r, w) }()

	var got Request
	files, err := b.Receive(&got)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if len(files) != 2 {
		t.Fatalf("got %d files, want 2", len(files))
	}
	// The copies are of the same pipe, and are the receiver's own.
	_ = r.Close()
	_ = w.Close()
	if _, err := files[1].WriteString("through the pipe"); err != nil {
		t.Fatal(err)
	}
	_ = files[1].Close()
	data, err := io.ReadAll(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("through the pipe", string(data)); diff != "" {
		t.Errorf("data (-want +got):\n%s", diff)
	}
	_ = files[0].Close()
}

// Messages after the first arrive as well, in order; the end is an error.
func TestWireSequence(t *testing.T) {
	a, b := pair(t)
	for i := range 3 {
		if err := a.Send(Request{Signal: i}); err != nil {
			t.Fatal(err)
		}
	}
	_ = a.Close()
	for i := range 3 {
		var got Request
		if _, err := b.Receive(&got); err != nil || got.Signal != i {
			t.Errorf("message %d: got %+v, error %v", i, got, err)
		}
	}
	if _, err := b.Receive(&Request{}); err == nil {
		t.Error("got a message after the end")
	}
}
