package evaluate

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/prometheus"
)

// answer is what a server sends for counters of pods that were scraped each 15
// seconds for an hour: five series each, one of them of errors.
func answer(pods []string, hours float64) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for p, pod := range pods {
		for s := range 5 {
			if p+s > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"metric":{"__name__":"http_requests_total","code":"%d00","instance":"10.0.0.%d:8080","job":"pods","namespace":"shop","pod":%q},"values":[`, s+1, p, pod)
			for i := range int(hours * 240) {
				if i > 0 {
					b.WriteByte(',')
				}
				at := strconv.FormatFloat(float64(begin.UnixMilli())/1000+float64(i)*15+0.123, 'f', 3, 64)
				fmt.Fprintf(&b, `[%s,"%d"]`, at, i*100/(s+1))
			}
			b.WriteString(`]}`)
		}
	}
	b.WriteString(`]}}`)
	return b.String()
}

// BenchmarkLook is a look at one Ratio with the whole way from the server's
// answer on. The server itself only copies bytes.
func BenchmarkLook(b *testing.B) {
	for _, size := range []struct {
		pods  int
		hours float64
	}{{1, 0.1}, {3, 0.5}, {10, 1}, {10, 2}} {
		b.Run(fmt.Sprintf("%dpods-%vh", size.pods, size.hours), func(b *testing.B) {
			var pods []string
			for i := range size.pods {
				pods = append(pods, fmt.Sprintf("web-w1a2b3c4d5-%05d", i))
			}
			body := []byte(answer(pods, size.hours))
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
			b.Cleanup(server.Close)
			source, err := prometheus.New(v1alpha1.PrometheusSource{URL: server.URL}, nil, prometheus.Options{Dial: (&net.Dialer{}).DialContext})
			if err != nil {
				b.Fatal(err)
			}
			e := New(func(context.Context, string) (metrics.Source, error) { return source, nil })
			now := begin.Add(time.Duration(size.hours * float64(time.Hour)))
			r := metrics.Request{Namespace: "shop", CanaryPods: pods, Start: begin, StepStart: begin, Now: now, Templates: []metrics.Template{template(errorRate("1%"))}}
			b.ReportAllocs()
			for b.Loop() {
				if v, err := e.Evaluate(b.Context(), r); err != nil || v.Value == noData {
					b.Fatal(v.Message, err)
				}
			}
			b.ReportMetric(float64(len(body))/1024, "KiB/look")
		})
	}
}
