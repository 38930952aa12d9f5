package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxFiles bounds the descriptors one message may carry.
const maxFiles = 8

// Wire sends and receives messages with file descriptors on a unix stream
// socket. One goroutine may send while another receives.
type Wire struct {
	conn    *net.UnixConn
	decoder *json.Decoder
	pending []*os.File
	send    sync.Mutex
}

// NewWire wraps a connection. It must see the connection first: descriptors
// that arrive during a plain read are lost.
func NewWire(conn *net.UnixConn) *Wire {
	w := &Wire{conn: conn}
	w.decoder = json.NewDecoder(readerFunc(w.read))
	return w
}

// Send writes one message. The files stay the caller's.
func (w *Wire) Send(message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("cannot encode message: %w", err)
	}
	w.send.Lock()
	defer w.send.Unlock()
	if len(files) > 0 {
		// Descriptors ride on one byte of their own (a space, which JSON
		// ignores), since a long message may be split by the kernel.
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		if _, _, err := w.conn.WriteMsgUnix([]byte(" "), unix.UnixRights(fds...), nil); err != nil {
			return fmt.Errorf("cannot send file descriptors: %w", err)
		}
	}
	_, err = w.conn.Write(append(data, '\n'))
	return err
}

// Receive reads the next message and returns the files that came with it; they
// are the caller's to close.
func (w *Wire) Receive(message any) ([]*os.File, error) {
	err := w.decoder.Decode(message)
	files := w.pending
	w.pending = nil
	if err != nil {
		for _, f := range files {
			_ = f.Close()
		}
		return nil, err
	}
	return files, nil
}

// Close closes the connection and files that were received but not taken.
func (w *Wire) Close() error {
	for _, f := range w.pending {
		_ = f.Close()
	}
	return w.conn.Close()
}

// read fills p and puts descriptors that came along into w.pending.
func (w *Wire) read(p []byte) (int, error) {
	oob := make([]byte, unix.CmsgSpace(4*maxFiles))
	n, oobn, _, _, err := w.conn.ReadMsgUnix(p, oob)
	if oobn > 0 {
		files, parseErr := parseRights(oob[:oobn])
		w.pending = append(w.pending, files...)
		err = errors.Join(err, parseErr)
	}
	return max(0, n), err // n is -1 when the connection was closed meanwhile
}

func parseRights(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("cannot parse control message: %w", err)
	}
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return files, fmt.Errorf("cannot parse file descriptors: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
