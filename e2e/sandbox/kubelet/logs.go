package kubelet

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"
)

// serveLogs serves `kubectl logs`: the API server asks the node's kubelet for
// them. All nodes' addresses are local, so one listener is enough.
func (k *kubelet) serveLogs(ctx context.Context) error {
	cert, err := selfSigned()
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.handleLogs)
	server := &http.Server{
		Addr:              fmt.Sprintf(":%d", apiPort),
		Handler:           mux,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 10 * time.Second,
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.ListenAndServeTLS("", ""); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("cannot serve logs: %w", err)
	}
	return nil
}

// selfSigned makes a certificate; the API server does not check it.
func selfSigned() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot make a key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("cannot make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// handleLogs answers with a container's log. Of the options of kubectl logs it
// knows --previous, --follow, --tail and --limit-bytes; programs write no times,
// so those about times have no effect.
func (k *kubelet) handleLogs(w http.ResponseWriter, r *http.Request) {
	worker, ok := k.find(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(w, "no such pod on this node", http.StatusNotFound)
		return
	}
	c := worker.container(r.PathValue("container"))
	if c == nil {
		http.Error(w, "no such container", http.StatusNotFound)
		return
	}
	query := r.URL.Query()
	f, follow, err := c.log(query.Get("previous") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	defer func() { _ = f.Close() }()
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		if err := seekTail(f, lines); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	var from io.Reader = f
	if limit, err := strconv.ParseInt(query.Get("limitBytes"), 10, 64); err == nil {
		from = io.LimitReader(f, limit)
	}
	w.Header().Set("Content-Type", "text/plain")
	stream(r.Context(), w, from, query.Get("follow") == "true" && follow)
}

// stream copies the log, as long as it grows if follow is set.
func stream(ctx context.Context, w http.ResponseWriter, from io.Reader, follow bool) {
	for {
		if _, err := io.Copy(w, from); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		if !follow || !sleep(ctx, 200*time.Millisecond) {
			return
		}
	}
}

// container finds a container of the pod by name.
func (w *worker) container(name string) *container {
	for _, c := range slices.Concat(w.init, w.main) {
		if c.spec.Name == name {
			return c
		}
	}
	return nil
}

// log opens the container's present log, or that of the run before. The log of
// a run that has ended does not grow.
func (c *container) log(previous bool) (f *os.File, grows bool, err error) {
	c.mu.Lock()
	run, running := c.restarts, c.state.Running != nil
	c.mu.Unlock()
	if previous {
		run, running = run-1, false
	}
	f, err = os.Open(c.logPath(run))
	if err != nil {
		return nil, false, fmt.Errorf("container %q has no such log", c.spec.Name)
	}
	return f, running, nil
}

// seekTail moves to the start of the last lines of a file.
func seekTail(f *os.File, lines int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("cannot read log: %w", err)
	}
	const most = 1 << 20 // no one asks for a longer tail
	from := max(0, end-most)
	data := make([]byte, end-from)
	if _, err := f.ReadAt(data, from); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("cannot read log: %w", err)
	}
	_, err = f.Seek(from+int64(tailStart(data, lines)), io.SeekStart)
	return err
}

// tailStart returns where the last lines of data begin.
func tailStart(data []byte, lines int) int {
	start := len(data)
	body := bytes.TrimSuffix(data, []byte("\n"))
	for ; lines > 0; lines-- {
		i := bytes.LastIndexByte(body, '\n')
		if i < 0 {
			return 0
		}
		start, body = i+1, body[:i]
	}
	return start
}
