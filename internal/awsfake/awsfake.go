// Package awsfake carries the calls of AWS clients to what plays the part of AWS in the child folders, over a socket or without one.
package awsfake

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// maxRequest bounds what is read of a request, far above what these services take.
const maxRequest = 1 << 20

// Answer is what a call is answered with.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Answerer answers one call, of which body is the body. Its error is an injected fault: there is no answer. It is an [http.Handler], which
// then closes the connection, and an [http.RoundTripper], which returns the error; both may be used concurrently if it may.
type Answerer func(r *http.Request, body []byte) (Answer, error)

// ServeHTTP implements [http.Handler].
func (f Answerer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	a, err := f(r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for k, v := range a.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body) // an error means that the client is gone
}

// RoundTrip implements [http.RoundTripper].
func (f Answerer) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(io.LimitReader(r.Body, maxRequest))
		_ = r.Body.Close() // only read from
		if err != nil {
			return nil, err
		}
	}
	a, err := f(r, body)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: a.Status, Status: strconv.Itoa(a.Status), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Header: a.Header,
		Body: io.NopCloser(bytes.NewReader(a.Body)), ContentLength: int64(len(a.Body)),
	}, nil
}
