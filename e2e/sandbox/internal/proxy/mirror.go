package proxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	// maxMirrorBody is the longest body that is copied; requests with a longer
	// one are not mirrored.
	maxMirrorBody = 1 << 20
	// mirrorTimeout is the time that a copy has. Nobody waits for it.
	mirrorTimeout = 10 * time.Second
	// maxMirrors is how many copies may be under way at once. More are
	// dropped, so that a slow mirror cannot take up the gateway's memory.
	maxMirrors = 256
)

// mirror arranges for copies of out, the request as it is about to be sent, for
// each mirror that is drawn. Copies are sent once the whole body has been read
// on its way to the backend: they never hold up the request itself.
func (p *Proxy) mirror(rule *Rule, out *http.Request) {
	var drawn []*Mirror
	for i := range rule.Mirrors {
		if m := &rule.Mirrors[i]; m.Backend != nil && m.drawn() {
			drawn = append(drawn, m)
		}
	}
	if len(drawn) == 0 {
		return
	}
	// The copy outlives the request: it has its own context and headers.
	header, target, host, method := out.Header.Clone(), *out.URL, out.Host, out.Method
	send := func(body []byte) {
		for _, m := range drawn {
			r := &http.Request{
				Method: method, URL: &target, Host: host, Header: header.Clone(),
				Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(body)),
			}
			if len(body) > 0 {
				r.Body = io.NopCloser(bytes.NewReader(body))
			}
			p.sendMirror(rule, m, r)
		}
	}
	if out.Body == nil || out.Body == http.NoBody {
		send(nil)
		return
	}
	out.Body = &copiedBody{ReadCloser: out.Body, whole: send, tooLong: func() {
		for _, m := range drawn {
			p.metrics.mirrored(rule, m, Endpoint{}, "dropped")
		}
	}}
}

// sendMirror sends one copy in the background.
func (p *Proxy) sendMirror(rule *Rule, m *Mirror, r *http.Request) {
	select {
	case p.mirrors <- struct{}{}:
	default:
		p.metrics.mirrored(rule, m, Endpoint{}, "dropped")
		return
	}
	go func() {
		defer func() { <-p.mirrors }()
		ctx, cancel := context.WithTimeout(context.Background(), mirrorTimeout)
		defer cancel()
		response, endpoint, err := m.Backend.send(r.WithContext(ctx))
		if err != nil {
			p.metrics.mirrored(rule, m, endpoint, "error")
			return
		}
		defer response.Body.Close() //nolint:errcheck // the answer is of no interest
		// Reading all of it lets the connection be used again.
		_, _ = io.Copy(io.Discard, response.Body)
		p.metrics.mirrored(rule, m, endpoint, strconv.Itoa(response.StatusCode))
	}()
}

// copiedBody keeps a copy of a body that is read through it and hands it over
// at its end. A body that is not read to its end is not handed over.
type copiedBody struct {
	io.ReadCloser
	whole   func(body []byte)
	tooLong func()

	copied bytes.Buffer
	over   bool
}

func (b *copiedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.over {
		return n, err //nolint:wrapcheck // io.EOF is compared with ==
	}
	b.copied.Write(p[:n])
	switch {
	case b.copied.Len() > maxMirrorBody:
		b.over = true
		b.copied = bytes.Buffer{}
		b.tooLong()
	case err == io.EOF:
		b.over = true
		b.whole(b.copied.Bytes())
	}
	return n, err //nolint:wrapcheck // io.EOF is compared with ==
}
