package outbound

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/e2e/sandbox/internal/proxy"
)

// statusClientClosed is the code of requests whose caller went away.
const statusClientClosed = 499

// responses are Linkerd's series of the answers that a caller's proxy got.
type responses struct{ total *prometheus.CounterVec }

func newResponses(registry prometheus.Registerer) *responses {
	r := &responses{total: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "response_total", Help: "Answers, by where the request was sent and by what came of it.",
	}, []string{"direction", "authority", "dst_service", "dst_namespace", "dst_pod", "status_code", "grpc_status_code", "classification"})}
	registry.MustRegister(r.total)
	return r
}

// count counts an answer of an endpoint.
func (r *responses) count(o proxy.Outcome) {
	if !o.Endpoint.Address.IsValid() || o.Code == statusClientClosed {
		return
	}
	classification := "success"
	if failed(o) {
		classification = "failure"
	}
	namespace, service := serviceOf(o.Service)
	r.total.WithLabelValues("outbound", o.Service, service, namespace, o.Endpoint.Pod, strconv.Itoa(o.Code), o.GRPCStatus, classification).Inc()
}

// failed tells whether an outcome is a failure as Linkerd's proxy sees it where
// nobody has told it otherwise: of gRPC the statuses unknown, deadline exceeded,
// permission denied, internal, unavailable and data loss.
func failed(o proxy.Outcome) bool {
	if o.GRPC && o.Code == http.StatusOK {
		return slices.Contains([]string{"2", "4", "7", "13", "14", "15"}, o.GRPCStatus)
	}
	return o.Code == 0 || o.Code >= http.StatusInternalServerError
}
