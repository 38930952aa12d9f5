// Package serve runs the HTTP servers of the sandbox's proxies.
package serve

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Server is an HTTP server that serves in the background.
type Server struct {
	*http.Server
	// Failed gets the error that ended it before its time.
	Failed chan error
}

// Start listens and serves HTTP/1 and what else is in protocols.
func Start(address string, handler http.Handler, protocols *http.Protocols) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	protocols.SetHTTP1(true)
	s := &Server{
		Server: &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: 30 * time.Second},
		Failed: make(chan error, 1),
	}
	go func() {
		if err := s.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.Failed <- err
		}
	}()
	return s, nil
}
