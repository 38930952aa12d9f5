package evaluate

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
	"github.com/weir-dev/weir/metrics/prometheus"
)

// rangeOf finds the length of a range selector.
var rangeOf = regexp.MustCompile(`\[(\d+)ms\]`)

// scraped is the answer of a server that has scraped pods each 15 seconds: five
// series each, one of them of errors.
func scraped(pods []string, from, to float64) string {
	var b strings.Builder
	b.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
	for p, pod := range pods {
		for s := range 5 {
			if p+s > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, `{"metric":{"__name__":"http_requests_total","code":"%d00","instance":"10.0.0.%d:8080","job":"pods","namespace":"shop","pod":%q},"values":[`, s+1, p, pod)
			separator := ""
			for at := from - float64(int64(from)%15) + 15; at <= to; at += 15 {
				fmt.Fprintf(&b, `%s[%s,"%d"]`, separator, strconv.FormatFloat(at+0.123, 'f', 3, 64), int64(at-1.7e9)/int64(s+1))
				separator = ","
			}
			b.WriteString(`]}`)
		}
	}
	b.WriteString(`]}}`)
	return b.String()
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkLook is a look at one Ratio with the whole way from the server's
// answer on: the first one, which reads the release from its beginning, and a
// next one. The answers are made beforehand, so cpu-us/op is the look's own and
// that of copying bytes at the other end.
func BenchmarkLook(b *testing.B) {
	for _, size := range []struct {
		pods  int
		hours time.Duration
	}{{1, 1}, {10, 1}, {10, 24}} {
		var pods []string
		for i := range size.pods {
			pods = append(pods, fmt.Sprintf("web-w1a2b3c4d5-%05d", i))
		}
		answers := map[string]string{}
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at, length := r.FormValue("time"), rangeOf.FindStringSubmatch(r.FormValue("query"))[1]
			if _, ok := answers[at+length]; !ok {
				to, _ := strconv.ParseFloat(at, 64)
				seconds, _ := strconv.ParseFloat(length, 64)
				answers[at+length] = scraped(pods, to-seconds/1000, to)
			}
			_, _ = w.Write([]byte(answers[at+length]))
		}))
		b.Cleanup(server.Close)
		source, err := prometheus.New(v1alpha1.PrometheusSource{URL: server.URL}, nil, prometheus.Options{Dial: (&net.Dialer{}).DialContext})
		if err != nil {
			b.Fatal(err)
		}
		sources := func(context.Context, string) (metrics.Source, error) { return source, nil }
		r := metrics.Request{
			Namespace: "shop", CanaryPods: pods, Start: begin, StepStart: begin, Now: begin.Add(size.hours * time.Hour),
			Templates: []metrics.Template{template(errorRate("20%"))},
		}
		for name, evaluator := range map[string]func(*Evaluator) *Evaluator{
			"first": func(*Evaluator) *Evaluator { return New(sources) },
			"next":  func(last *Evaluator) *Evaluator { return last },
		} {
			b.Run(fmt.Sprintf("%dpods-%dh-%s", size.pods, size.hours, name), func(b *testing.B) {
				e := New(sources)
				look := func() {
					e = evaluator(e)
					if v, err := e.Evaluate(b.Context(), r); err != nil || v.Value == noData {
						b.Fatal(v.Message, err)
					}
				}
				look()
				begin := cpu(b)
				b.ReportAllocs()
				for b.Loop() {
					look()
				}
				b.ReportMetric(float64((cpu(b)-begin).Microseconds())/float64(b.N), "cpu-us/op")
			})
		}
	}
}
