package web

import (
	"context"
	"io"
	"net/http"
	"sync"

	"coffer/access"
)

type localKey struct{}

// local is the mark of a request that was made in the process itself, with who makes it.
type local struct{ caller access.Caller }

func isLocal(ctx context.Context) bool {
	_, ok := ctx.Value(localKey{}).(local)
	return ok
}

// Local returns a [http.RoundTripper] that hands requests to the server without a socket, as asked by who runs this process on the
// command line of this machine. No header can make a request local.
func (s *Server) Local(caller access.Caller) http.RoundTripper { return &inProcess{s, caller} }

type inProcess struct {
	s      *Server
	caller access.Caller
}

// RoundTrip implements [http.RoundTripper]. The answer streams as the handler writes it; closing its body ends the handler's context.
func (t *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), localKey{}, local{t.caller}))
	in := r.Clone(ctx)
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RequestURI, in.RemoteAddr = in.URL.RequestURI(), ""
	if in.Host == "" {
		in.Host = in.URL.Host
	}
	pr, pw := io.Pipe()
	w := &pipeWriter{header: http.Header{}, body: pw, begun: make(chan struct{})}
	go func() {
		defer cancel()
		defer func() {
			if v := recover(); v != nil {
				_ = pw.CloseWithError(io.ErrUnexpectedEOF) // always nil
			}
			w.begin(http.StatusOK)
		}()
		t.s.ServeHTTP(w, in)
		w.begin(http.StatusOK)
		_ = in.Body.Close()
		_ = pw.Close() // always nil
	}()
	select {
	case <-w.begun:
	case <-r.Context().Done():
		cancel()
		_ = pr.Close() // always nil
		return nil, r.Context().Err()
	}
	return &http.Response{
		Status: http.StatusText(w.status), StatusCode: w.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, Body: &pipeBody{pr, cancel}, ContentLength: -1, Request: r,
	}, nil
}

type pipeBody struct {
	*io.PipeReader
	cancel context.CancelFunc
}

func (b *pipeBody) Close() error {
	b.cancel()
	return b.PipeReader.Close()
}

// pipeWriter is a response that is read while it is written.
type pipeWriter struct {
	header http.Header
	body   *io.PipeWriter
	once   sync.Once
	begun  chan struct{}
	status int
	sent   http.Header
}

func (w *pipeWriter) Header() http.Header { return w.header }

func (w *pipeWriter) WriteHeader(status int) { w.begin(status) }

func (w *pipeWriter) begin(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

func (w *pipeWriter) Write(b []byte) (int, error) {
	w.begin(http.StatusOK)
	return w.body.Write(b)
}

// Flush implements [http.Flusher]; everything is flushed.
func (w *pipeWriter) Flush() { w.begin(http.StatusOK) }
