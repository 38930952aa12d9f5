package prometheus

import (
	"crypto/tls"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

// withTransport is a source whose server is a round tripper.
func withTransport(t *testing.T, rt http.RoundTripper) *Source {
	t.Helper()
	client, err := api.NewClient(api.Config{Address: "http://prometheus.test", RoundTripper: bounded{next: rt, maxBytes: DefaultMaxBytes}})
	if err != nil {
		t.Fatal(err)
	}
	return &Source{
		spec:    v1alpha1.PrometheusSource{PodLabel: "pod", NamespaceLabel: "namespace"},
		timeout: 5 * time.Second, gate: newGate(1), api: promv1.NewAPI(client), closer: rt,
	}
}

// tlsAskingForClients asks clients for a certificate and takes any.
func tlsAskingForClients() *tls.Config {
	return &tls.Config{ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12}
}

// shopOwners are pods of the namespace shop.
func shopOwners(pods []string) metrics.Owners { return metrics.Owners{Namespace: "shop", Names: pods} }
