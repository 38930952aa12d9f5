package prometheus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/oauth2"

	"github.com/weir-dev/weir/metrics"
)

// maxText is how much of a server's own words is shown.
const maxText = 160

// one is the value at a look, of all that the query gave there.
func one(values []float64) metrics.Value {
	switch {
	case len(values) == 0:
		return metrics.Value{Missing: metrics.NoSeries}
	case len(values) > 1:
		return metrics.Value{Missing: metrics.SeveralSeries}
	case math.IsNaN(values[0]) || math.IsInf(values[0], 0):
		return metrics.Value{Missing: metrics.NotANumber}
	}
	return metrics.Value{Value: values[0]}
}

// byTime gathers the values of all series by their time in milliseconds. A
// histogram is a value too, but not a number.
func byTime(matrix model.Matrix) map[int64][]float64 {
	values := map[int64][]float64{}
	for _, stream := range matrix {
		for _, sample := range stream.Values {
			values[int64(sample.Timestamp)] = append(values[int64(sample.Timestamp)], float64(sample.Value))
		}
		for _, sample := range stream.Histograms {
			values[int64(sample.Timestamp)] = append(values[int64(sample.Timestamp)], math.NaN())
		}
	}
	return values
}

// collection puts series together that come in several answers.
type collection struct {
	list  []metrics.Series
	index map[model.Fingerprint]int
}

func newCollection() *collection {
	return &collection{index: map[model.Fingerprint]int{}}
}

// add takes the samples after from up to to, and gives their number. Older
// servers also send the one at from, which the answer before had.
func (c *collection) add(matrix model.Matrix, from, to time.Time) int {
	number := 0
	for _, stream := range matrix {
		fingerprint := stream.Metric.Fingerprint()
		i, ok := c.index[fingerprint]
		if !ok {
			i = len(c.list)
			c.index[fingerprint] = i
			c.list = append(c.list, metrics.Series{Labels: labels(stream.Metric)})
		}
		for _, sample := range stream.Values {
			at := sample.Timestamp.Time().In(to.Location())
			if at.After(from) && !at.After(to) {
				c.list[i].Samples = append(c.list[i].Samples, metrics.Sample{Time: at, Value: float64(sample.Value)})
				number++
			}
		}
	}
	return number
}

func labels(metric model.Metric) map[string]string {
	plain := make(map[string]string, len(metric))
	for name, value := range metric {
		plain[string(name)] = string(value)
	}
	return plain
}

// partial is an error when a server warns that its answer leaves something out,
// as those in front of several servers do. Remarks about the query are none.
func partial(warnings promv1.Warnings) error {
	for _, w := range warnings {
		if !strings.HasPrefix(w, "PromQL ") {
			return &metrics.Error{Failure: metrics.SourceUnavailable, Message: "the answer is not complete: " + shorten(w)}
		}
	}
	return nil
}

// misunderstood is an answer of another type than the question has.
func misunderstood(value model.Value) error {
	kind := "nothing"
	if value != nil {
		kind = value.Type().String()
	}
	return &metrics.Error{Failure: metrics.SourceUnavailable, Message: "the source answers with another type: " + kind}
}

// badQuery is a query that cannot be made.
func badQuery(err error) error {
	return &metrics.Error{Failure: metrics.BadQuery, Message: err.Error()}
}

// translate says why there is no answer. Only words that are known to show
// nothing of a body, a header or a secret are passed on.
func (s *Source) translate(ctx context.Context, err error) error {
	var answer *promv1.Error
	switch {
	case ctx.Err() != nil:
		return unavailable("the look was given up", ctx.Err())
	case errors.Is(err, errTooLarge):
		return &metrics.Error{Failure: metrics.AnswerTooLarge, Message: "the answer is too large: select fewer series"}
	case errors.Is(err, context.DeadlineExceeded):
		return unavailable(fmt.Sprintf("no answer within %s", s.timeout), nil)
	case errors.As(err, &answer):
		return refusal(answer)
	}
	return unavailable(cause(err).Error(), nil)
}

func unavailable(message string, err error) error {
	return &metrics.Error{Failure: metrics.SourceUnavailable, Message: "the source is not available: " + message, Err: err}
}

// refusal is what the server itself says is wrong.
func refusal(answer *promv1.Error) error {
	switch answer.Type {
	case promv1.ErrBadData, promv1.ErrExec:
		return &metrics.Error{Failure: metrics.BadQuery, Message: "the source refuses the query: " + shorten(answer.Msg)}
	case promv1.ErrClient:
		return unavailable(shorten(answer.Msg)+" (for 401 and 403 see httpConfigSecretRef, for 404 url)", nil)
	case promv1.ErrServer:
		return unavailable(shorten(answer.Msg), nil)
	default:
		return unavailable("the answer cannot be understood", nil)
	}
}

// cause is the part of an error that may be shown.
func cause(err error) error {
	var (
		operation   *net.OpError
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		token       *oauth2.RetrieveError
	)
	switch {
	case errors.As(err, &operation):
		// Without our own port, which differs each time: one cause, one text.
		return &net.OpError{Op: operation.Op, Net: operation.Net, Addr: operation.Addr, Err: operation.Err}
	case errors.As(err, &name):
		return name
	case errors.As(err, &certificate):
		return certificate
	case errors.As(err, &authority):
		return authority
	case errors.As(err, &token) && token.Response != nil:
		return fmt.Errorf("the token server answers %d", token.Response.StatusCode)
	case errors.Is(err, errRedirect):
		return errRedirect
	case errors.Is(err, http.ErrSchemeMismatch):
		return http.ErrSchemeMismatch
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed")
	}
	return errors.New("the answer cannot be understood")
}

// shorten makes words of a server fit for a status.
func shorten(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText]) + "..."
	}
	return text
}
