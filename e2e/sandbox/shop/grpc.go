package shop

import (
	"io"
	"net/http"
	"strconv"
)

// gRPC status codes the shop answers with (google.golang.org/grpc/codes).
const (
	grpcOK       = 0
	grpcInternal = 13
)

// maxGRPCRequest bounds what the shop reads of a call: it has no use for it.
const maxGRPCRequest = 1 << 20

// answerGRPC answers a unary call to any method. The message is empty (five
// bytes: not compressed, length 0), which is a valid message of every protobuf
// type; the status is in the trailers.
func (a *App) answerGRPC(w http.ResponseWriter, r *http.Request, code int) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, maxGRPCRequest))
	w.Header().Set("Content-Type", "application/grpc")
	w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
	w.WriteHeader(http.StatusOK)
	status, message := grpcOK, ""
	if code == http.StatusOK {
		_, _ = w.Write([]byte{0, 0, 0, 0, 0})
	} else {
		status, message = grpcInternal, "the error rate asked for this"
	}
	w.Header().Set("Grpc-Status", strconv.Itoa(status))
	w.Header().Set("Grpc-Message", message)
}
