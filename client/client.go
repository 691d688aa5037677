// Package client asks Coffer's REST API: over the network, or in the process itself without a socket. Its words are those of package
// api, and its errors wrap the sentinels of package coffer, so that a command reads the same either way.
package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"coffer"
	"coffer/api"
)

const (
	// maxAnswer bounds an answer that is read as a whole: a plan with 1,000 changes is well below a megabyte.
	maxAnswer = 64 << 20
	// maxLine bounds a line of a stream.
	maxLine = 4 << 20
	// tries is how often a request that may be repeated is sent at most.
	tries = 4
)

// Client is safe for concurrent use.
type Client struct {
	base  string
	http  *http.Client
	token string
	// pause waits between two tries.
	pause func(ctx context.Context, d time.Duration) error
}

// New returns a client of the server at base, such as https://coffer.example.com, which sends token as its access token. Redirects are
// not followed: the token would go with them.
func New(base, token string) (*Client, error) { return At(base, token, http.DefaultTransport) }

// At is [New] over a transport that adds what the way to the server wants, such as a signature; token may be empty then.
func At(base, token string, rt http.RoundTripper) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("the address of a server is https://HOST or https://HOST:PORT: %w", coffer.ErrInvalid)
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		return nil, fmt.Errorf("a server elsewhere is asked over https alone: %w", coffer.ErrInvalid)
	}
	return with(strings.TrimSuffix(u.String(), "/"), token, rt), nil
}

// Local returns a client of a server in the same process, such as web.Server.Local gives.
func Local(server http.RoundTripper) *Client { return with("http://coffer.local", "", server) }

func with(base, token string, rt http.RoundTripper) *Client {
	return &Client{base: base, token: token, pause: pause, http: &http.Client{
		Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func loopback(host string) bool {
	return host == "localhost" || host == "::1" || strings.HasPrefix(host, "127.")
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// call is one request. Everything it needs to be sent again is in it.
type call struct {
	method, path string
	query        url.Values
	body         any
	key          string // idempotency key; empty: none
	match        string // If-Match
	accept       string
	last         string // Last-Event-ID
	prefer       string // Prefer
	stream       io.Reader
	kind         string // of stream
	name         string // Content-Disposition
}

// again reports whether the request can be sent twice: it only reads, says the whole of what is to be, or carries a key.
func (c *call) again() bool {
	return c.stream == nil && (c.key != "" || c.method == http.MethodGet || c.method == http.MethodPut || c.method == http.MethodDelete)
}

// send sends a request, again if that is safe, and returns the answer of a success. Its body is the caller's to close.
func (cl *Client) send(ctx context.Context, c *call) (*http.Response, error) {
	var body []byte
	if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body); err != nil {
			return nil, err
		}
		defer clear(body) // it may have held a value to search for
	}
	for try := 1; ; try++ {
		res, err := cl.once(ctx, c, body)
		if err == nil && res.StatusCode < 300 {
			return res, nil
		}
		wait := time.Duration(1<<try) * 100 * time.Millisecond
		if err == nil {
			err = problemOf(res)
			var p *api.Error
			retry := errors.As(err, &p) && (p.Problem.Status == http.StatusServiceUnavailable || p.Problem.Status == http.StatusTooManyRequests ||
				p.Problem.Code == "in-progress")
			if !retry {
				return nil, err
			}
			if d := p.RetryAfter(); d > 0 {
				wait = d
			}
			if wait > 30*time.Second {
				return nil, err // whoever asks decides whether to wait that long
			}
		} else if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if try == tries || !c.again() {
			return nil, err
		}
		if perr := cl.pause(ctx, wait); perr != nil {
			return nil, perr
		}
	}
}

func (cl *Client) once(ctx context.Context, c *call, body []byte) (*http.Response, error) {
	u := cl.base + c.path
	if len(c.query) > 0 {
		u += "?" + c.query.Encode()
	}
	var r io.Reader
	if c.stream != nil {
		r = c.stream
	} else if c.body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, u, r)
	if err != nil {
		return nil, fmt.Errorf("request: %w", coffer.ErrInvalid)
	}
	for name, v := range map[string]string{api.IdempotencyKey: c.key, "If-Match": c.match, "Accept": c.accept, "Last-Event-ID": c.last, "Prefer": c.prefer, "Content-Type": c.kind} {
		if v != "" {
			req.Header.Set(name, v)
		}
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.name != "" {
		req.Header.Set("Content-Disposition", c.name)
	}
	if cl.token != "" {
		req.Header.Set("Authorization", "Bearer "+cl.token)
	}
	res, err := cl.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // without the URL
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("the server at %s cannot be reached; look whether it runs and the address is right: %w: %w", cl.base, coffer.ErrUnavailable, err)
	}
	return res, nil
}

// problemOf reads the error of an answer.
func problemOf(res *http.Response) error {
	defer res.Body.Close()
	e := &api.Error{Problem: api.Problem{Status: res.StatusCode, Title: http.StatusText(res.StatusCode), Request: res.Header.Get(api.RequestID)}}
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if kind == api.ContentProblem {
		if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&e.Problem); err == nil && e.Problem.Code != "" {
			return e
		}
	}
	e.Problem.Detail = fmt.Sprintf("the server answers %d and no problem of Coffer's; is it one?", res.StatusCode)
	switch e.Problem.Code = "unavailable"; {
	case res.StatusCode == http.StatusUnauthorized, res.StatusCode == http.StatusForbidden:
		e.Problem.Code = "denied"
		e.Problem.Detail = fmt.Sprintf("what stands before the server refuses the request (%d): its token or signature is of nobody whom it lets in", res.StatusCode)
	case res.StatusCode < 500:
		e.Problem.Code = "invalid"
	}
	return e
}

// ask sends a request and reads the answer into out; nil: there is none. It returns the answer's ETag.
func ask[T any](ctx context.Context, cl *Client, c *call) (out T, tag string, err error) {
	c.accept = "application/json"
	res, err := cl.send(ctx, c)
	if err != nil {
		return out, "", err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNoContent {
		return out, "", nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil || len(b) > maxAnswer {
		return out, "", fmt.Errorf("the answer broke off: %w", coffer.ErrUnavailable)
	}
	defer clear(b) // it may have held values
	if err := json.Unmarshal(b, &out); err != nil {
		return out, "", fmt.Errorf("the answer is not the API's; is the server of another version? %w", coffer.ErrInvalid)
	}
	return out, res.Header.Get("ETag"), nil
}

// Key returns a new idempotency key.
func Key() string { return rand.Text() }

// lines yields the lines of a stream.
func lines[T any](ctx context.Context, cl *Client, c *call) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		res, err := cl.send(ctx, c)
		if err != nil {
			yield(none, err)
			return
		}
		defer res.Body.Close()
		scan := bufio.NewScanner(res.Body)
		scan.Buffer(nil, maxLine)
		for scan.Scan() {
			var v T
			if err := json.Unmarshal(scan.Bytes(), &v); err != nil {
				yield(none, fmt.Errorf("a line of the answer is not the API's: %w", coffer.ErrInvalid))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
		if err := scan.Err(); err != nil {
			if ctx.Err() != nil {
				yield(none, ctx.Err())
				return
			}
			yield(none, fmt.Errorf("the answer broke off: %w", coffer.ErrUnavailable))
		}
	}
}

// event is a server-sent event.
type event struct {
	kind, id string
	data     []byte
}

// events yields the events of a stream and takes it up again where it broke off, until the server ends it properly, as it does when it has
// nothing more to say; over says so of an event.
func (cl *Client) events(ctx context.Context, path string, query url.Values, last string, over func(event) bool) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		for fails := 0; ; {
			progressed := false
			err := cl.stream(ctx, path, query, last, func(e event) (bool, error) {
				if e.kind == "problem" {
					p := &api.Error{}
					_ = json.Unmarshal(e.data, &p.Problem) // what cannot be read has no code
					return false, p
				}
				last, progressed = e.id, true
				if !yield(e, nil) {
					return false, errStopped
				}
				if over(e) {
					return false, errStopped
				}
				return true, nil
			})
			switch {
			case errors.Is(err, errStopped):
				return
			case ctx.Err() != nil:
				yield(event{}, ctx.Err())
				return
			case err != nil && !errors.Is(err, coffer.ErrUnavailable):
				yield(event{}, err)
				return
			}
			if fails++; progressed {
				fails = 0
			}
			if fails == tries {
				yield(event{}, err)
				return
			}
			if perr := cl.pause(ctx, time.Duration(1<<fails)*200*time.Millisecond); perr != nil {
				yield(event{}, perr)
				return
			}
		}
	}
}

var errStopped = errors.New("stopped")

// stream reads one connection's events.
func (cl *Client) stream(ctx context.Context, path string, query url.Values, last string, each func(event) (bool, error)) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	res, err := cl.send(ctx, &call{method: http.MethodGet, path: path, query: query, accept: "text/event-stream", last: last})
	if err != nil {
		return err
	}
	defer res.Body.Close()
	scan := bufio.NewScanner(res.Body)
	scan.Buffer(nil, maxLine)
	var e event
	for scan.Scan() {
		line := scan.Text()
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if e.data != nil {
				if more, err := each(e); err != nil || !more {
					return err
				}
			}
			e = event{}
		case name == "event":
			e.kind = value
		case name == "id":
			e.id = value
		case name == "data":
			e.data = append(e.data, value...)
		}
	}
	return fmt.Errorf("the stream broke off: %w", coffer.ErrUnavailable)
}

// pages yields the elements of a list, page by page.
func pages[T any](limit int, page func(cursor string, n int) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for cursor, left := "", limit; ; {
			n := 1000
			if limit > 0 {
				n = min(n, left)
			}
			list, next, err := page(cursor, n)
			if err != nil {
				yield(none, err)
				return
			}
			for _, v := range list {
				if !yield(v, nil) {
					return
				}
			}
			if left -= len(list); next == "" || limit > 0 && left <= 0 {
				return
			}
			cursor = next
		}
	}
}

func pageQuery(cursor string, n int) url.Values {
	q := url.Values{"limit": {strconv.Itoa(n)}}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	return q
}
