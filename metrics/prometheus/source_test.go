package prometheus

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weir-dev/weir/apis/v1alpha1"
	"github.com/weir-dev/weir/metrics"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// dial connects to the servers of the test.
var dial = (&net.Dialer{}).DialContext

// serve starts a server and makes a source of it.
func serve(t *testing.T, handler http.HandlerFunc, change ...func(*v1alpha1.PrometheusSource, *Options)) *Source {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	spec, options := v1alpha1.PrometheusSource{URL: server.URL}, Options{Dial: dial, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&spec, &options)
	}
	s, err := New(spec, nil, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// says answers every query with a body.
func says(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// success is the body of an answer.
func success(kind, result string) string {
	return fmt.Sprintf(`{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
}

// answers gives each query its result by a part of its text, in order.
func answers(kind string, pairs ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		query := r.FormValue("query")
		for i := 0; i < len(pairs); i += 2 {
			if strings.Contains(query, pairs[i]) {
				_, _ = io.WriteString(w, success(kind, pairs[i+1]))
				return
			}
		}
		_, _ = io.WriteString(w, success(kind, `[]`))
	}
}

// stamp is a time as the API writes it.
func stamp(seconds float64) string {
	return strconv.FormatFloat(float64(noon.Unix())+seconds, 'f', -1, 64)
}

func TestValues(t *testing.T) {
	looks := metrics.Looks{Start: noon, Step: 30 * time.Second, Count: 3}
	value := func(i int, v float64, missing metrics.Failure) metrics.Value {
		return metrics.Value{Time: noon.Add(time.Duration(i) * looks.Step), Value: v, Missing: missing}
	}
	all := func(missing metrics.Failure) []metrics.Value {
		return []metrics.Value{value(0, 0, missing), value(1, 0, missing), value(2, 0, missing)}
	}
	points := func(v string) string {
		return fmt.Sprintf(`[{"metric":{},"values":[[%v,%q],[%v,%q],[%v,%q]]}]`, stamp(0), v, stamp(30), v, stamp(60), v)
	}
	cases := map[string]struct {
		reason   string
		value    string
		newest   string
		want     []metrics.Value
		quantity string
	}{
		"All":        {reason: "one value at each look", value: points("0.5"), newest: `[]`, want: []metrics.Value{value(0, 0.5, ""), value(1, 0.5, ""), value(2, 0.5, "")}},
		"None":       {reason: "an empty answer is no value", value: `[]`, newest: `[]`, want: all(metrics.NoSeries)},
		"Gap":        {reason: "a look without a value is missing, the others are not", value: fmt.Sprintf(`[{"metric":{},"values":[[%v,"1"],[%v,"3"]]}]`, stamp(0), stamp(60)), newest: `[]`, want: []metrics.Value{value(0, 1, ""), value(1, 0, metrics.NoSeries), value(2, 3, "")}},
		"Several":    {reason: "two series at one look are one too many", value: fmt.Sprintf(`[{"metric":{"a":"1"},"values":[[%v,"1"],[%v,"1"]]},{"metric":{"a":"2"},"values":[[%v,"2"],[%v,"2"]]}]`, stamp(0), stamp(30), stamp(30), stamp(60)), newest: `[]`, want: []metrics.Value{value(0, 1, ""), value(1, 0, metrics.SeveralSeries), value(2, 2, "")}},
		"NaN":        {reason: "a division by zero is no number", value: points("NaN"), newest: `[]`, want: all(metrics.NotANumber)},
		"Inf":        {reason: "nor is infinity", value: points("-Inf"), newest: `[]`, want: all(metrics.NotANumber)},
		"Histogram":  {reason: "nor is a histogram", value: fmt.Sprintf(`[{"metric":{},"histograms":[[%v,{"count":"1","sum":"1","buckets":[]}]]}]`, stamp(0)), newest: `[]`, want: []metrics.Value{value(0, 0, metrics.NotANumber), value(1, 0, metrics.NoSeries), value(2, 0, metrics.NoSeries)}},
		"OffGrid":    {reason: "values at other times than asked are none", value: fmt.Sprintf(`[{"metric":{},"values":[[%v,"1"]]}]`, stamp(7)), newest: `[]`, want: all(metrics.NoSeries)},
		"Fresh":      {reason: "the namespace is scraped", value: points("1"), newest: fmt.Sprintf(`[{"metric":{},"values":[[%v,"%v"],[%v,"%v"],[%v,"%v"]]}]`, stamp(0), stamp(-1), stamp(30), stamp(29), stamp(60), stamp(59)), want: []metrics.Value{value(0, 1, ""), value(1, 1, ""), value(2, 1, "")}},
		"Stale":      {reason: "the last sample is carried along, though scrapes have ended", value: points("1"), newest: fmt.Sprintf(`[{"metric":{},"values":[[%v,"%v"],[%v,"%v"]]}]`, stamp(0), stamp(-100), stamp(30), stamp(-100)), want: []metrics.Value{value(0, 1, ""), value(1, 0, metrics.StaleData), value(2, 0, metrics.StaleData)}},
		"StaleEmpty": {reason: "a look without any value is missing for that reason", value: `[]`, newest: fmt.Sprintf(`[{"metric":{},"values":[[%v,"%v"]]}]`, stamp(0), stamp(-1000)), want: all(metrics.NoSeries)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, answers("matrix", "timestamp(up{namespace=\"shop\"})", tc.newest, "my_query", tc.value))
			got, err := s.Values(t.Context(), "shop", "my_query", looks)
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// asked remembers the forms of the queries that a server got.
type asked struct {
	mutex sync.Mutex
	forms []url.Values
}

func (a *asked) handler(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		a.mutex.Lock()
		a.forms = append(a.forms, r.Form)
		a.mutex.Unlock()
		next(w, r)
	}
}

func TestCounters(t *testing.T) {
	result := fmt.Sprintf(`[{"metric":{"__name__":"r","code":"200","pod":"web-1"},"values":[[%v,"4"],[%v,"5"],[%v,"9"]]},
		{"metric":{"__name__":"r","code":"500","pod":"web-2"},"values":[[%v,"1"]]}]`, stamp(0), stamp(15), stamp(30), stamp(15.5))
	var got asked
	s := serve(t, got.handler(says(http.StatusOK, success("matrix", result))))
	series, err := s.Counters(t.Context(), `r{code!="404"}`, shopOwners([]string{"web-1", `web-2"} or up{a="`}), noon, noon.Add(30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	want := []metrics.Series{
		{Owner: "web-1", Labels: map[string]string{"__name__": "r", "code": "200", "pod": "web-1"}, Samples: []metrics.Sample{
			{Time: noon.Add(15 * time.Second), Value: 5}, {Time: noon.Add(30 * time.Second), Value: 9},
		}},
		{Owner: "web-2", Labels: map[string]string{"__name__": "r", "code": "500", "pod": "web-2"}, Samples: []metrics.Sample{
			{Time: noon.Add(15500 * time.Millisecond), Value: 1},
		}},
	}
	if diff := cmp.Diff(want, series); diff != "" {
		t.Errorf("the raw samples after the start: -want, +got:\n%s", diff)
	}
	query := `r{code!="404",namespace="shop",pod=~"web-1|web-2\"\\} or up\\{a=\""}[30000ms]`
	if diff := cmp.Diff([]url.Values{{"query": {query}, "time": {stamp(30)}}}, got.forms); diff != "" {
		t.Errorf("a hostile name stays one value: -want, +got:\n%s", diff)
	}
}

// TestCountersInParts: many pods and long times are asked in several queries,
// whose samples are put together.
func TestCountersInParts(t *testing.T) {
	var got asked
	s := serve(t, got.handler(func(w http.ResponseWriter, r *http.Request) {
		// One series of the first pod of the chunk; the sample at the beginning of
		// the range is there too, as older servers send it.
		var at float64
		_, _ = fmt.Sscan(r.FormValue("time"), &at)
		pod := "pod-0"
		if strings.Contains(r.FormValue("query"), "pod-100") {
			pod = "pod-100"
		}
		_, _ = io.WriteString(w, success("matrix", fmt.Sprintf(`[{"metric":{"pod":%q},"values":[[%.3f,"1"],[%.3f,"2"]]}]`, pod, at-7200, at)))
	}))
	var pods []string
	for i := range 150 {
		pods = append(pods, fmt.Sprintf("pod-%d", i))
	}
	series, err := s.Counters(t.Context(), "r", shopOwners(pods), noon, noon.Add(5*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.forms) != 6 {
		t.Errorf("two chunks of pods and three of time: got %d queries, want 6", len(got.forms))
	}
	counts := map[string]int{}
	for _, one := range series {
		counts[one.Owner] = len(one.Samples)
	}
	// The last part is one hour long, so the sample two hours before its end is
	// not of its range.
	if diff := cmp.Diff(map[string]int{"pod-0": 3, "pod-100": 3}, counts); diff != "" {
		t.Errorf("one series a pod, no sample twice: -want, +got:\n%s", diff)
	}
	if none, err := s.Counters(t.Context(), "r", shopOwners(nil), noon, noon.Add(time.Hour)); len(none) != 0 || err != nil || len(got.forms) != 6 {
		t.Errorf("without pods nothing is asked: got %v, %v and %d queries", none, err, len(got.forms)-6)
	}
}

func TestRequestsByService(t *testing.T) {
	var got asked
	result := fmt.Sprintf(`[{"metric":{"svc":"web"},"values":[[%v,"4"]]},{"metric":{"svc":"web-canary"},"values":[[%v,"1"]]}]`, stamp(15), stamp(15))
	handler := got.handler(says(http.StatusOK, success("matrix", result)))
	s := serve(t, handler)
	if _, ok, err := s.RequestsByService(t.Context(), "shop", []string{"web"}, noon, noon.Add(time.Minute)); ok || err != nil || len(got.forms) != 0 {
		t.Errorf("a source that does not say how requests are counted: got %t, %v", ok, err)
	}
	s = serve(t, handler, func(spec *v1alpha1.PrometheusSource, _ *Options) {
		spec.RequestsByService = &v1alpha1.ServiceRequests{Total: `gw_total{job="gateway"}`, ServiceLabel: "svc", NamespaceLabel: "ns"}
	})
	series, ok, err := s.RequestsByService(t.Context(), "shop", []string{"web", "web-canary"}, noon, noon.Add(time.Minute))
	if err != nil || !ok {
		t.Fatalf("got %t, %v", ok, err)
	}
	var services []string
	for _, one := range series {
		services = append(services, one.Owner)
	}
	if diff := cmp.Diff([]string{"web", "web-canary"}, services); diff != "" {
		t.Errorf("the Service of each series: -want, +got:\n%s", diff)
	}
	if query, want := got.forms[0].Get("query"), `gw_total{job="gateway",ns="shop",svc=~"web|web-canary"}[60000ms]`; query != want {
		t.Errorf("asked %s, want %s", query, want)
	}
}

// endless writes for as long as somebody reads.
func endless(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1,"1"]`)
	chunk := strings.Repeat(`,[1,"1"]`, 1000)
	for r.Context().Err() == nil {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}

// cut promises more than it sends.
func cut(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[`)
}

// hang never answers.
func hang(_ http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body) // Only then does the server notice that the client goes.
	<-r.Context().Done()
}

func TestBadAnswers(t *testing.T) {
	const secret = "s3cr3t"
	long := strings.Repeat("x", 1000)
	cases := map[string]struct {
		reason  string
		handler http.HandlerFunc
		timeout time.Duration
		failure metrics.Failure
		text    string
	}{
		"Hangs":          {reason: "time is bounded", handler: hang, timeout: 50 * time.Millisecond, failure: metrics.SourceUnavailable, text: "no answer within 50ms"},
		"Endless":        {reason: "size is bounded", handler: endless, failure: metrics.AnswerTooLarge, text: "select fewer series"},
		"Announced":      {reason: "a size beyond the limit is not read at all", handler: func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99999999") }, failure: metrics.AnswerTooLarge, text: "too large"},
		"Cut":            {reason: "half an answer is none", handler: cut, failure: metrics.SourceUnavailable, text: "the connection was closed"},
		"Reset":          {reason: "a server that goes away", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, failure: metrics.SourceUnavailable, text: "the connection was closed"},
		"NotJSON":        {reason: "some other server; its page is not shown", handler: says(http.StatusOK, "<html>"+secret), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"Empty":          {reason: "no body", handler: says(http.StatusOK, ""), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"NoContent":      {reason: "no content", handler: says(http.StatusNoContent, ""), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"Null":           {reason: "a body that says nothing", handler: says(http.StatusOK, "null"), failure: metrics.SourceUnavailable},
		"WrongType":      {reason: "a text where samples are due", handler: says(http.StatusOK, success("string", `[1,"`+secret+`"]`)), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"Vector":         {reason: "a vector where samples are due", handler: says(http.StatusOK, success("vector", `[]`)), failure: metrics.SourceUnavailable, text: "another type: vector"},
		"Scalar":         {reason: "a scalar where samples are due", handler: says(http.StatusOK, success("scalar", `[1,"1"]`)), failure: metrics.SourceUnavailable, text: "another type: scalar"},
		"BadSample":      {reason: "a sample that is none", handler: says(http.StatusOK, success("matrix", `[{"metric":{},"values":[[1,"`+secret+`"]]}]`)), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"BadResult":      {reason: "an object where a list is due", handler: says(http.StatusOK, success("matrix", `{"a":1}`)), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"BadData":        {reason: "the server's own words about a query are shown", handler: says(http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"1:3: parse error: unexpected end"}`), failure: metrics.BadQuery, text: "1:3: parse error"},
		"Execution":      {reason: "a query that cannot be computed", handler: says(http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"found duplicate series for the match group"}`), failure: metrics.BadQuery, text: "duplicate series"},
		"LongWords":      {reason: "though not at any length, nor with control characters", handler: says(http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"\u001b[31m`+long+`"}`), failure: metrics.BadQuery, text: " [31mxxx"},
		"Timeout":        {reason: "a query that took the server too long", handler: says(http.StatusServiceUnavailable, `{"status":"error","errorType":"timeout","error":"`+secret+`"}`), failure: metrics.SourceUnavailable, text: "server error: 503"},
		"Unauthorized":   {reason: "the code is shown with the remedy, the body is not", handler: says(http.StatusUnauthorized, secret), failure: metrics.SourceUnavailable, text: "401 (for 401 and 403 see httpConfigSecretRef"},
		"Forbidden":      {reason: "also after the second try by GET", handler: says(http.StatusForbidden, secret), failure: metrics.SourceUnavailable, text: "403"},
		"NotFound":       {reason: "a wrong path", handler: says(http.StatusNotFound, secret), failure: metrics.SourceUnavailable, text: "404 url"},
		"TooMany":        {reason: "a server that wants to be asked less", handler: says(http.StatusTooManyRequests, secret), failure: metrics.SourceUnavailable, text: "429"},
		"ServerError":    {reason: "a server that is not well", handler: says(http.StatusInternalServerError, secret), failure: metrics.SourceUnavailable, text: "500"},
		"BadGateway":     {reason: "a proxy without a server", handler: says(http.StatusBadGateway, "<html>"+secret), failure: metrics.SourceUnavailable, text: "502"},
		"ErrorIn200":     {reason: "an error with the code of success", handler: says(http.StatusOK, `{"status":"error","errorType":"internal","error":"`+secret+`"}`), failure: metrics.SourceUnavailable},
		"SuccessIn400":   {reason: "a success with the code of an error", handler: says(http.StatusBadRequest, success("matrix", `[]`)), failure: metrics.SourceUnavailable, text: "cannot be understood"},
		"Partial":        {reason: "an answer that leaves something out", handler: says(http.StatusOK, `{"status":"success","warnings":["no store matched"],"data":{"resultType":"matrix","result":[]}}`), failure: metrics.SourceUnavailable, text: "not complete: no store matched"},
		"Redirect":       {reason: "credentials are not carried elsewhere", handler: http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound).ServeHTTP, failure: metrics.SourceUnavailable, text: "spec.prometheus.url must be the address"},
		"PermanentRedir": {reason: "nor is a body", handler: http.RedirectHandler("/x", http.StatusPermanentRedirect).ServeHTTP, failure: metrics.SourceUnavailable, text: "the server redirects"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := serve(t, tc.handler, func(_ *v1alpha1.PrometheusSource, o *Options) {
				o.MaxBytes = 100_000
				if tc.timeout > 0 {
					o.Timeout = tc.timeout
				}
			})
			_, errValues := s.Values(t.Context(), "shop", "q", metrics.Looks{Start: noon, Step: time.Second, Count: 2})
			_, errCounters := s.Counters(t.Context(), "r", shopOwners([]string{"p"}), noon, noon.Add(time.Minute))
			for what, err := range map[string]error{"Values": errValues, "Counters": errCounters} {
				var got *metrics.Error
				if !errors.As(err, &got) {
					t.Fatalf("%s: %s: got %v, want a metrics.Error", tc.reason, what, err)
				}
				if got.Failure != tc.failure || !strings.Contains(got.Error(), tc.text) {
					t.Errorf("%s: %s: got %s (%s), want %s with %q", tc.reason, what, got.Failure, got, tc.failure, tc.text)
				}
				if strings.Contains(got.Error(), secret) || strings.Contains(got.Error(), "\x1b") || len(got.Error()) > 300 {
					t.Errorf("%s: %s: the error shows too much: %q", tc.reason, what, got)
				}
			}
		})
	}
}

func TestWarningsOfQuery(t *testing.T) {
	s := serve(t, says(http.StatusOK, `{"status":"success","warnings":["PromQL warning: mixed"],"infos":["PromQL info: x"],"data":{"resultType":"matrix","result":[]}}`))
	if _, err := s.Counters(t.Context(), "r", shopOwners([]string{"p"}), noon, noon.Add(time.Minute)); err != nil {
		t.Errorf("remarks about the query do not make an answer incomplete: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	_ = listener.Close()
	s, err := New(v1alpha1.PrometheusSource{URL: address}, nil, Options{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	var got *metrics.Error
	if err := s.Check(t.Context()); !errors.As(err, &got) || got.Failure != metrics.SourceUnavailable || !strings.Contains(got.Error(), "connection refused") {
		t.Errorf("got %v, want that the connection was refused", err)
	}
}

// TestRetry: a connection that was closed while idle is no outage.
func TestIdleConnection(t *testing.T) {
	server := httptest.NewServer(says(http.StatusOK, success("scalar", `[1,"1"]`)))
	t.Cleanup(server.Close)
	s, err := New(v1alpha1.PrometheusSource{URL: server.URL}, nil, Options{Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
		server.CloseClientConnections()
	}
}

func TestCheck(t *testing.T) {
	cases := map[string]struct {
		reason string
		body   string
		ok     bool
	}{
		"One":    {reason: "a server that can count to one", body: success("scalar", `[1,"1"]`), ok: true},
		"Two":    {reason: "one that cannot", body: success("scalar", `[1,"2"]`)},
		"Vector": {reason: "one that answers something else", body: success("vector", `[]`)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := serve(t, says(http.StatusOK, tc.body)).Check(t.Context())
			if (err == nil) != tc.ok {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

func TestBudget(t *testing.T) {
	var b strings.Builder
	for i := range 700_000 {
		fmt.Fprintf(&b, `,[%v,"1"]`, stamp(0.001+float64(i)*0.001))
	}
	body := success("matrix", `[{"metric":{},"values":[`+b.String()[1:]+`]}]`)
	s := serve(t, says(http.StatusOK, body), func(_ *v1alpha1.PrometheusSource, o *Options) { o.MaxBytes = 1 << 30 })
	var pods []string
	for i := range 150 {
		pods = append(pods, fmt.Sprint(i))
	}
	var got *metrics.Error
	if _, err := s.Counters(t.Context(), "r", shopOwners(pods), noon, noon.Add(time.Hour)); !errors.As(err, &got) || got.Failure != metrics.AnswerTooLarge {
		t.Errorf("two answers that are together beyond the budget: got %v", err)
	}
}

func TestNew(t *testing.T) {
	good := v1alpha1.PrometheusSource{URL: "https://prometheus.example:9090/prefix/"}
	withURL := func(u string) v1alpha1.PrometheusSource { s := good; s.URL = u; return s }
	bad := good
	bad.RequestsByService = &v1alpha1.ServiceRequests{Total: `rate(x[1m])`, ServiceLabel: "s", NamespaceLabel: "n"}
	cases := map[string]struct {
		reason  string
		spec    v1alpha1.PrometheusSource
		config  string
		options Options
		err     string
	}{
		"Good":        {reason: "a plain address with a path", spec: good, options: Options{Dial: dial}},
		"NoDial":      {reason: "nobody forgets the guard", spec: good, err: "dialer"},
		"NoScheme":    {reason: "a host is no URL", spec: withURL("prometheus:9090"), options: Options{Dial: dial}, err: "spec.prometheus.url: it must be"},
		"OtherScheme": {reason: "files are no servers", spec: withURL("file:///etc/passwd"), options: Options{Dial: dial}, err: "spec.prometheus.url: it must be"},
		"UserInfo":    {reason: "a password in a URL ends up in a log", spec: withURL("http://a:s3cr3t@p"), options: Options{Dial: dial}, err: "httpConfigSecretRef"},
		"Query":       {reason: "parameters are Weir's", spec: withURL("http://p/?x=1"), options: Options{Dial: dial}, err: "no query"},
		"Selector":    {reason: "the selector is parsed", spec: bad, options: Options{Dial: dial}, err: "spec.prometheus.requestsByService.total: selector"},
		"Config":      {reason: "the configuration is read", spec: good, config: "basic_auth: {username: a, password_file: /x}", options: Options{Dial: dial}, err: "spec.prometheus.httpConfigSecretRef: config.yaml: basic_auth.password_file"},
		"Key":         {reason: "a key that is none", spec: good, config: "tls_config: {cert: s3cr3t, key: s3cr3t}", options: Options{Dial: dial}, err: "tls_config cannot be used"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.spec, []byte(tc.config), tc.options)
			if tc.err == "" {
				if err != nil {
					t.Errorf("%s: %v", tc.reason, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("%s: got %v, want an error with %q", tc.reason, err, tc.err)
			}
		})
	}
}

// transport answers in memory.
type transport struct{ body []byte }

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Request: r, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(f.body)))}, nil
}

// FuzzAnswer: whatever a server sends, there is an error, or values and samples
// that keep what the Source promises.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(success("matrix", fmt.Sprintf(`[{"metric":{"pod":"a"},"values":[[%v,"1"],[%v,"NaN"]]}]`, stamp(0), stamp(1)))))
	f.Add([]byte(success("matrix", `[{"metric":{"pod":1},"values":[[1e300,"1"]]}]`)))
	f.Add([]byte(success("vector", `[{"metric":{},"value":[1,"1"]}]`)))
	f.Add([]byte(`{"status":"error","errorType":"bad_data","error":"x"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s := withTransport(t, transport{body: body})
		looks := metrics.Looks{Start: noon, Step: time.Second, Count: 3}
		values, err := s.Values(t.Context(), "shop", "q", looks)
		if (err == nil) != (len(values) == looks.Count) {
			t.Fatalf("%d values and error %v", len(values), err)
		}
		for _, v := range values {
			if v.Missing == "" && (math.IsNaN(v.Value) || math.IsInf(v.Value, 0)) {
				t.Errorf("a value that is no number: %+v", v)
			}
		}
		series, err := s.Counters(t.Context(), "r", shopOwners([]string{"p"}), noon, noon.Add(time.Minute))
		if err != nil && len(series) > 0 {
			t.Errorf("series and error %v", err)
		}
		for _, one := range series {
			for _, sample := range one.Samples {
				if !sample.Time.After(noon) || sample.Time.After(noon.Add(time.Minute)) {
					t.Errorf("a sample of another time: %v", sample)
				}
			}
		}
	})
}

// TestPostBody: queries are sent in the body, where no length of a URL bounds
// them and no access log shows them.
func TestPostBody(t *testing.T) {
	var method, raw string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		method, raw = r.Method, r.URL.RawQuery
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "scalar", "result": []any{1, "1"}}})
	})
	if err := s.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{http.MethodPost, ""}, []string{method, raw}, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}
