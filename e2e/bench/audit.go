package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"

	"github.com/weir-dev/weir/e2e/chart"
)

// writes are the controller's writes that the API server took, by resource, and
// those that it refused (conflicts and failed preconditions).
type writes struct {
	taken   map[string]int
	refused int
}

func (w writes) total() (n int) {
	for _, count := range w.taken {
		n += count
	}
	return n
}

// auditReader counts what is new in the API server's audit log.
type auditReader struct {
	path   string
	offset int64
}

// next counts the controller's writes since the last call, Events and the lease
// of the leader election apart. With a namespace prefix it counts only those
// in such namespaces.
func (a *auditReader) next(prefix string) (writes, error) {
	file, err := os.Open(a.path)
	if err != nil {
		return writes{}, fmt.Errorf("cannot open the audit log: %w", err)
	}
	defer file.Close() //nolint:errcheck // it was only read
	if _, err := file.Seek(a.offset, io.SeekStart); err != nil {
		return writes{}, fmt.Errorf("cannot read the audit log: %w", err)
	}
	w := writes{taken: map[string]int{}}
	lines := bufio.NewReader(file)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return w, nil // a last line that is not whole is read the next time
		}
		if err != nil {
			return writes{}, fmt.Errorf("cannot read the audit log: %w", err)
		}
		a.offset += int64(len(line))
		if err := w.add(line, prefix); err != nil {
			return writes{}, err
		}
	}
}

// add counts one line of the log.
func (w *writes) add(line []byte, prefix string) error {
	var event auditv1.Event
	if err := json.Unmarshal(line, &event); err != nil {
		return fmt.Errorf("cannot read the audit log: %w", err)
	}
	if event.ObjectRef == nil || !counts(&event, prefix) {
		return nil
	}
	resource := event.ObjectRef.Resource
	if event.ResponseStatus != nil && event.ResponseStatus.Code >= 400 {
		w.refused++
		return nil
	}
	if event.ObjectRef.Subresource != "" {
		resource += "/" + event.ObjectRef.Subresource
	}
	w.taken[resource]++
	return nil
}

// counts is true for a finished write of the controller in a namespace with the
// prefix. Events and leases are no writes of a release.
func counts(event *auditv1.Event, prefix string) bool {
	return event.Stage == auditv1.StageResponseComplete && event.User.Username == chart.ControllerUsername &&
		event.ObjectRef.Resource != "events" && event.ObjectRef.Resource != "leases" &&
		strings.HasPrefix(event.ObjectRef.Namespace, prefix) &&
		slices.Contains([]string{"create", "update", "patch", "apply", "delete", "deletecollection"}, event.Verb)
}
